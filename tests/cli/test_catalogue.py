"""`factd catalogue`: from a file of Wikidata's to settings that use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.paths import data_file
from tests.cli.conftest import World
from tests.sources.wikibase import claim, item

CATALOGUE = """
- {name: Zorland, kind: country, aliases: [Zor], demonyms: [Zorish], wikidata: Q700}
- {name: Chelsea, kind: club}
- {name: Ford, kind: company, tickers: [NYSE:F]}
- {name: Rangers FC, kind: club, aliases: [Rangers]}
- {name: New York Rangers, kind: club, aliases: [Rangers]}
- {name: Ann Marlowe, kind: person}
"""


@pytest.fixture
def world(bare: World) -> World:
    (bare.folder / "catalogue.yaml").write_text(CATALOGUE)
    (bare.folder / "relations.yaml").write_text(data_file("relations.yaml").read_text(encoding="utf-8"))
    return bare


@pytest.fixture
def export(world: World) -> Path:
    path = world.folder / "entities.json"
    entities: list[dict[str, Any]] = [
        item("Q800", "Quenia", claim("Q6256", property_="P31"), claim("Q801", property_="P36", id="Q800$1")),
        item("Q801", "Kelto", claim("Q515", property_="P31")),
        item("Q700", "Zorland", claim("Q6256", property_="P31")),
        item("Q802", "Chelsea", claim("Q515", property_="P31")),
        item("Q803", "Evil\x1b]0;x\x07\u202e", claim("Q515", property_="P31")),
    ]
    path.write_text(json.dumps({"entities": {one["id"]: one for one in entities}}))
    return path


def test_import_writes_a_catalogue_that_the_settings_can_use(world: World, export: Path) -> None:
    made = world.folder / "mine.yaml"
    done = world.run("catalogue", "import", export, "--out", made)
    assert done.code == 0, done.err
    assert "2 entries (1 country, 1 city)" in done.out
    assert "left out: 1 entry, in the catalogue already" in done.out
    assert "left out: 1 entry, whose name somebody else bears" in done.out
    text = made.read_text(encoding="utf-8")
    assert "- {name: Quenia, kind: country, wikidata: Q800, facts: {capital: Kelto}}\n" in text
    world.settings.write_text(
        world.settings.read_text().replace("[catalogue.yaml]", "[catalogue.yaml, mine.yaml]")
    )
    found = world.run("catalogue", "find", "Quenia", "--json")
    assert found.json["readings"] == [
        {"entity": "Quenia", "kind": "country", "as": "name", "wikidata": "Q800"}
    ]
    again = world.run("catalogue", "import", export, "--out", made, "--force")
    assert again.code == 0 and made.read_text(encoding="utf-8") == text


def test_explain_lists_what_is_left_out_and_the_terminal_is_safe(world: World, export: Path) -> None:
    plain = world.run("catalogue", "import", export, "--out", world.folder / "a.yaml")
    assert "--explain" in plain.err and "Chelsea" not in plain.out
    told = world.run("catalogue", "import", export, "--out", world.folder / "b.yaml", "--explain")
    assert "Chelsea" in told.out and "the catalogue calls Chelsea so" in told.out
    for text in (told.out, told.err):
        assert not set(text) & {"\x1b", "\x07", "\u202e"}


def test_nothing_is_written_over_or_half(world: World, export: Path) -> None:
    made = world.folder / "mine.yaml"
    made.write_text("# mine\n")
    refused = world.run("catalogue", "import", export, "--out", made)
    assert refused.code == 2 and "--force" in refused.err and made.read_text() == "# mine\n"
    (world.folder / "bad").write_text("{")
    for name in ("bad", "nowhere"):
        failed = world.run("catalogue", "import", world.folder / name, "--out", world.folder / "new.yaml")
        assert failed.code == 1 and len(failed.err.splitlines()) == 1
    # What stands under the name of a temporary file is somebody's own.
    (world.folder / "more.yaml.part").write_text("mine")
    assert world.run("catalogue", "import", export, "--out", world.folder / "more.yaml").code == 0
    assert (world.folder / "more.yaml.part").read_text() == "mine"
    assert not list(world.folder.glob("new.yaml*"))


def test_only_some_kinds(world: World, export: Path) -> None:
    done = world.run("catalogue", "import", export, "--out", world.folder / "a.yaml", "--kind", "city")
    assert "1 entry (1 city)" in done.out
    wrong = world.run("catalogue", "import", export, "--out", world.folder / "b.yaml", "--kind", "planet")
    assert wrong.code == 2 and "country" in wrong.err


def test_an_export_without_anything_new_makes_an_empty_catalogue(world: World, export: Path) -> None:
    made = world.folder / "mine.yaml"
    done = world.run("catalogue", "import", export, "--out", made, "--kind", "company")
    assert done.code == 0 and "0 entries (none)" in done.out
    assert world.run("catalogue", "check", made).code == 0


def test_progress_is_for_terminals(world: World, export: Path) -> None:
    assert "MB" not in world.run("catalogue", "import", export, "--out", world.folder / "a.yaml").err


def test_check_tells_what_collides(world: World) -> None:
    path = world.folder / "mine.yaml"
    path.write_text(
        "- {name: Ford, kind: company}\n- {name: Other, kind: city, wikidata: Q700}\n"
        "- {name: Third, kind: city, aliases: [Zor], tickers: [NYSE:F], facts: {captial: X}}\n"
    )
    done = world.run("catalogue", "check", path)
    assert done.code == 1
    assert "3 entries (2 city, 1 company), 1 fact" in done.out
    for told in ("error: 'Ford' is in the catalogue already", "error: 'Other' and 'Zorland' are both Q700",
                 "warning: 'Zor' would be both Third and Zorland", "NYSE:F is Ford's too", "did you mean 'capital'"):  # fmt: skip
        assert told in done.out
    assert len(world.run("catalogue", "check", path, "--json").json["errors"]) == 2


def test_check_passes_what_the_settings_use(world: World) -> None:
    done = world.run("catalogue", "check", world.folder / "catalogue.yaml")
    assert (done.code, done.err) == (0, "")
    assert "error" not in done.out and "warning" not in done.out


def test_check_names_a_broken_entry(world: World) -> None:
    path = world.folder / "mine.yaml"
    path.write_text("- {name: A, kind: planet}\n")
    broken = world.run("catalogue", "check", path)
    assert broken.code == 2 and "entry 1 (A): kind must be one of" in broken.err


@pytest.mark.parametrize(
    ("name", "readings"),
    [
        ("Zorland", [("Zorland", "country", "name")]),
        ("Zor", [("Zorland", "country", "alias")]),
        ("Zorish", [("Zorland", "country", "demonym")]),
        ("NYSE: F", [("Ford", "company", "ticker")]),
        ("Rangers", [("Rangers FC", "club", "alias"), ("New York Rangers", "club", "alias")]),
        ("Marlowe", [("Ann Marlowe", "person", "surname or spelling")]),
        ("F", []),
        ("Nobody", []),
    ],
)
def test_find_tells_every_reading(world: World, name: str, readings: list[tuple[str, str, str]]) -> None:
    found = world.run("catalogue", "find", name, "--json")
    assert [(r["entity"], r["kind"], r["as"]) for r in found.json["readings"]] == readings
    assert found.code == (0 if readings else 1)
    assert ("homonym" in world.run("catalogue", "find", name).out) == (len(readings) > 1)
