"""Wikidata's files as entries of a catalogue: every form, what stays out, and that what is written can be read."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.catalogue import Catalogue, load_catalogue
from agent.errors import InputError
from agent.importing import CLASSES, Imported, import_export
from agent.paths import data_file
from agent.relations import load_relations
from agent.strict import yaml_line
from tests.sources.wikibase import URL, claim, item, snak

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
RELATIONS = load_relations(data_file("relations.yaml"))
KNOWN = """
- {name: Japan, kind: country, aliases: [Nippon], demonyms: [Japanese], wikidata: Q17}
- {name: Chelsea, kind: club}
- {name: Ford, kind: company, aliases: [Ford Motor]}
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    path = tmp_path / "known.yaml"
    path.write_text(KNOWN)
    return load_catalogue([path])


def entity(
    id: str, name: str, class_: str, *claims: dict[str, Any], aliases: tuple[str, ...] = (), code: str = "en"
) -> dict[str, Any]:
    found = item(id, name, claim(class_, property_="P31", id=f"{id}$31"), *claims, code=code)
    found["aliases"] = {"en": [{"language": "en", "value": a} for a in aliases]} if aliases else []
    return found


def says(property_: str, value: str, **more: Any) -> dict[str, Any]:
    return claim(value, property_=property_, id=f"Q0${property_}{value}", **more)


def demonym(word: str, language: str) -> dict[str, Any]:
    found = says("P1549", "x")
    found["mainsnak"] = snak("P1549", "x")
    found["mainsnak"]["datavalue"] = {
        "type": "monolingualtext",
        "value": {"text": word, "language": language},
    }
    return found


ATLANTIS = entity(
    "Q900", "Atlantis", "Q6256", says("P36", "Q901"), says("P35", "Q902"),
    says("P35", "Q903", P582="+2020-01-01T00:00:00Z"), says("P6", "somevalue"),
    demonym("Atlantean", "en"), demonym("atlante", "it"), aliases=("Kingdom of Atlantis", "AT", "atlantis land"),
)  # fmt: skip
ACME = entity(
    "Q910", "Acme Robotics", "Q891723", says("P169", "Q902"), says("P159", "Q901"),
    says("P414", "Q13677", P249="ACR"), says("P414", "Q911", P249="ACR2"),
    says("P414", "Q82059", P249="OLD", P582="+2020-01-01T00:00:00Z"),
    aliases=("Acme", "Ford Motor", "ALL", "Time", "ACR"),
)  # fmt: skip
NAMES = [item("Q901", "Poseidonia"), item("Q902", "Kleito Okeanos"), item("Q911", "London Stock Exchange")]
ENTITIES = [ATLANTIS, ACME, *NAMES]


def is_word(alias: str) -> bool:
    return alias.lower() in ("all", "time")


def imported(path: Path, catalogue: Catalogue, **options: Any) -> Imported:
    return import_export(path, catalogue, RELATIONS, NOW, is_word=is_word, **options)


def dump(*entities: dict[str, Any]) -> bytes:
    return ("[\n" + ",\n".join(json.dumps(one) for one in entities) + "\n]\n").encode()


def document(*entities: dict[str, Any]) -> bytes:
    return json.dumps({"entities": {one["id"]: one for one in entities}, "success": 1}).encode()


def lines(*entities: dict[str, Any]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in entities).encode()


WHOLE = [
    {"name": "Atlantis", "kind": "country", "aliases": ["Kingdom of Atlantis"], "demonyms": ["Atlantean"],
     "wikidata": "Q900", "facts": {"capital": "Poseidonia", "head_of_state": "Kleito Okeanos"}},
    {"name": "Acme Robotics", "kind": "company", "aliases": ["Acme", "ACR"], "tickers": ["NYSE:ACR", "LSE:ACR2"],
     "wikidata": "Q910", "facts": {"ceo": "Kleito Okeanos", "headquarters": "Poseidonia"}},
]  # fmt: skip


@pytest.mark.parametrize("write", [dump, document, lines], ids=lambda f: f.__name__)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress], ids=["plain", "gz", "bz2"])
def test_entities_of_every_form_give_the_same_entries(
    tmp_path: Path, catalogue: Catalogue, write: Callable[..., bytes], pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "export"
    path.write_bytes(pack(write(*ENTITIES)))
    assert list(imported(path, catalogue).rows) == WHOLE


def cell(value: str) -> dict[str, str]:
    return {"type": "uri" if value.startswith("http") else "literal", "value": value}


WD = "http://www.wikidata.org/entity/"
ROWS = [
    {"item": WD + "Q910", "itemLabel": "Acme Robotics", "class": WD + "Q891723", "ceo": WD + "Q902",
     "ceoLabel": "Kleito Okeanos", "headquartersLabel": "Poseidonia", "alias": "Acme", "ticker": "ACR",
     "exchange": WD + "Q13677"},
    {"item": WD + "Q910", "itemLabel": "Acme Robotics", "class": WD + "Q4830453", "ceo": WD + "Q902",
     "ceoLabel": "Kleito Okeanos", "headquartersLabel": "Poseidonia", "alias": "ACR", "ticker": "ACR2",
     "exchange": WD + "Q171240"},
    {"item": WD + "Q900", "itemLabel": "Atlantis", "class": WD + "Q6256", "P36": WD + "Q901", "P36Label": "Poseidonia",
     "P35": WD + "Q902", "P35Label": "Kleito Okeanos", "demonym": "Atlantean", "alias": "Kingdom of Atlantis"},
]  # fmt: skip


def full_json(rows: list[dict[str, str]]) -> bytes:
    bindings = [{name: cell(value) for name, value in row.items()} for row in rows]
    return json.dumps({"head": {"vars": []}, "results": {"bindings": bindings}}).encode()


def simple_json(rows: list[dict[str, str]]) -> bytes:
    return json.dumps(rows).encode()


def as_csv(rows: list[dict[str, str]]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(k for row in rows for k in row)), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return b"\xef\xbb\xbf" + file.getvalue().encode()


@pytest.mark.parametrize("write", [full_json, simple_json, as_csv], ids=lambda f: f.__name__)
def test_rows_of_a_query_give_the_same_entries_too(
    tmp_path: Path, catalogue: Catalogue, write: Callable[..., bytes]
) -> None:
    path = tmp_path / "query"
    path.write_bytes(write(ROWS))
    assert list(imported(path, catalogue).rows) == WHOLE


def left(found: Imported) -> dict[str, str]:
    return {f"{one.what} {one.name}": one.code for one in found.left_out}


LEFT_OUT: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "known by its item": ([entity("Q17", "Nihon", "Q6256")], "entry Nihon", "known"),
    "known by its name": ([entity("Q9", "Ford", "Q783794")], "entry Ford", "known"),
    "known by an alias": ([entity("Q9", "Ford Motor", "Q783794")], "entry Ford Motor", "known"),
    "the name of another": ([entity("Q9", "Chelsea", "Q515")], "entry Chelsea", "homonym"),
    "an adjective": ([entity("Q9", "Japanese", "Q783794")], "entry Japanese", "homonym"),
    "two of one name": (
        [entity("Q8", "Springfield", "Q515"), entity("Q9", "Springfield", "Q515")], "entry Springfield", "homonym",
    ),
    "no name": ([entity("Q9", "", "Q515")], "entry Q9", "unnamed"),
    "no English name": ([entity("Q9", "東京", "Q515", code="ja")], "entry Q9", "unnamed"),
    "no plain name": ([entity("Q9", "東京", "Q515")], "entry 東京", "name"),
    "a name with an escape": ([entity("Q9", "Bob\x1b[2J", "Q515")], "entry Bob\x1b[2J", "name"),
    "a person": ([entity("Q9", "Bob Smith", "Q5")], "entry Bob Smith", "kind"),
    "of a class without a kind": ([entity("Q9", "Big Painting", "Q3305213")], "entry Big Painting", "kind"),
    "gone": ([entity("Q9", "Prussia", "Q6256", says("P576", "+1947-02-25T00:00:00Z"))], "entry Prussia", "dissolved"),
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_left_out_has_a_reason(tmp_path: Path, catalogue: Catalogue, case: str) -> None:
    entities, what, code = LEFT_OUT[case]
    path = tmp_path / "export.json"
    path.write_bytes(document(*entities))
    found = imported(path, catalogue)
    assert found.rows == ()
    assert left(found) == {what: code} and all(one.reason for one in found.left_out)


def test_an_alias_that_is_a_word_or_anothers_goes_and_the_entry_stays(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    path = tmp_path / "export.json"
    twins = [entity(f"Q{n}", f"Acme {n}", "Q515", aliases=("Acmeville", "AV")) for n in (8, 9)]
    path.write_bytes(document(*ENTITIES, *twins))
    found = imported(path, catalogue)
    reasons = [f"{one.name}: {one.reason}" for one in found.left_out if one.what == "alias"]
    for told in ("'Ford Motor': Ford may", "'ALL': an everyday word", "'Time': an everyday", "'AT': too short",
                 "'Acmeville': several may", "'atlantis land'"):  # fmt: skip
        assert any(told in reason for reason in reasons), told
    assert len(found.rows) == 4


def test_facts_of_one_answer_are_not_guessed(tmp_path: Path, catalogue: Catalogue) -> None:
    path = tmp_path / "export.json"
    two = entity("Q9", "Twotown", "Q6256", says("P36", "Q901"), says("P36", "Q902"), says("P37", "Q901"),
                 says("P37", "Q902"), says("P30", "Q999"))  # fmt: skip
    path.write_bytes(document(two, *NAMES))
    found = imported(path, catalogue)
    assert found.rows[0]["facts"] == {"official_language": ["Poseidonia", "Kleito Okeanos"]}
    assert {one.reason.partition(":")[0] for one in found.left_out if one.what == "fact"} == {
        "capital",
        "continent",
    }


def test_people_and_unknown_classes_on_request(tmp_path: Path, catalogue: Catalogue) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(document(entity("Q8", "Bob Smith", "Q5"), entity("Q9", "Bobco", "Q3305213")))
    found = imported(path, catalogue, kinds=("person", "company"), fallback="company")
    assert [(row["name"], row["kind"]) for row in found.rows] == [
        ("Bobco", "company"),
        ("Bob Smith", "person"),
    ]


def test_what_is_written_can_be_read(tmp_path: Path, catalogue: Catalogue) -> None:
    odd = [entity(f"Q{n}", name, "Q515") for n, name in enumerate(
        ("No", "Null", "On", "D'Iberville", "Ho-Ho-Kus", "Yahoo!", "São Tomé", "1234", "A & B", "St. Louis"), 40)]  # fmt: skip
    (tmp_path / "export.json").write_bytes(document(*ENTITIES, *odd))
    found = imported(tmp_path / "export.json", catalogue)
    path = tmp_path / "new.yaml"
    path.write_text("".join(f"{yaml_line(row)}\n" for row in found.rows), encoding="utf-8")
    assert len(found.rows) == 12 == len(path.read_text().splitlines())
    read = load_catalogue([tmp_path / "known.yaml", path])
    assert {"No", "Null", "On", "1234", "Atlantis"} <= read.entities.keys()
    assert read.tickers["NYSE:ACR"] == "Acme Robotics" and read.items["Q900"] == "Atlantis"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "neither JSON nor CSV"),
        (b"{", "this is no JSON"),
        (b'{"a": 1}', "neither entities nor the result"),
        (b'"x"', "neither JSON nor CSV"),
        (b"a,b\n1,2\n", "item"),
        (b"\x00\xff\xfe", "neither JSON nor CSV"),
        (gzip.compress(dump(*ENTITIES))[:-20], "cut off"),
        (gzip.compress(dump(*ENTITIES))[:40] + b"xxxxxx" * 20, "damaged"),
        (b"BZh9nonsense", "cannot be read"),
        (b"[" * 99_999, "no JSON"),
    ],
)
def test_a_file_that_is_none_says_so(tmp_path: Path, catalogue: Catalogue, body: bytes, told: str) -> None:
    path = tmp_path / "export"
    path.write_bytes(body)
    with pytest.raises(InputError, match=told):
        imported(path, catalogue)


def test_a_missing_file_says_so(tmp_path: Path, catalogue: Catalogue) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        imported(tmp_path / "nowhere", catalogue)


def test_a_dump_takes_no_more_memory_for_being_long(tmp_path: Path, catalogue: Catalogue) -> None:
    """60 MB of other items around the two that count: a few of them are in memory at once, not all."""
    filler = json.dumps(entity("Q5000", "x" * 30_000, "Q3305213")).encode() + b",\n"
    path = tmp_path / "dump.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"[\n" + filler * 1000 + json.dumps(ATLANTIS).encode() + b",\n" + filler * 1000)
        file.write(b",\n".join(json.dumps(one).encode() for one in (ACME, *NAMES)) + b"\n]\n")
    told: list[int] = []
    tracemalloc.start()
    found = imported(path, catalogue, tell=lambda done, _: told.append(done))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(found.rows) == WHOLE
    assert (
        told == sorted(told[: len(told) // 2]) + sorted(told[len(told) // 2 :]) and told
    )  # two goes through it
    assert peak < 8 << 20


def test_lines_that_are_none_are_passed_over(tmp_path: Path, catalogue: Catalogue) -> None:
    path = tmp_path / "dump.json"
    broken = b'{"type":"item","id":"Q6256", nonsense "id":"Q515"},\n'
    path.write_bytes(dump(*ENTITIES).replace(b"[\n", b"[\n" + broken, 1))
    assert list(imported(path, catalogue).rows) == WHOLE


def test_references_are_not_asked_of_an_export(tmp_path: Path, catalogue: Catalogue) -> None:
    """What a catalogue knows beforehand needs no proof; what changes it does. `URL` is no difference here."""
    one = entity("Q900", "Atlantis", "Q6256", claim("Q901", URL, property_="P36"))
    bare = entity("Q900", "Atlantis", "Q6256", claim("Q901", property_="P36"))
    for number, sort in enumerate((one, bare)):
        path = tmp_path / f"{number}.json"
        path.write_bytes(document(sort, *NAMES))
        assert imported(path, catalogue).rows[0]["facts"] == {"capital": "Poseidonia"}


def test_the_manual_has_the_classes_of_every_kind() -> None:
    page = (Path(__file__).parent.parent / "docs" / "wikidata.md").read_text(encoding="utf-8")
    for kind, classes in CLASSES.items():
        assert f"| {kind} | {', '.join(classes)}" in page
