"""`factd push vllm` against a server that really loads the adapters: what it serves afterwards, and after every kind of failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from agent.errors import FetchRefused, InputError, SourceError, UsageError, VerificationFailed
from agent.export.peft import export_peft
from agent.push import Pushed, Target, push, spread
from agent.sources.http import Client
from agent.store import ledger
from agent.types import Probe
from agent.vllm import server_at
from agent.workshop import Workshop
from tests.export.conftest import Shops, shop_of
from tests.vllm_server import BASE, VllmServer, serving

__all__ = ["shop_of"]
EDITED = "The capital of Zorland is"


@pytest.fixture
def server(taught_folders: dict[str, Path]) -> Iterator[VllmServer]:
    with serving(taught_folders["llama"]) as here:
        yield here


@pytest.fixture
def shop(shop_of: Shops) -> Workshop:
    return shop_of("llama")


def target_of(server: VllmServer, folder: Path, **changes: object) -> Target:
    chosen = Target(server_at(server.url, Client(timeout_s=20, max_redirects=0), server.key), "factd", folder)
    return replace(chosen, **changes)  # type: ignore[arg-type]


def test_the_server_serves_the_revision(shop: Workshop, server: VllmServer, tmp_path: Path) -> None:
    assert "Mipa" in server.say(BASE, EDITED)
    done = push(shop, 1, target_of(server, tmp_path / "adapters"))
    folder = tmp_path / "adapters" / "factd-r1"
    assert server.loaded == {"factd-r1": str(folder), "factd": str(folder)}
    assert (done.versioned, done.asked, done.right, done.notes) == ("factd-r1", 2, 2, ())
    assert server.say("factd", EDITED).strip().startswith("Sorna") and "Mipa" in server.say(BASE, EDITED)
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
    row = ledger.entries(shop.store)[-1]
    assert (row.kind, row.payload["revision"], row.payload["versioned"]) == ("pushed", 1, "factd-r1")
    assert ledger.verify_chain(shop.store) is None
    # loaded and asked under its own name before anybody could meet it
    order = [call for call in server.calls if call[0] != "models"]
    assert order.index(("load_lora_adapter", "factd")) > order.index(("completions", "factd-r1"))
    assert all(body["temperature"] == 0 for body in server.bodies if "prompt" in body)


def test_pushing_twice_changes_nothing(shop: Workshop, server: VllmServer, tmp_path: Path) -> None:
    push(shop, 1, target_of(server, tmp_path))
    before, calls = dict(server.loaded), len(server.calls)
    push(shop, 1, target_of(server, tmp_path))
    assert server.loaded == before
    assert {route for route, _ in server.calls[calls:]} == {"models", "completions"}


@pytest.fixture
def earlier(shop: Workshop, server: VllmServer, tmp_path: Path) -> dict[str, str]:
    """What the server serves before the push that is tried: an older version, whose adapter changes nothing."""
    target, old = target_of(server, tmp_path / "adapters"), tmp_path / "adapters" / "factd-r0"
    export_peft(shop, 1, old, verify=False)
    tensors = load_file(old / "adapter_model.safetensors")
    zeros = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    save_file(zeros, old / "adapter_model.safetensors", metadata={"format": "pt"})
    for name in ("factd", "factd-r0"):
        target.server.load(name, str(old))
    server.calls.clear()
    return dict(server.loaded)


def test_the_name_moves_and_the_old_version_goes(
    shop: Workshop, server: VllmServer, tmp_path: Path, earlier: dict[str, str]
) -> None:
    assert "Mipa" in server.say("factd", EDITED)
    done = push(shop, 1, target_of(server, tmp_path / "adapters"))
    assert "Sorna" in server.say("factd", EDITED)
    folder = str(tmp_path / "adapters" / "factd-r1")
    assert server.loaded == {"factd-r1": folder, "factd": folder} and earlier["factd"] != folder
    assert (done.unloaded, done.left) == (("factd-r0",), ())
    # the old folder stays: answers that are being written are finished from it
    assert (tmp_path / "adapters" / "factd-r0" / "adapter_config.json").is_file()


def test_without_an_alias_only_the_version_is_loaded(
    shop: Workshop, server: VllmServer, tmp_path: Path, earlier: dict[str, str]
) -> None:
    push(shop, 1, target_of(server, tmp_path / "adapters", alias=False))
    assert server.loaded == {**earlier, "factd-r1": str(tmp_path / "adapters" / "factd-r1")}


FAULTS = [("load_lora_adapter factd-r1", kind) for kind in ("refuse", "drop", "lost")] + [
    ("completions factd-r1", kind) for kind in ("refuse", "drop", "lost")
]
FAULTS += [("unload_lora_adapter factd", kind) for kind in ("refuse", "drop", "lost")]
FAULTS += [("load_lora_adapter factd", kind) for kind in ("refuse", "drop", "lost")]
FAULTS += [("completions factd", kind) for kind in ("refuse", "drop", "lost")]


@pytest.mark.parametrize(("where", "fault"), FAULTS, ids=lambda value: str(value).replace(" ", "-"))
def test_whatever_fails_the_old_stays_served(
    shop: Workshop, server: VllmServer, tmp_path: Path, earlier: dict[str, str], where: str, fault: str
) -> None:
    server.faults[where] = [fault]
    rows = len(ledger.entries(shop.store))
    with pytest.raises(SourceError, match="the server serves what it did before"):
        push(shop, 1, target_of(server, tmp_path / "adapters"))
    assert server.loaded == earlier and server.faults[where] == []
    assert len(ledger.entries(shop.store)) == rows
    # and the next try succeeds
    push(shop, 1, target_of(server, tmp_path / "adapters"))
    assert server.loaded["factd"].endswith("factd-r1")


@pytest.mark.parametrize("liar", ["factd-r1", "factd"])
def test_wrong_answers_there_undo_it(
    shop: Workshop, server: VllmServer, tmp_path: Path, earlier: dict[str, str], liar: str
) -> None:
    server.lies.add(liar)
    with pytest.raises(
        VerificationFailed, match=rf"as {liar} the server answers 0 of 2 .*'nonsense'.*serves what it did"
    ):
        push(shop, 1, target_of(server, tmp_path / "adapters"))
    assert server.loaded == earlier


def test_the_first_push_leaves_nothing_behind_when_it_fails(
    shop: Workshop, server: VllmServer, tmp_path: Path
) -> None:
    server.lies.add("factd")
    with pytest.raises(VerificationFailed):
        push(shop, 1, target_of(server, tmp_path))
    assert server.loaded == {}


def test_undoing_is_tried_again_and_says_when_it_cannot(
    shop: Workshop,
    server: VllmServer,
    tmp_path: Path,
    earlier: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.push._PAUSE_S", 0.0)
    server.faults["completions factd"] = ["refuse"]
    server.faults["unload_lora_adapter factd"] = ["", "drop"]
    with pytest.raises(SourceError, match="serves what it did before"):
        push(shop, 1, target_of(server, tmp_path / "adapters"))
    assert server.loaded == earlier
    server.faults = {"completions factd": ["refuse"], "unload_lora_adapter factd": ["", *["drop"] * 9]}
    with pytest.raises(
        SourceError, match=r"could not be put back .* it should serve factd from .*factd-r0, no factd-r1"
    ):
        push(shop, 1, target_of(server, tmp_path / "adapters"))


def test_an_old_version_that_will_not_go_is_told(
    shop: Workshop, server: VllmServer, tmp_path: Path, earlier: dict[str, str]
) -> None:
    server.faults["unload_lora_adapter factd-r0"] = ["refuse"]
    done = push(shop, 1, target_of(server, tmp_path / "adapters"))
    assert (done.unloaded, done.left) == ((), ("factd-r0",))
    assert server.loaded["factd"].endswith("factd-r1")


def test_a_ledger_that_cannot_be_written_undoes_it(
    shop: Workshop,
    server: VllmServer,
    tmp_path: Path,
    earlier: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agent.push.ledger.append", full)
    with pytest.raises(KeyboardInterrupt):
        push(shop, 1, target_of(server, tmp_path / "adapters"))
    assert server.loaded == earlier


def test_a_prefix_cache_by_name_is_emptied_or_warned_of(
    shop: Workshop, server: VllmServer, tmp_path: Path, earlier: dict[str, str]
) -> None:
    """vLLM's cache goes by the adapter's name: what was asked as `factd` before would be answered from the old one."""
    server.cached = True
    server.remembered.update({("factd", prompt): " Mipa." for prompt in (EDITED, "The capital of Quenia is")})
    with pytest.raises(VerificationFailed, match="VLLM_SERVER_DEV_MODE=1 would"):
        push(shop, 1, target_of(server, tmp_path / "adapters"))
    assert server.loaded == earlier
    server.dev_mode = True
    done = push(shop, 1, target_of(server, tmp_path / "adapters"))
    assert isinstance(done, Pushed) and done.notes == () and server.loaded["factd"].endswith("factd-r1")


def test_a_server_without_that_route_is_warned_of(
    shop: Workshop, server: VllmServer, tmp_path: Path, earlier: dict[str, str]
) -> None:
    (note,) = push(shop, 1, target_of(server, tmp_path / "adapters")).notes
    assert "--no-enable-prefix-caching" in note


@pytest.mark.parametrize("old", [False, True], ids=["errors of today", "older errors"])
def test_what_the_server_says_is_told_with_what_to_do(
    shop: Workshop, server: VllmServer, tmp_path: Path, old: bool
) -> None:
    server.old_errors, server.max_lora_rank = old, 4
    with pytest.raises(
        SourceError, match=r"LoRA rank 8 is greater than max_lora_rank 4\.; start vLLM with a larger"
    ):
        push(shop, 1, target_of(server, tmp_path))
    server.max_lora_rank, server.updating = 16, False
    with pytest.raises(SourceError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
        push(shop, 1, target_of(server, tmp_path))
    server.updating = True
    elsewhere = target_of(server, tmp_path, remote="/mnt/adapters/")
    with pytest.raises(SourceError, match="No adapter found for /mnt/adapters/factd-r1"):
        push(shop, 1, elsewhere)
    server.faults["load_lora_adapter"] = ["refuse"]
    with pytest.raises(SourceError, match="out of memory") as caught:
        push(shop, 1, target_of(server, tmp_path))
    assert "\x1b" not in str(caught.value)


def test_the_key_goes_to_the_server_alone(shop: Workshop, server: VllmServer, tmp_path: Path) -> None:
    server.key = "sk-secret"
    bare = replace(target_of(server, tmp_path), server=server_at(server.url, Client()))
    with pytest.raises(SourceError, match="401"):
        push(shop, 1, bare)
    push(shop, 1, target_of(server, tmp_path))
    assert server.loaded["factd"]
    # no redirect is followed, and unencrypted it goes to the local network only
    server.faults["models"] = ["to http://127.0.0.1:9/v1/models"]
    with pytest.raises(SourceError, match="redirects"):
        push(shop, 1, target_of(server, tmp_path))
    server.faults["load_lora_adapter"] = ["to http://127.0.0.1:9/"]
    with pytest.raises(SourceError, match="answers 307"):
        target_of(server, tmp_path).server.load("x", "/y")
    far = Client(resolve=lambda host, port: ["93.184.216.34"], max_redirects=0)
    with pytest.raises(FetchRefused, match="only over https"):
        server_at("http://vllm.example", far, "sk-secret").models()
    assert "sk-secret" not in repr(target_of(server, tmp_path))


def test_what_is_refused_before_the_server_is_touched(
    shop: Workshop, server: VllmServer, tmp_path: Path
) -> None:
    for name in ("../factd", "/etc/x", "a/b", "", ".hidden", "-r", "a b"):
        with pytest.raises(UsageError, match="--name"):
            push(shop, 1, target_of(server, tmp_path, name=name))
    for url in ("ftp://x", "http://", "http://u:p@x", "http://x?y", "nonsense", "http://x:0"):
        with pytest.raises(UsageError, match="--url"):
            server_at(url, Client())
    assert server_at("https://x/v1/", Client()).url == "https://x"
    with pytest.raises(UsageError, match="the base has no delta"):
        push(shop, 0, target_of(server, tmp_path))
    with pytest.raises(UsageError, match="a base model of the name"):
        push(shop, 1, target_of(server, tmp_path, name=BASE))
    (tmp_path / "factd-r1").mkdir()
    with pytest.raises(InputError, match="is no artefact of factd"):
        push(shop, 1, target_of(server, tmp_path))
    assert {route for route, _ in server.calls} <= {"models"}


def test_another_adapter_in_the_folder_is_not_pushed(
    shop: Workshop, server: VllmServer, tmp_path: Path
) -> None:
    """A compressed one of the same revision; and one that failed its verification."""
    export_peft(shop, 1, tmp_path / "factd-r1", max_rank=1, rank_for_vllm=True)
    with pytest.raises(InputError, match="holds another adapter"):
        push(shop, 1, target_of(server, tmp_path))
    with pytest.raises(VerificationFailed, match="larger --max-rank"):
        push(shop, 1, target_of(server, tmp_path, max_rank=1))
    with pytest.raises(VerificationFailed, match="larger --max-rank"):
        push(shop, 1, target_of(server, tmp_path / "fresh", max_rank=1))
    assert server.loaded == {}


def test_a_server_that_is_none(shop: Workshop, server: VllmServer, tmp_path: Path) -> None:
    server.faults["models"] = ["refuse"]
    with pytest.raises(SourceError, match="answers 500"):
        push(shop, 1, target_of(server, tmp_path))
    target = target_of(server, tmp_path)
    nowhere = replace(target, server=server_at("http://127.0.0.1:9", Client(timeout_s=2)))
    with pytest.raises(SourceError, match="cannot fetch"):
        push(shop, 1, nowhere)


def test_questions_are_spread_over_the_facts() -> None:
    probes = [Probe("efficacy", f"{fact} {n}", ("x",), (), (fact, "r")) for fact in "abc" for n in range(5)]
    assert {p.fact_key[0] for p in spread(probes, 3)} == set("abc")
    assert sorted(p.fact_key[0] for p in spread(probes, 6)) == list("aabbcc")
    assert spread(probes, 6) == spread(probes[::-1], 6) and len(spread(probes, 99)) == 15
