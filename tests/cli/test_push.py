"""`factd push vllm`, against a server that really loads the adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.editing.delta import Delta
from agent.store.db import open_store
from tests.cli.conftest import World, write_settings
from tests.export.conftest import published
from tests.store import samples
from tests.vllm_server import serving

_LENIENT = "verify: {paraphrase: 0.0, same_subject: 0.0, others: 0.0, drift: 100.0, entropy: 0.0, norm: 100.0, ppl_ratio: 100.0}\n"


def test_the_command(
    bare: World,
    taught_folders: dict[str, Path],
    capital_deltas: dict[str, Delta],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_settings(bare.folder, model=str(taught_folders["llama"]), more=_LENIENT)
    with open_store(bare.state, samples.NOW, create_missing=True) as store:
        published(store, capital_deltas["llama"])
    monkeypatch.setenv("VLLM_API_KEY", "sk-secret")
    with serving(taught_folders["llama"], key="sk-secret") as server:
        refused = bare.run("push", "vllm", "--url", server.url)
        assert refused.code == 1 and "401" in refused.err
        done = bare.run("push", "vllm", "--url", server.url, "--key-variable", "VLLM_API_KEY")
        assert done.code == 0, done.err
        assert done.out.splitlines()[0] == "factd-r1 answers 2 of 2 questions with the fact"
        assert Path(server.loaded["factd"]) == bare.state / "adapters" / "factd-r1"
        again = bare.run("push", "vllm", "--url", server.url, "--key-variable", "VLLM_API_KEY", "--json")
        assert (again.code, again.json["right"], again.json["versioned"]) == (0, 2, "factd-r1")
        server.lies.add("factd-r1")
        undone = bare.run("push", "vllm", "--url", server.url, "--key-variable", "VLLM_API_KEY")
        assert undone.code == 4 and "serves what it did before" in undone.err
    given = bare.run("push", "vllm", "--key-variable", "sk-secret")
    assert given.code == 2 and "sk-secret" not in given.err
