from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import StoreError, UnknownId
from agent.sources.base import is_due
from agent.store import articles, feeds
from agent.store.articles import Added, _signed
from agent.store.db import Store
from agent.types import Copy, FeedState, SourceSpec
from tests.store.samples import NOW, article, claim, day


def test_adding_twice_is_adding_once(store: Store) -> None:
    both = [article(1), article(2)]
    assert articles.add(store, both) == Added(("feed:1", "feed:2"), (), ())
    assert articles.add(store, [*both, article(3)]) == Added(("feed:3",), (), ("feed:1", "feed:2"))
    assert articles.since(store, day(2)) == (article(2), article(3))
    assert articles.get(store, "feed:1") == article(1)


def test_the_same_text_under_another_id_is_the_same_article(store: Store) -> None:
    articles.add(store, [article(1)])
    copy = article(1, id="other:9", publisher="copycat.example")
    assert articles.add(store, [copy]).known == ("other:9",)
    assert articles.count(store) == 1


def test_by_which_further_ways_a_text_came_is_kept_once(store: Store) -> None:
    articles.add(store, [article(1), article(1)])
    assert articles.copies(store) == {}
    copies = [article(1, id="x:1", source="x"), article(1, id="y:1", source="x", publisher="y.example")]
    articles.add(store, [*copies, *copies])
    publisher = article(1).publisher
    assert articles.copies(store) == {"feed:1": (Copy("x", publisher), Copy("x", "y.example"))}
    articles.add(store, [article(1, text="Corrected.", sha256="c" * 64, fetched_at=day(5))])
    assert articles.copies(store) == {}, "nobody else has printed the new wording"


def test_no_other_source_puts_words_into_an_articles_mouth(store: Store) -> None:
    articles.add(store, [article(1)])
    forged = article(1, source="evil", text="Forged.", sha256="f" * 64, fetched_at=day(5))
    assert articles.add(store, [forged]).known == ("feed:1",)
    assert articles.get(store, "feed:1") == article(1)
    assert articles.copies(store) == {}, "it did not print this text"


def test_two_articles_that_once_had_the_same_wording_can_both_be_revised(store: Store) -> None:
    old = article(1)
    articles.add(store, [old])
    articles.add(store, [replace(old, text="B", sha256="b" * 64, fetched_at=day(5))])
    articles.add(store, [replace(old, id="feed:2")])
    changed = replace(old, id="feed:2", text="C", sha256="c" * 64, fetched_at=day(6))
    assert articles.add(store, [changed]).revised == ("feed:2",)


def test_a_new_wording_is_read_again_and_the_old_one_kept(store: Store) -> None:
    first = article(1)
    corrected = replace(first, text="Corrected.", sha256="c" * 64, fetched_at=day(5))
    articles.add(store, [first])
    articles.record_readings(store, [("feed:1", [claim()])], "v1", NOW)
    assert articles.add(store, [corrected]).revised == ("feed:1",)
    assert articles.unread(store, "v1") == (corrected,)
    assert articles.add(store, [first, corrected]).known == ("feed:1", "feed:1"), (
        "an old copy changes nothing"
    )
    assert articles.get(store, "feed:1") == corrected
    assert [row["text"] for row in store.rows("SELECT text FROM article_old")] == [first.text]
    articles.record_readings(store, [("feed:1", [])], "v1", NOW)
    assert articles.claims(store) == ()
    assert articles.claims_by_id(store, ["c1"]) == (claim(),), "what a proposal may cite is still there"


def test_each_version_of_the_reader_reads_everything_once(store: Store) -> None:
    articles.add(store, [article(2), article(1)])
    assert [item.id for item in articles.unread(store, "v1")] == ["feed:1", "feed:2"]
    assert [item.id for item in articles.unread(store, "v1", 1)] == ["feed:1"]
    assert articles.record_readings(store, [("feed:1", [claim()]), ("feed:2", [])], "v1", NOW) == 1
    assert articles.unread(store, "v1") == ()
    assert len(articles.unread(store, "v2")) == 2
    assert articles.record_readings(store, [("feed:1", [claim(), claim("c2")])], "v2", NOW) == 1
    assert [item.id for item in articles.claims(store)] == ["c1", "c2"]


def test_the_last_reader_counts_and_its_scores(store: Store) -> None:
    """Whoever goes back to an earlier reader wants its claims back."""
    articles.add(store, [article(1)])
    articles.record_readings(store, [("feed:1", [claim()])], "v1", NOW)
    surer = replace(claim(), score=0.125)
    assert articles.record_readings(store, [("feed:1", [surer, claim("c2")])], "v1+model", NOW) == 1
    assert articles.claims(store) == (surer, claim("c2"))
    assert articles.unread(store, "v1+model") == ()
    assert [item.id for item in articles.unread(store, "v1")] == ["feed:1"]
    articles.record_readings(store, [("feed:1", [claim()])], "v1", NOW)
    assert articles.claims(store) == (claim(),)


def test_reading_is_all_or_nothing(store: Store) -> None:
    articles.add(store, [article(1), article(2)])
    with pytest.raises(StoreError, match="was read in another article"):
        articles.record_readings(store, [("feed:1", [claim()]), ("feed:2", [claim("c9")])], "v1", NOW)
    assert len(articles.unread(store, "v1")) == 2
    assert articles.claims(store) == ()


def test_claims_by_key_and_the_same_claim_twice(store: Store) -> None:
    articles.add(store, [article(1)])
    assert articles.add_claims(store, [claim(), claim()], NOW) == 1
    assert articles.add_claims(store, [claim()], NOW) == 0
    assert articles.claims(store, ("Borduria", "head_of_government")) == (claim(),)
    assert articles.claims(store, ("Borduria", "capital")) == ()


def test_a_claim_needs_its_article(store: Store) -> None:
    with pytest.raises(StoreError, match="refused"):
        articles.add_claims(store, [claim(article_id="nowhere")], NOW)
    with pytest.raises(UnknownId, match="nowhere"):
        articles.get(store, "nowhere")


def test_half_a_surrogate_pair_does_not_stop_a_batch(store: Store) -> None:
    articles.add(store, [article(1, title="half \ud83d here", text="a\x00b")])
    assert articles.get(store, "feed:1").title == "half ? here"
    assert articles.get(store, "feed:1").text == "a\x00b"


@given(st.integers(0, 2**64 - 1))
def test_a_simhash_keeps_its_bits(word: int) -> None:
    signed = _signed(word)
    assert -(2**63) <= signed < 2**63
    assert signed % 2**64 == word


def test_fingerprints_have_no_text(store: Store) -> None:
    articles.add(store, [article(1), article(2)])
    (print_two,) = articles.fingerprints(store, day(2))
    assert (print_two.id, print_two.simhash) == ("feed:2", article(2).simhash)


def test_feeds_remember_and_are_due(store: Store) -> None:
    state = FeedState(
        "bbc",
        "https://b.example/moved",
        '"e"',
        "Mon",
        day(0),
        day(1),
        2,
        "timed out",
        False,
        "https://b.example/",
        "aa",
    )
    gone = FeedState("old", "https://o.example/rss", gone=True)
    fresh = FeedState("new", "https://n.example/rss")
    for one in (state, gone, fresh):
        feeds.save(store, one)
    assert feeds.get(store, "bbc") == state
    assert feeds.get(store, "nobody") is None
    assert feeds.states(store) == (state, fresh, gone)
    assert feeds.due(store, day(0)) == (fresh,)
    assert feeds.due(store, day(1)) == (fresh, state)
    feeds.save(store, replace(state, errors=0))
    assert feeds.get(store, "bbc") == replace(state, errors=0)


def test_what_several_polls_brought_is_kept_together_or_not_at_all(store: Store) -> None:
    good = ([article(1)], FeedState("a", "https://a.example/"))
    bad = ([article(2)], FeedState("b", None))  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        feeds.save_polled(store, [good, bad])
    assert feeds.states(store) == () and articles.unread(store, "v1") == ()
    feeds.save_polled(store, [good])
    assert feeds.states(store) == (good[1],) and len(articles.unread(store, "v1")) == 1


def test_a_gone_feed_is_polled_again_when_the_settings_name_another_url(store: Store) -> None:
    """The state comes from the database, as the daemon has it: it must remember which url of the settings it is about."""
    old = SourceSpec("paper", "https://paper.example/old.xml")
    moved = FeedState("paper", "https://paper.example/moved.xml", gone=True, origin=old.url)
    feeds.save(store, moved)
    assert not is_due(old, feeds.get(store, "paper"), NOW)
    assert is_due(replace(old, url="https://paper.example/new.xml"), feeds.get(store, "paper"), NOW)
