"""Where the shipped data files are, in a checkout and inside an installed package alike."""

from __future__ import annotations

from pathlib import Path

from agent.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent
WORLD = PACKAGE / "demo" / "world"
MORE = PACKAGE / "demo" / "more"
POCKET = PACKAGE / "demo" / "pocket"
FEEDS = PACKAGE / "demo" / "feeds"
SHIPPED = "shipped:"


def data_file(name: str) -> Path:
    """A file of `configs/`. Raises ConfigError where the installation lacks it.

    An installed package carries the folder inside itself and is asked first: beside it, in site-packages,
    a folder of that name would be somebody else's.
    """
    for folder in (PACKAGE / "configs", PACKAGE.parent / "configs"):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"{name}: not found beside the package; the installation lacks its configs folder")


def shipped(name: str) -> Path:
    """What `shipped:demo/world` or `shipped:configs/relations.yaml` stands for in a settings file.

    Raises ConfigError for a file of `configs/` that is not there.
    """
    place = name.removeprefix(SHIPPED)
    return data_file(place.removeprefix("configs/")) if place.startswith("configs/") else PACKAGE / place
