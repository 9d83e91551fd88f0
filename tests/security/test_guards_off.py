"""The guards of the network switched off, one after the other: the list of URLs then gets through, and its test would fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.sources import guard, http, sockets
from tests.security.net import network
from tests.security.test_urls import SECRET, URLS, as_feed, as_redirect, got_through

Switch = Callable[[pytest.MonkeyPatch], None]


def no_addresses_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sockets, "check_addresses", lambda *_, **__: None)


def only_what_python_calls_global(patch: pytest.MonkeyPatch) -> None:
    """The guard that one would write first. It passes what is mapped or tunnelled."""
    from ipaddress import ip_address

    def refusal(address: str, allow_private: bool = False) -> str | None:
        try:
            return None if ip_address(address).is_global else "not global"
        except ValueError:
            return "not an address"

    patch.setattr(guard, "refusal", refusal)


def neither_address_nor_host_checked(patch: pytest.MonkeyPatch) -> None:
    no_addresses_checked(patch)
    patch.setattr(http, "_check_url", lambda _: None)


@pytest.mark.parametrize(
    ("off", "least"),
    [(no_addresses_checked, 80), (only_what_python_calls_global, 2), (neither_address_nor_host_checked, 100)],
)
def test_without_the_guard_urls_get_through(
    off: Switch, least: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text(SECRET)
    off(monkeypatch)
    with network() as net:
        through = [
            c["name"] for way in (as_feed, as_redirect) for c in URLS if got_through(net, secret, c, way)
        ]
    assert len(through) >= least, through
