"""The catalogue: what is refused, whom a name means, and that the shipped world fits together."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.catalogue import Catalogue, load_catalogue
from agent.errors import ConfigError
from agent.paths import MORE, WORLD, data_file
from agent.relations import load_relations
from agent.types import Entity

RELATIONS = load_relations(data_file("relations.yaml"))


def write(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"- {{{row}}}\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return load_catalogue([WORLD, MORE])


def test_an_entity_has_names_demonyms_and_facts(tmp_path: Path) -> None:
    row = (
        "name: United Kingdom, kind: country, article: the, aliases: [UK, Britain], demonyms: British, "
        "facts: {capital: London, official_language: [English, Welsh]}"
    )
    catalogue = load_catalogue([write(tmp_path / "a.yaml", row)])
    entity = Entity("United Kingdom", "country", "GPE", "the", ("UK", "Britain"), ("British",))
    assert catalogue.entities == {"United Kingdom": entity}
    assert entity.surface == "the United Kingdom"
    assert catalogue.names == dict.fromkeys(("United Kingdom", "UK", "Britain"), "United Kingdom")
    assert catalogue.demonyms == {"British": "United Kingdom"}
    assert catalogue.facts["United Kingdom", "official_language"].objects == ("English", "Welsh")
    assert {f.relation for f in catalogue.facts_of("United Kingdom")} == {"capital", "official_language"}
    assert catalogue.facts_of("France") == ()


def test_a_name_that_two_entities_claim_is_nobodys(tmp_path: Path) -> None:
    rows = [f"name: {n}, kind: company, aliases: [Merck & Co]" for n in ("Merck", "Merck KGaA", "MSD")]
    catalogue = load_catalogue([write(tmp_path / "a.yaml", *rows)])
    assert "Merck & Co" not in catalogue.names
    assert catalogue.names["Merck"] == "Merck"


def test_an_alias_that_is_another_entitys_name_is_nobodys(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.yaml", "name: Chelsea, kind: club", "name: London, kind: city, aliases: [Chelsea]"
    )
    assert set(load_catalogue([path]).names) == {"London"}


def test_an_unknown_name_gets_a_plain_entity(tmp_path: Path) -> None:
    catalogue = load_catalogue([write(tmp_path / "a.yaml", "name: Japan, kind: country")])
    assert catalogue.entity("Atlantis", "GPE") == Entity("Atlantis", "", "GPE")
    assert catalogue.entity("Japan") is catalogue.entities["Japan"]


def test_a_folder_stands_for_its_yaml_files_and_later_files_add(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    write(tmp_path / "w/b.yaml", "name: B, kind: city")
    write(tmp_path / "w/a.yaml", "name: A, kind: city")
    (tmp_path / "w/notes.txt").write_text("no catalogue", encoding="utf-8")
    more = write(tmp_path / "c.yaml", "name: C, kind: city")
    assert list(load_catalogue([tmp_path / "w", more]).entities) == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["name: A, kind: planet"], r"entry 1 \(A\): kind must be one of country, .*got 'planet'"),
        (["name: A"], r"entry 1 \(A\): kind must be one of"),
        (["kind: city"], "entry 1: needs a name"),
        (["name: 3, kind: city"], "entry 1: needs a name"),
        (["name: A, kind: city", "name: A, kind: club"], "entry 2: 'A' is in the catalogue already"),
        (["name: A, kind: city, alias: [B]"], "entry 1: unknown key 'alias'; did you mean 'aliases'"),
        (["name: A, kind: city, aliases: [3]"], "entry 1: aliases: expected a list of non-empty strings"),
        (["name: A, kind: city, facts: [capital]"], "entry 1: facts: expected a mapping"),
        (["name: A, kind: city, facts: {capital: 3}"], r"entry 1: facts\.capital: expected a list"),
    ],
)
def test_a_mistake_names_file_and_entry(tmp_path: Path, rows: list[str], message: str) -> None:
    path = write(tmp_path / "a.yaml", *rows)
    with pytest.raises(ConfigError, match=message) as caught:
        load_catalogue([path])
    assert str(path) in str(caught.value)


def test_files_that_are_no_catalogue(tmp_path: Path) -> None:
    mapping = tmp_path / "m.yaml"
    mapping.write_text("name: A", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"m\.yaml: expected a list"):
        load_catalogue([mapping])
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_catalogue([tmp_path / "nowhere.yaml"])
    empty = tmp_path / "e.yaml"
    empty.write_text("# nothing yet\n", encoding="utf-8")
    assert load_catalogue([empty]).entities == {}


def test_the_shipped_world_is_as_large_as_promised(shipped: Catalogue) -> None:
    def count(*kinds: str) -> int:
        return sum(entity.kind in kinds for entity in shipped.entities.values())

    assert count("country") >= 193 and count("company") >= 150 and count("club") >= 100
    assert count("body", "central_bank") >= 30 and count("person") >= 400
    world = load_catalogue([WORLD])
    assert len(world.facts) >= 1500
    assert len({fact.relation for fact in world.facts.values()}) >= 14


def test_shipped_facts_are_of_relations_that_fit_their_subject(shipped: Catalogue) -> None:
    for fact in shipped.facts.values():
        entity, relation = shipped.entities[fact.subject], RELATIONS[fact.relation]
        assert entity.label in relation.subject, fact
        assert not relation.kinds or entity.kind in relation.kinds, fact
        assert relation.cardinality == "many" or len(fact.objects) == 1, fact


def test_shipped_names_find_their_entity(shipped: Catalogue) -> None:
    for name in ("United Kingdom", "UK", "Britain"):
        assert shipped.names[name] == "United Kingdom"
    assert shipped.demonyms["Japanese"] == "Japan"
    assert all(name in shipped.entities for name in {*shipped.names.values(), *shipped.demonyms.values()})
