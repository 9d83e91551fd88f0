"""The model's thread: turns, limits, hanging up, failing, and ending."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import openai
import pytest
import torch

from agent.errors import RequestRefused, StoreError
from agent.lm.load import LM
from agent.serve.engine import Engine
from agent.serve.order import Order
from agent.serve.ticket import Event, Started, Text, Ticket
from tests.serve.conftest import CAPITAL, serving

LONG = 100


class Slow:
    """Inside, every pass of the model waits: `passes` counts them, `go` lets them run."""

    def __init__(self, lm: LM, pause_s: float) -> None:
        self.lm, self.pause_s, self.passes = lm, pause_s, 0

    def __enter__(self) -> Slow:
        self.handle = self.lm.model.register_forward_pre_hook(self.hook)
        return self

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def hook(self, *_: object) -> None:
        self.passes += 1
        time.sleep(self.pause_s)


def ticket(
    n: int = 1, max_tokens: int = LONG, prompt: str = "Once upon"
) -> tuple[Ticket, queue.Queue[Event]]:
    events: queue.Queue[Event] = queue.Queue()
    order = Order("text", "taught", prompts=(prompt,), n=n, max_tokens=max_tokens)
    return Ticket(order, events.put), events


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ends(events: queue.Queue[Event]) -> Text:
    while not isinstance(event := events.get(timeout=20), Text) or not event.finish:
        assert not isinstance(event, RequestRefused), event
    return event


def test_too_many_waiting_are_told_to_come_back(lm: LM, published: Path) -> None:
    with serving(lm, published, fixed=0, batch=1, waiting=2) as site, Slow(lm, 0.01):
        first, events = ticket()
        site.engine.submit(first)
        assert isinstance(events.get(timeout=20), Started)
        waiting = [ticket(max_tokens=1) for _ in range(2)]
        for one, _ in waiting:
            site.engine.submit(one)
        assert site.engine.load == (1, 2)
        with site.client() as client, pytest.raises(openai.RateLimitError) as caught:
            client.completions.create(model="taught", prompt=CAPITAL)
        assert caught.value.response.headers["retry-after"] == "1"
        assert caught.value.code == "rate_limit_exceeded"
        first.give_up()
        assert [ends(come).tokens for _, come in waiting] == [1, 1]


def test_requests_join_those_in_progress(lm: LM, published: Path) -> None:
    """The short one is answered long before the one that came first."""
    with serving(lm, published, fixed=0, batch=4) as site, Slow(lm, 0.005):
        long, events = ticket()
        site.engine.submit(long)
        assert isinstance(events.get(timeout=20), Started)
        short, answered = ticket(max_tokens=2)
        site.engine.submit(short)
        assert ends(answered).tokens == 2
        assert site.engine.load[0] == 1
        long.give_up()
        until(lambda: site.engine.load == (0, 0))


def test_a_request_of_several_answers_waits_for_room_for_all(lm: LM, published: Path) -> None:
    with serving(lm, published, fixed=0, batch=3) as site, Slow(lm, 0.005):
        first, events = ticket(n=2)
        site.engine.submit(first)
        assert isinstance(events.get(timeout=20), Started)
        three, answered = ticket(n=3, max_tokens=2)
        site.engine.submit(three)
        time.sleep(0.05)
        assert site.engine.load == (2, 1)
        first.give_up()
        assert {ends(answered).choice for _ in range(3)} == {0, 1, 2}


@pytest.mark.parametrize("stream", [True, False])
def test_who_hangs_up_is_written_for_no_longer(lm: LM, published: Path, stream: bool) -> None:
    with serving(lm, published, fixed=0) as site, Slow(lm, 0.02) as slow:
        body = {"model": "taught", "prompt": "Once upon", "max_tokens": LONG, "stream": stream}
        with httpx.Client(timeout=0.3 if not stream else 20) as client:
            if stream:
                with client.stream("POST", f"{site.url}/completions", json=body) as answer:
                    next(answer.iter_lines())
            else:
                with pytest.raises(httpx.ReadTimeout):
                    client.post(f"{site.url}/completions", json=body)
        until(lambda: site.engine.load == (0, 0))
        assert slow.passes < LONG // 2
        assert site.told == []


def test_a_batch_that_fails_takes_nobody_else_with_it(
    lm: LM, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    with serving(lm, published, fixed=0) as site, site.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(lm.model, "forward", failing)
            with pytest.raises(openai.InternalServerError, match="the model failed while it wrote"):
                client.completions.create(model="taught", prompt=CAPITAL)
        assert (
            client.completions.create(model="taught", prompt=CAPITAL, max_tokens=2).choices[0].text
            == " Mipa."
        )
        assert len(site.told) == 1
        assert "a batch of 1 failed: OutOfMemoryError" in site.told[0]


def test_a_stream_that_breaks_says_so(lm: LM, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lm, published, fixed=0) as site, site.client() as client:
        came = client.completions.create(model="taught", prompt="Once upon", max_tokens=LONG, stream=True)
        with Slow(lm, 0.01), pytest.raises(openai.APIError, match="the model failed"):
            for count, _ in enumerate(came):
                if count == 2:
                    monkeypatch.setattr(lm.model, "forward", lambda *_, **__: 1 / 0)
        monkeypatch.undo()
        until(lambda: site.engine.load == (0, 0))


def test_ending_gives_everybody_their_answer(lm: LM, published: Path) -> None:
    """Those being written and those that wait; only who comes later is sent away."""
    with serving(lm, published, fixed=0, batch=1) as site, Slow(lm, 0.002):
        tickets = [ticket(max_tokens=20) for _ in range(3)]
        for one, _ in tickets:
            site.engine.submit(one)
        ending = threading.Thread(target=site.engine.finish)
        ending.start()
        until(lambda: site.engine.state != "running")
        with site.client() as client, pytest.raises(openai.InternalServerError) as caught:
            client.completions.create(model="taught", prompt=CAPITAL)
        assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (503, "1")
        assert [ends(events).finish for _, events in tickets] == ["length"] * 3
        ending.join(20)
        assert httpx.get(f"{site.url.removesuffix('/v1')}/healthz").status_code == 503


def test_ending_at_once_tells_those_who_wait(lm: LM, published: Path) -> None:
    with serving(lm, published, fixed=0, batch=1) as site, Slow(lm, 0.002):
        tickets = [ticket() for _ in range(2)]
        for one, _ in tickets:
            site.engine.submit(one)
        assert isinstance(tickets[0][1].get(timeout=20), Started)
        site.engine.finish(now=True)
        for _, events in tickets:
            while not isinstance(event := events.get(timeout=20), RequestRefused):
                pass
            assert event.status == 503


def test_a_server_without_a_revision_does_not_start(lm: LM, state: Path) -> None:
    (state / "state" / "revisions" / "2" / "delta.safetensors").write_bytes(b"")
    with pytest.raises(StoreError, match="was changed after publication"), serving(lm, state):
        pass


def test_health_tells_of_a_revision_that_is_refused(lm: LM, state: Path) -> None:
    (state / "state" / "revisions" / "1" / "delta.safetensors").write_bytes(b"")
    with serving(lm, state) as site, site.client() as client:
        site.point_at(1)
        until(lambda: bool(site.told))
        health = httpx.get(f"{site.url.removesuffix('/v1')}/healthz")
        told = health.json()
        assert (health.status_code, told["status"], told["revision"]) == (200, "degraded", 2)
        assert told["problem"].startswith("revision 1 is refused, 2 is served still")
        answer = client.completions.create(model="taught", prompt=CAPITAL, max_tokens=3)
        assert answer.choices[0].text.startswith(" Tebbin")
        assert (answer.system_fingerprint or "").startswith("factd-r2-")


def test_a_switch_waits_for_the_batch_and_is_not_put_off_for_ever(lm: LM, state: Path) -> None:
    """Requests keep coming; those after the pointer moved wait for the new revision."""
    with serving(lm, state) as site, Slow(lm, 0.005):
        first, events = ticket(max_tokens=60)
        site.engine.submit(first)
        started = events.get(timeout=20)
        assert isinstance(started, Started)
        site.point_at(1)
        time.sleep(0.1)
        later = [ticket(max_tokens=2) for _ in range(3)]
        for one, _ in later:
            site.engine.submit(one)
        assert ends(events).tokens == 60
        new = [come.get(timeout=20) for _, come in later]
        assert started.current.id == 2
        assert {event.current.id for event in new if isinstance(event, Started)} == {1}


def test_an_engine_is_one_thread(lm: LM, published: Path) -> None:
    """Whatever the number of clients: the model is never asked from elsewhere."""
    seen: set[str] = set()
    handle = lm.model.register_forward_pre_hook(lambda *_: seen.add(threading.current_thread().name))
    try:
        with serving(lm, published, fixed=1) as site, site.client() as client:
            client.completions.create(model="taught", prompt=CAPITAL)
    finally:
        handle.remove()
    assert seen == {"factd-model"}
    assert isinstance(site.engine, Engine)
