"""When a source is asked again."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.fetch import fetch
from agent.sources.http import Client
from agent.sources.pace import (
    JITTER,
    MAX_JITTER_S,
    Pacing,
    jitter_s,
    next_poll_at,
    own_pace_s,
    retry_after_s,
    retry_at,
)
from tests.sources.conftest import NOW, Site, answer, item, rss

P = Pacing()


def ago(*hours: float) -> list[datetime]:
    return [NOW - timedelta(hours=h) for h in hours]


def test_a_feeds_pace_is_its_own_within_bounds() -> None:
    assert own_pace_s([], NOW) == P.usual_s
    assert own_pace_s(ago(*range(1, 11)), NOW) == 3600
    assert own_pace_s(ago(*(n / 100 for n in range(100))), NOW) == P.fastest_s
    assert own_pace_s(ago(1000, 2000, 3000), NOW) == P.slowest_s
    assert own_pace_s(ago(-5, -6, 1), NOW) == P.usual_s  # dates to come are no evidence


@pytest.mark.parametrize(
    ("headers", "ttl_s", "wait_s"),
    [
        ({}, 0, 3600),
        ({}, 7200, 7200),
        ({}, 1e12, P.slowest_s),
        ({"cache-control": "public, max-age=5400"}, 0, 5400),
        ({"cache-control": "max-age=999999999"}, 0, P.slowest_s),
        ({"cache-control": "no-store"}, 0, 3600),
        ({"retry-after": "86400"}, 0, 86400),
        ({"retry-after": "999999999"}, 0, P.retry_after_s),
        ({"retry-after": "Wed, 04 Mar 2026 18:00:00 GMT"}, 0, 6 * 3600),
        ({"retry-after": "Wed, 04 Mar 2026 18:00:00 -0000"}, 0, 3600),
        ({"retry-after": "later"}, 0, 3600),
        ({"retry-after": "-5"}, 0, 3600),
    ],
)
def test_what_a_server_may_ask_for(headers: dict[str, str], ttl_s: float, wait_s: float) -> None:
    assert (next_poll_at(NOW, 3600, headers, ttl_s) - NOW).total_seconds() == wait_s


WHEN = "Wed, 04 Mar 2026 %02d:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"expires": WHEN % 14}, 7200),
        ({"expires": WHEN % 14, "cache-control": "max-age=5400"}, 5400),
        ({"expires": WHEN % 14, "date": WHEN % 11}, 3 * 3600),  # the server's clock is an hour slow
        ({"expires": WHEN % 10}, 3600),
        ({"expires": "Fri, 04 Mar 2050 12:00:00 GMT"}, P.slowest_s),
        ({"expires": "0"}, 3600),
        ({"expires": "-1", "date": "today"}, 3600),
        ({"expires": WHEN % 14, "date": "today"}, 7200),
    ],
)
def test_how_long_an_answer_is_fresh(headers: dict[str, str], wait_s: float) -> None:
    assert (next_poll_at(NOW, 3600, headers) - NOW).total_seconds() == wait_s


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_header_makes_the_wait_shorter_or_endless(expires: str, date: str) -> None:
    wait = next_poll_at(NOW, 3600, {"expires": expires, "date": date}) - NOW
    assert timedelta(seconds=3600) <= wait <= timedelta(seconds=P.slowest_s)


def test_feeds_polled_together_do_not_come_due_together() -> None:
    due = [next_poll_at(NOW, 3600, {}, name=f"feed {n}") for n in range(1000)]
    per_minute = Counter((at - NOW) // timedelta(minutes=1) for at in due)
    assert set(per_minute) == set(range(60, 66)) and max(per_minute.values()) < 250
    assert due == [next_poll_at(NOW, 3600, {}, name=f"feed {n}") for n in range(1000)]
    failing = {retry_at(NOW, 1, name=f"feed {n}") for n in range(1000)}
    assert len(failing) > 900 and min(failing) >= NOW + timedelta(seconds=P.first_error_s)


@given(st.text(max_size=20), st.floats(0, 1e7))
def test_jitter_only_ever_adds_a_little(name: str, wait_s: float) -> None:
    assert 0 <= jitter_s(name, wait_s) <= min(JITTER * wait_s, MAX_JITTER_S)
    assert jitter_s("", wait_s) == 0


@given(st.text(max_size=40), st.text(max_size=40), st.floats(0, 1e15), st.integers(1, 10**6))
def test_the_next_poll_is_always_ahead_and_never_beyond_a_week(
    age: str, after: str, ttl_s: float, errors: int
) -> None:
    headers = {"cache-control": f"max-age={age}", "retry-after": after}
    week = timedelta(seconds=P.retry_after_s)
    assert NOW + timedelta(seconds=P.fastest_s) <= next_poll_at(NOW, 0, headers, ttl_s) <= NOW + week
    assert NOW < retry_at(NOW, errors, headers) <= NOW + week
    assert 0 <= retry_after_s(headers, NOW) <= P.retry_after_s


def test_an_unchanged_feed_slows_down_and_a_changed_one_recovers(site: Site, client: Client) -> None:
    site.pages["/f"] = answer(200, rss(*(item(n) for n in range(20))), etag='"1"')
    state = fetch(site.spec("/f"), None, client, NOW).state
    waits = []
    for _ in range(5):
        assert state.polled_at and state.next_poll_at
        waits.append((state.next_poll_at - state.polled_at).total_seconds())
        state = fetch(site.spec("/f"), state, client, state.next_poll_at).state
    assert waits == sorted(waits) and waits[0] < waits[-1] <= P.slowest_s
    site.pages["/f"] = answer(200, rss(*(item(n) for n in range(21))), etag='"2"')
    fresh = fetch(site.spec("/f"), state, client, NOW).state
    assert fresh.next_poll_at is not None and (fresh.next_poll_at - NOW).total_seconds() < waits[-1]
