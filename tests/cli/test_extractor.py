"""What a person sees of the optional language model that reads claims: `factd doctor`, `factd plan`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.store import articles
from tests.chat_server import ChatServer, serving
from tests.cli.conftest import World
from tests.store import samples

KEY = "hunter2-hunter2"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with serving() as found:
        for name, value in {
            "RELATIONS": "shipped:configs/relations.yaml", "EXTRACTOR__KIND": "both", "EXTRACTOR__URL": found.url,
            "EXTRACTOR__MODEL": "stand-in", "EXTRACTOR__KEY_VARIABLE": "LLM_KEY",
        }.items():  # fmt: skip
            monkeypatch.setenv(f"FACTD_{name}", value)
        monkeypatch.setenv("LLM_KEY", KEY)
        yield found


def checked(world: World) -> tuple[str, str]:
    found = world.run("doctor", "--json")
    (check,) = [c for c in found.json["checks"] if c["name"] == "extractor"]
    assert KEY not in found.out + found.err
    return check["status"], check["found"]


def test_doctor_tries_the_extractor(bare: World, server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    status, found = checked(bare)
    assert status == "ok" and found.endswith("finds 1 fact in a test sentence")
    server.answer = lambda _article, _request: {"claims": []}
    assert checked(bare)[0] == "warn"
    server.manner = "echo"
    assert checked(bare)[0] == "fail"
    monkeypatch.delenv("LLM_KEY")
    status, found = checked(bare)
    assert status == "fail" and "LLM_KEY" in found
    monkeypatch.setenv("FACTD_EXTRACTOR__KIND", "rules")
    before = len(server.requests)
    assert checked(bare) == ("ok", "the rules alone; no language model is asked")
    assert len(server.requests) == before


def test_plan_tells_what_was_asked_and_what_failed(bare: World, server: ChatServer) -> None:
    with bare.store() as store:
        item = samples.article(title="Fine", text="Nordwind is steered by Ann Ruiz.")
        articles.add(store, [item, replace(item, id="x", title="Bad", sha256="x" * 64)])
    server.by_title = {"Bad": "error"}
    found = bare.run("plan", "--json")
    assert found.code == 0, found.err
    reading = found.json["extractor"]
    assert (reading["asked"], reading["waiting"], len(reading["failed"])) == (2, 1, 1)
    assert "gave no usable answer to 1 of 2 articles" in found.err and "500" in found.err
    assert "\x1b" not in found.err and KEY not in found.out + found.err
    assert bare.run("config", "show").out.count(KEY) == 0
