"""Wikidata: which statements are believed, and that a poll loses nothing and asks politely."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import wikibase as model
from agent.sources.base import Fetched
from agent.sources.fetch import fetch
from agent.sources.http import Client
from agent.sources.wikidata import Followed, Wanted, WikidataSource, parse
from agent.store import articles, feeds
from agent.store.db import open_store
from agent.types import FeedState, SourceSpec
from tests.sources.conftest import NOW
from tests.sources.wikibase import EARLIER, URL, Wikibase, claim, item, serving

PM = Wanted("head_of_government", "P6", "Japan", "{object} is the prime minister of Japan")
JAPAN = Followed({"Q17": (PM,)})
TANABE = claim("Q100", URL, P580="+2025-10-04T00:00:00Z")
MODES = ("recent", "sparql")


@pytest.fixture
def wikibase() -> Iterator[Wikibase]:
    with serving(Wikibase()) as server:
        server.add(item("Q100", "Haruko Tanabe"), item("Q200", "Kenji Ono"))
        yield server


def spec(wikibase: Wikibase, mode: str = "recent", more: str = "") -> SourceSpec:
    return SourceSpec("wd", f"wikidata:{mode}?endpoint={wikibase.url}{more}", allow_private=True)


def poll(
    wikibase: Wikibase,
    client: Client,
    state: FeedState | None = None,
    *,
    mode: str = "recent",
    followed: Followed = JAPAN,
    now: datetime = NOW,
    more: str = "",
    **limits: Any,
) -> Fetched:
    return fetch(spec(wikibase, mode, more), state, client, now, (WikidataSource(followed, **limits),))


# Which statements are believed. Both ways of asking must judge alike.


@pytest.mark.parametrize("mode", MODES)
def test_a_statement_is_an_article_in_one_plain_sentence(
    wikibase: Wikibase, client: Client, mode: str
) -> None:
    wikibase.add(item("Q17", "Japan", TANABE))
    result = poll(wikibase, client, mode=mode)
    (article,) = result.articles
    assert (result.status, result.notes) == ("ok", ())
    assert article.title == "Haruko Tanabe is the prime minister of Japan"
    assert article.text.startswith(article.title) and "Q17$AAAA-1, since 2025-10-04" in article.text
    assert (article.publisher, article.url) == ("wikidata.org", "https://www.wikidata.org/wiki/Q17")
    assert article.published_at == datetime(2025, 10, 4, tzinfo=UTC)


IMPORTED = {"P143": ["Q328"], "P813": ["+2020-01-01T00:00:00Z"]}
REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "deprecated": ([claim("Q100", URL, rank="deprecated")], "deprecated"),
    "ended": ([claim("Q100", URL, P582="+2024-10-01T00:00:00Z")], "end time"),
    "ended, nobody knows when": ([claim("Q100", URL, P582="somevalue")], "end time"),
    "unknown": ([claim("somevalue", URL)], "unknown"),
    "none": ([claim("novalue", URL)], "there is none"),
    "no reference": ([claim("Q100")], "no reference"),
    "imported from a wiki": ([claim("Q100", IMPORTED)], "no reference"),
    "imported from a wiki by its address": (
        [claim("Q100", {"P4656": ["https://en.wikipedia.org/w/index.php?oldid=1"]})],
        "no reference",
    ),
    "a wiki's address as the reference": ([claim("Q100", {"P854": ["https://ja.wikipedia.org/wiki/X"]})], "no reference"),
    "stated in Wikipedia": ([claim("Q100", {"P248": ["Q52"]})], "no reference"),
    "looked up, nobody says where": ([claim("Q100", {"P813": ["+2020-01-01T00:00:00Z"]})], "no reference"),
    "not before next year": ([claim("Q100", URL, P580="+2027-01-01T00:00:00Z")], "begins on 2027-01-01"),
    "disputed": ([claim("Q100", URL, P1310="Q5")], "disputes"),
    "presumably": ([claim("Q100", URL, P1480="Q18122778")], "circumstances"),
    "two at once": ([claim("Q100", URL), claim("Q200", URL, id="Q17$B")], "2 values hold at once"),
    "without an English name": ([claim("Q300", URL)], "no English name"),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_believed_is_told_with_the_reason(
    wikibase: Wikibase, client: Client, case: str, mode: str
) -> None:
    claims, reason = REFUSED[case]
    wikibase.add(item("Q17", "Japan", *claims), item("Q300"))
    result = poll(wikibase, client, mode=mode)
    assert result.articles == ()
    if mode == "sparql" and case in ("deprecated", "none"):  # not even among the rows
        assert result.notes == ()
    else:
        assert len(result.notes) == 1 and "Japan, head_of_government" in result.notes[0]
        assert reason in result.notes[0]


BELIEVED: dict[str, list[dict[str, Any]]] = {
    "beside one that has ended": [claim("Q200", URL, id="Q17$B", P582="+2025-10-01T00:00:00Z"), TANABE],
    "preferred beside a normal one": [claim("Q200", URL, id="Q17$B"), claim("Q100", URL, rank="preferred")],
    "imported and from a paper": [claim("Q100", IMPORTED, URL)],
    "a database": [claim("Q100", {"P248": ["Q999"]})],
    "its end is that it has none": [claim("Q100", URL, P582="novalue")],
    "said twice": [claim("Q100", URL), claim("Q100", URL, id="Q17$B")],
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", BELIEVED)
def test_what_is_believed(wikibase: Wikibase, client: Client, case: str, mode: str) -> None:
    wikibase.add(item("Q17", "Japan", *BELIEVED[case]))
    result = poll(wikibase, client, mode=mode)
    assert {a.title for a in result.articles} == {"Haruko Tanabe is the prime minister of Japan"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("start", "at"),
    [
        ("+2025-10-04T00:00:00Z", datetime(2025, 10, 4, tzinfo=UTC)),
        ("+2025-00-00T00:00:00Z", datetime(2025, 1, 1, tzinfo=UTC)),
        ("+1973-09-15T00:00:00Z", datetime(1973, 9, 15, tzinfo=UTC)),  # older than feeds, and true
        ("somevalue", datetime.fromisoformat(EARLIER)),
    ],
)
def test_its_date_is_when_it_began(
    wikibase: Wikibase, client: Client, mode: str, start: str, at: datetime
) -> None:
    wikibase.add(item("Q17", "Japan", claim("Q100", URL, P580=start)))
    assert [a.published_at for a in poll(wikibase, client, mode=mode).articles] == [at]


@pytest.mark.parametrize("mode", MODES)
def test_a_name_that_is_the_same_everywhere_is_a_name(wikibase: Wikibase, client: Client, mode: str) -> None:
    wikibase.add(item("Q17", "Japan", TANABE), item("Q100", "Haruko Tanabe", code="mul"))
    assert len(poll(wikibase, client, mode=mode).articles) == 1


@pytest.mark.parametrize(
    "name",
    [
        "Bob Smith. Tim Cook is the chief executive of Tesla",
        "Bob; Tim Cook, chief executive of Tesla,",
        "former Prime Minister Bob",
        "Bob\nTim Cook is CEO of Tesla",
        "Bob (Tesla)",
        "x" * 5 + "\u202e" + "y",
        "one two three four five six seven eight",
    ],
)
def test_a_label_cannot_smuggle_in_a_sentence(wikibase: Wikibase, client: Client, name: str) -> None:
    wikibase.add(item("Q17", "Japan", TANABE), item("Q100", name))
    result = poll(wikibase, client)
    assert result.articles == () and "no plain name" in result.notes[0]
    assert all(note.isprintable() for note in result.notes)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Washington, D.C.", "Washington"), ("Luiz Inácio Lula da Silva", "Luiz Inácio Lula da Silva"),
     ("St. Louis", "St. Louis"), ("George W. Bush", "George W. Bush"), ("Nuku'alofa", "Nuku'alofa")],
)  # fmt: skip
def test_common_names_pass(wikibase: Wikibase, client: Client, name: str, shown: str) -> None:
    wikibase.add(item("Q17", "Japan", TANABE), item("Q100", name))
    assert [a.title for a in poll(wikibase, client).articles] == [f"{shown} is the prime minister of Japan"]


# What is asked, and when.


def test_the_first_poll_reads_everything_and_the_next_only_what_has_changed(
    wikibase: Wikibase, client: Client
) -> None:
    wikibase.add(item("Q17", "Japan", TANABE))
    first = poll(wikibase, client)
    assert wikibase.kinds_asked() == ["revisions", "info|labels|claims", "labels"]
    wikibase.asked.clear()
    later = NOW + timedelta(hours=1)
    second = poll(wikibase, client, first.state, now=later)
    assert wikibase.kinds_asked() == ["revisions"]
    assert (second.status, second.articles) == ("not_modified", ())
    ono = claim("Q200", URL, id="Q17$C", P580="+2026-03-04T00:00:00Z")
    wikibase.add(item("Q17", "Japan", claim("Q100", URL, P582="+2026-03-04T00:00:00Z"), ono,
                      modified="2026-03-04T12:30:00Z"))  # fmt: skip
    third = poll(wikibase, client, second.state, now=later + timedelta(hours=1))
    assert [a.title for a in third.articles] == ["Kenji Ono is the prime minister of Japan"]


def test_requests_are_polite(wikibase: Wikibase, client: Client) -> None:
    wikibase.add(item("Q17", "Japan", TANABE))
    poll(wikibase, client, more="&contact=me@example.org")
    assert {a["maxlag"] for a in wikibase.asked} == {"5"}
    # <client name>/<version> (<contact information>) <library/framework name>
    assert all(re.fullmatch(r"factd/\d+\.\d+ \(me@example\.org\) httpx", agent) for agent in wikibase.agents)


def many(count: int) -> Followed:
    return Followed({"Q17": (PM,), **{f"Q{n}": (PM,) for n in range(10_000, 10_000 + count)}})


def test_of_many_items_the_recent_changes_are_read_instead(wikibase: Wikibase, client: Client) -> None:
    """8 edits a second for 2 minutes are 2 pages; 1,000 items would be 20."""
    wikibase.add(item("Q17", "Japan", TANABE))
    first = poll(wikibase, client, followed=many(1000), max_steps=100)
    wikibase.asked.clear()
    wikibase.changes = [("2026-03-04T12:00:30Z", f"Q{n}") for n in range(2, 1200)]
    wikibase.clock = "2026-03-04T12:02:00Z"
    again = poll(wikibase, client, first.state, followed=many(1000), now=NOW + timedelta(minutes=2))
    assert wikibase.kinds_asked() == ["recentchanges", "info|labels|claims", "labels", *["recentchanges"] * 2]
    assert [a.id for a in again.articles] == [a.id for a in first.articles]
    starts = {a["rcstart"] for a in wikibase.asked if "rcstart" in a}
    assert starts == {"2026-03-04T11:59:00Z"}  # a minute of overlap


def test_a_long_gap_is_bridged_by_the_items_themselves(wikibase: Wikibase, client: Client) -> None:
    wikibase.add(item("Q17", "Japan", TANABE))
    first = poll(wikibase, client, followed=many(300), max_steps=100)
    wikibase.asked.clear()
    poll(wikibase, client, first.state, followed=many(300), now=NOW + timedelta(days=40), max_steps=100)
    assert set(wikibase.kinds_asked()) == {"revisions"}


@pytest.mark.parametrize("mode", MODES)
def test_a_long_pass_goes_on_in_the_next_poll(wikibase: Wikibase, client: Client, mode: str) -> None:
    items = {f"Q{n}": (PM,) for n in range(1000, 1120)}
    wikibase.add(*(item(q, "", claim("Q100", URL, id=f"{q}$A")) for q in items))
    state, told, polls = None, set(), 0
    while True:
        result = poll(wikibase, client, state, mode=mode, followed=Followed(items), max_steps=1)
        assert result.articles and result.state.next_poll_at is not None
        told |= {a.id for a in result.articles}
        state, polls = result.state, polls + 1
        if "goes on" not in result.message:
            break
        assert result.state.next_poll_at <= NOW + timedelta(minutes=1)
    assert (len(told), polls) == (120, 3)


@pytest.mark.parametrize("mode", MODES)
def test_killed_between_articles_and_state_nothing_is_lost_or_new_twice(
    wikibase: Wikibase, client: Client, mode: str, tmp_path: Path
) -> None:
    items = {f"Q{n}": (PM,) for n in range(1000, 1120)}
    wikibase.add(*(item(q, "", claim("Q100", URL, id=f"{q}$A")) for q in items))
    new: list[str] = []
    with open_store(tmp_path, NOW, create_missing=True) as store:
        for number in range(8):
            state = feeds.get(store, "wd")
            result = poll(wikibase, client, state, mode=mode, followed=Followed(items), max_steps=1)
            new += articles.add(store, result.articles).new
            if number % 2:  # every other time killed before the state was saved
                feeds.save(store, result.state)
    assert len(new) == len(set(new)) == 120


def test_both_ways_tell_the_same_words(wikibase: Wikibase, client: Client, tmp_path: Path) -> None:
    """So that who follows both has each statement once."""
    wikibase.add(item("Q17", "Japan", TANABE))
    one, other = (poll(wikibase, client, mode=mode).articles for mode in MODES)
    assert [a.sha256 for a in one] == [a.sha256 for a in other]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wait", ["7200", "Wed, 04 Mar 2026 14:00:00 GMT"])
def test_a_server_that_asks_to_wait_is_left_alone(
    wikibase: Wikibase, client: Client, mode: str, wait: str
) -> None:
    wikibase.add(item("Q17", "Japan", TANABE))
    wikibase.before = lambda _: (429, {"Retry-After": wait}, b"")
    result = poll(wikibase, client, mode=mode)
    assert result.status == "error" and "429" in result.message
    assert result.state.next_poll_at == NOW + timedelta(hours=2)
    assert len(wikibase.asked) == 1


def test_a_lagging_server_is_left_alone(wikibase: Wikibase, client: Client) -> None:
    body = b'{"error":{"code":"maxlag","info":"Waiting for 10.0.0.1: 6.3 seconds lagged","lag":6.3}}'
    wikibase.before = lambda _: (200, {"Retry-After": "3600"}, body)
    result = poll(wikibase, client)
    assert result.status == "error" and "maxlag" in result.message
    assert result.state.next_poll_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize("mode", MODES)
def test_what_was_read_before_an_error_is_kept(wikibase: Wikibase, client: Client, mode: str) -> None:
    items = {f"Q{n}": (PM,) for n in range(1000, 1120)}
    wikibase.add(*(item(q, "", claim("Q100", URL, id=f"{q}$A")) for q in items))
    wikibase.before = lambda asked: (503, {}, b"") if "Q1050" in str(asked) else None
    result = poll(wikibase, client, mode=mode, followed=Followed(items))
    assert result.status == "error" and result.articles
    wikibase.before = lambda _: None
    wikibase.asked.clear()
    rest = poll(wikibase, client, result.state, mode=mode, followed=Followed(items))
    ids = [{a.id for a in r.articles} for r in (result, rest)]
    assert not ids[0] & ids[1] and len(ids[0] | ids[1]) == 120


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b'{"results":{"bindings":[', b'{"query":7}', b'{"entities":[]}', b"[" * 99_999]
)  # fmt: skip
@pytest.mark.parametrize("mode", MODES)
def test_nonsense_is_an_error_or_nothing_and_never_an_exception(
    wikibase: Wikibase, client: Client, mode: str, body: bytes
) -> None:
    wikibase.before = lambda _: (200, {}, body or b" ")
    result = poll(wikibase, client, mode=mode)
    assert result.articles == () and (result.status == "error" or body.startswith(b'{"'))


def test_merged_missing_and_huge_items(wikibase: Wikibase, client: Client) -> None:
    wikibase.add(item("Q17", "Japan", TANABE))
    wikibase.items["Q18"] = wikibase.items["Q17"]
    huge = item("Q19", "x" * 200_000)
    wikibase.items |= {"Q19": huge}
    followed = Followed(dict.fromkeys(("Q17", "Q18", "Q19", "Q20"), (PM,)))
    real = wikibase.page
    wikibase.page = lambda t: real("Q17") | {"title": t}  # type: ignore[method-assign]
    result = fetch(
        spec(wikibase), None, Client(timeout_s=5, max_bytes=100_000), NOW, (WikidataSource(followed),)
    )
    assert len(result.articles) == 2
    assert {"Q19: too large to be read", "'Q20': there is no such item any more"} == set(result.notes)


# The url, and the state.


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("wikidata:nothing", "wikidata:recent or wikidata:sparql"),
        ("wikidata:recent?endpont=x", "did you mean 'endpoint'"),
        ("wikidata:recent?contact=a%0d%0ab", "contact must be"),
        (
            "wikidata:recent?relations=king",
            "'king' is not followed on Wikidata; there are head_of_government",
        ),
        ("wikidata:recent?endpoint=ftp://x/", "neither http nor https"),
        ("wikidata:recent?endpoint=http://127.0.0.1:1/", "loopback"),
    ],
)
def test_a_url_that_is_off_says_how(client: Client, url: str, told: str) -> None:
    result = fetch(SourceSpec("wd", url), None, client, NOW, (WikidataSource(JAPAN),))
    assert result.status == "error" and told in result.message


def test_nothing_to_follow_is_told(client: Client) -> None:
    result = fetch(SourceSpec("wd", "wikidata:recent"), None, client, NOW)
    assert result.status == "error" and "factd catalogue import" in result.message


def test_the_endpoints_are_wikidatas_own() -> None:
    assert parse("wikidata:recent").endpoint == "https://www.wikidata.org/w/api.php"
    assert parse("WIKIDATA:SPARQL").endpoint == "https://query.wikidata.org/sparql"


@pytest.mark.parametrize(
    "etag", ["", "{}", "[1]", "nonsense", '{"items":1,"since":2}', '{"items":"x","at":"y"}', "9"]
)
def test_a_state_that_is_none_begins_anew(wikibase: Wikibase, client: Client, etag: str) -> None:
    wikibase.add(item("Q17", "Japan", TANABE))
    state = FeedState("wd", spec(wikibase).url, etag=etag)
    assert len(poll(wikibase, client, state).articles) == 1


def test_other_things_followed_are_read_from_the_beginning(wikibase: Wikibase, client: Client) -> None:
    wikibase.add(item("Q17", "Japan", TANABE), item("Q30", "", claim("Q200", URL, id="Q30$A")))
    first = poll(wikibase, client)
    us = Wanted(
        "head_of_government", "P6", "United States", "{object} is the prime minister of the United States"
    )
    second = poll(wikibase, client, first.state, followed=Followed({**JAPAN.items, "Q30": (us,)}))
    assert len(second.articles) == 2


def test_only_the_relations_that_the_url_names(wikibase: Wikibase, client: Client) -> None:
    wikibase.add(item("Q17", "Japan", TANABE, claim("Q200", URL, property_="P35", id="Q17$K")))
    both = Followed(
        {"Q17": (PM, Wanted("head_of_state", "P35", "Japan", "{object} is the emperor of Japan"))}
    )
    result = poll(wikibase, client, followed=both, more="&relations=head_of_state")
    assert [a.title for a in result.articles] == ["Kenji Ono is the emperor of Japan"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["value", "Q1", "P6", "en"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["claims", "P6", "labels", "aliases", "en", "value", "mainsnak", "snaktype", "datavalue",
                         "qualifiers", "references", "snaks", "id", "rank", "P580", "P582", "time"]),
        inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["claims", "labels", "aliases", "id"]), JSON))
def test_any_json_can_be_looked_at(entity: dict[str, Any]) -> None:
    found = model.statements(entity, "P6")
    kept, refused = model.judge(found, NOW)
    assert len(kept) + len(refused) == len(found)
    assert isinstance(model.label(entity), str) and all(model.aliases(entity))
