"""The demo's feeds are well formed, tell each expected fact at least twice, and hold the promised traps."""

from __future__ import annotations

import io
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import feedparser
import pytest
import yaml

DEMO = Path(__file__).parents[2] / "agent" / "demo"
FEEDS = sorted((DEMO / "feeds").glob("*.xml"))
RELATIONS = {
    "head_of_government",
    "head_of_state",
    "ceo",
    "head_coach",
    "headquarters",
    "capital",
    "head_of_organisation",
    "central_bank_governor",
}
# items of these sorts are no evidence for a fact that holds now
NO_EVIDENCE = {
    "late",
    "hedge",
    "future",
    "wrong",
    "former",
    "acting",
    "untrue",
    "intermediate",
    "undated",
    "homonym",
}
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a feed as feedparser gives it; `text` is title and body without markup and accents."""

    publisher: str
    guid: str
    text: str
    at: datetime | None


def plain(text: str) -> str:
    """Without markup, accents and curly apostrophes."""
    bare = unescape(re.sub(r"<[^>]+>", " ", unescape(text))).replace("\u2019", "'")
    return "".join(c for c in unicodedata.normalize("NFKD", bare) if not unicodedata.combining(c))


@cache
def items() -> tuple[Item, ...]:
    out = []
    for path in FEEDS:
        for e in feedparser.parse(io.BytesIO(path.read_bytes())).entries:
            body = e.content[0].value if "content" in e else e.summary
            stamp = e.get("published_parsed") or (e["updated_parsed"] if "updated" in e else None)
            at = datetime(*stamp[:6], tzinfo=UTC) if stamp else None
            out.append(Item(path.stem, e.id, plain(f"{e.title} . {body}"), at))
    return tuple(out)


@cache
def expected() -> Row:
    loaded: Row = yaml.safe_load((DEMO / "feeds" / "expected.yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def world() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name in ("countries", "companies", "clubs", "bodies"):
        for row in yaml.safe_load((DEMO / "world" / f"{name}.yaml").read_text(encoding="utf-8")):
            rows[row["name"]] = row
    return rows


@cache
def sorts() -> dict[str, set[str]]:
    """guid -> the sorts of trap it belongs to."""
    of = defaultdict(set)
    for sort, guids in expected()["items"].items():
        for guid in guids:
            of[guid].add(sort)
    return of


def names(subject: str) -> list[str]:
    row = world()[subject]
    return [plain(n) for n in (row["name"], *row.get("aliases", []), *row.get("demonyms", []))]


def tells(item: Item, fact: Row) -> bool:
    """Whether the item holds the object's name and some name of the subject."""
    if plain(fact["object"]) not in item.text:
        return False
    return any(re.search(rf"\b{re.escape(name)}\b", item.text) for name in names(fact["subject"]))


def key(fact: Row) -> tuple[str, str, str]:
    return fact["subject"], fact["relation"], fact["object"]


def publishers_of(fact: Row) -> set[str]:
    return {i.publisher for i in items() if not sorts()[i.guid] & NO_EVIDENCE and tells(i, fact)}


def likeness(a: str, b: str) -> float:
    """Jaccard likeness of two texts' word triples."""
    left, right = (set(zip(w, w[1:], w[2:], strict=False)) for w in (a.split(), b.split()))
    return len(left & right) / max(1, len(left | right))


@pytest.mark.parametrize("path", FEEDS, ids=lambda p: p.stem)
def test_every_feed_is_well_formed(path: Path) -> None:
    body = path.read_bytes()
    ElementTree.fromstring(body)
    parsed = feedparser.parse(io.BytesIO(body))
    assert not parsed.bozo
    assert parsed.feed.title
    assert all(
        e.title and e.id and e.link.startswith("https://") and ".example/" in e.link for e in parsed.entries
    )


def test_four_publishers_and_plenty_of_items() -> None:
    assert len(FEEDS) == len(expected()["publishers"]) == 4
    assert len(items()) >= 190
    assert all(sum(i.publisher == path.stem for i in items()) >= 30 for path in FEEDS)


def test_no_item_is_younger_than_the_clock_nor_any_change_younger_than_its_cool_off() -> None:
    clock = expected()["clock"]
    for item in items():
        assert item.at is None or item.at < clock
        if item.at is not None and any(tells(item, fact) for fact in expected()["live"]):
            assert clock - item.at >= timedelta(days=3), item.guid


def test_live_facts_cover_every_relation_and_start_from_the_world() -> None:
    live = expected()["live"]
    assert len(live) >= 62
    assert {fact["relation"] for fact in live} == RELATIONS
    assert len({(fact["subject"], fact["relation"]) for fact in live}) == len(live)
    for fact in live:
        assert world()[fact["subject"]]["facts"][fact["relation"]] == fact["old"] != fact["object"]


def test_each_live_fact_is_told_by_two_publishers_and_most_by_three() -> None:
    told = {key(fact): len(publishers_of(fact)) for fact in expected()["live"]}
    assert not [fact for fact, count in told.items() if count < 2]
    assert sum(count >= 3 for count in told.values()) >= 0.8 * len(told)


def test_unknown_names_are_live_and_not_in_the_world() -> None:
    unknown = {key(fact) for fact in expected()["unknown_names"]}
    assert len(unknown) >= 6
    assert unknown <= {key(fact) for fact in expected()["live"]}
    people = {
        row["name"] for row in yaml.safe_load((DEMO / "world" / "people.yaml").read_text(encoding="utf-8"))
    }
    assert not people & {name for _, _, name in unknown}


def test_never_and_live_are_apart_and_pending_is_part_of_never() -> None:
    never = [key(fact) for fact in expected()["never"]]
    assert len(set(never)) == len(never)
    assert not set(never) & {key(fact) for fact in expected()["live"]}
    assert {key(fact) for fact in expected()["pending"]} <= set(never)
    assert all(fact["subject"] in world() and fact["trap"] for fact in expected()["never"])


def test_each_trap_stands_in_the_feeds() -> None:
    for fact in expected()["never"]:
        assert any(plain(fact["object"]).split()[-1] in item.text for item in items()), fact


@pytest.mark.parametrize(
    ("sort", "least"),
    [
        ("routine", 30),
        ("hedge", 10),
        ("former", 8),
        ("late", 6),
        ("future", 6),
        ("acting", 4),
        ("homonym", 5),
        ("intermediate", 10),
        ("correction", 2),
        ("wrong", 2),
        ("undated", 2),
        ("entities", 1),
    ],
)
def test_there_are_enough_traps_of_each_sort(sort: str, least: int) -> None:
    assert len(expected()["items"][sort]) >= least


def test_listed_items_exist() -> None:
    assert set(sorts()) <= {item.guid for item in items()}


def test_undated_items_and_one_guid_used_twice() -> None:
    assert {i.guid for i in items() if i.at is None} == set(expected()["items"]["undated"])
    guids = [i.guid for i in items()]
    assert {g for g in guids if guids.count(g) > 1} == set(expected()["items"]["dupguid"])


def test_late_articles_are_old_and_stand_first() -> None:
    late = set(expected()["items"]["late"])
    for path in FEEDS:
        feed = [i for i in items() if i.publisher == path.stem]
        assert all(i.guid in late for i in feed[: sum(i.guid in late for i in feed)])
    assert all(i.at and i.at < datetime(2021, 6, 1, tzinfo=UTC) for i in items() if i.guid in late)


def test_only_wire_stories_are_alike_across_publishers() -> None:
    wires = {
        g: sort for sort, guids in expected()["items"].items() if sort.startswith("wire-") for g in guids
    }
    assert len(set(wires.values())) == 3
    for n, a in enumerate(items()):
        for b in items()[n + 1 :]:
            if a.publisher == b.publisher:
                continue
            same_wire = a.guid in wires and wires[a.guid] == wires.get(b.guid)
            assert (likeness(a.text, b.text) > 0.8) if same_wire else (likeness(a.text, b.text) < 0.2), (
                a.guid,
                b.guid,
            )


def test_single_publisher_claims_have_one_publisher() -> None:
    for fact in expected()["pending"]:
        if fact["why"] == "one publisher":
            assert len({i.publisher for i in items() if tells(i, fact)}) == 1, fact


def test_corrections_come_from_the_publisher_that_was_wrong() -> None:
    at = {i.guid: i for i in items()}
    wrong = [at[g] for g in expected()["items"]["wrong"]]
    for guid in expected()["items"]["correction"]:
        later = at[guid]
        gaps = [later.at - w.at for w in wrong if w.publisher == later.publisher and later.at and w.at]
        assert gaps and timedelta() < gaps[0] < timedelta(days=3)
