"""Which versions are installed."""

from __future__ import annotations


def installed(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    # Reads e-mail headers, and would take a third of the command line's start.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def own_version() -> str:
    """The installed factd's; "" where it runs from a folder."""
    return installed("factd") or ""
