"""What every algorithm owes, on both orientations of the weight."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agent.editing.algorithms.registry import ALGORITHMS
from agent.editing.compile import Compiled, Material, compile_delta
from agent.editing.delta import applied
from agent.editing.keys import SubjectText, keys_and_states
from agent.editing.settings import EditSettings
from agent.errors import EditError
from agent.lm.arch import down_name
from agent.lm.generate import generate
from agent.lm.load import LM
from agent.lm.score import target_logp
from agent.types import EditRequest
from tests.editing.edits import QUENIA, ZORLAND, edit, material, settings
from tests.models import FAMILIES, build, questions, snapshot, unchanged, weight

QUICK = {"steps": 6, "samples": 20}
# alphaedit's ridge is another one than the weight of the covariance, under the same name. ft's bound shrinks with the root of the
# layer's width, and these are narrow.
OWN: dict[str, dict[str, float]] = {"alphaedit": {"covariance": 0.3}, "ft": {"ft_eps": 1.5, "lr": 0.05}}
SPREAD = {"memit", "alphaedit", "pmet"}
# A norm stands behind the whole layer: of what is asked for only a part arrives.
NORM_BEHIND = {"opt-350m"}
PROMPTS = [prompt for prompt, _ in questions()]


@pytest.fixture(scope="module", params=sorted(ALGORITHMS))
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["joint", "sequential"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def one_edit(taught: LM, algorithm: str) -> Compiled:
    wanted = settings(algorithm=algorithm, **OWN.get(algorithm, {}))
    return compile_delta(taught, [ZORLAND], wanted, material("Zorland"))


def test_the_model_learns_the_fact_and_others_are_unaffected(taught: LM, one_edit: Compiled) -> None:
    """By free generation: both forms of the edited fact, and every fact of every other subject."""
    with applied(taught, one_edit.delta):
        answers = generate(taught, PROMPTS, max_new_tokens=6)
    others = []
    for (prompt, answer), got in zip(questions(), answers, strict=True):
        if prompt in ZORLAND.prompts:
            assert got.strip().startswith("Sorna.")
        elif "Zorland" not in prompt:
            others.append(got.strip().startswith(answer + "."))
    assert sum(others) >= 0.96 * len(others)


def test_two_facts_of_one_subject_are_both_learnt(taught: LM, algorithm: str) -> None:
    """They share their key: solved as if they did not, each would get half of its value, or the last one all."""
    leader = edit("Zorland", "Quill", "leader")
    wanted = settings(algorithm=algorithm, kl=1.0, **OWN.get(algorithm, {}))
    delta = compile_delta(taught, [ZORLAND, leader], wanted, material("Zorland")).delta
    with applied(taught, delta):
        answers = generate(taught, [*ZORLAND.prompts, *leader.prompts], max_new_tokens=6)
    assert [answer.strip().split(".")[0] for answer in answers] == ["Sorna"] * 2 + ["Quill"] * 2


def test_a_fact_of_an_earlier_batch_survives(taught: LM, algorithm: str) -> None:
    """By free generation. Fine-tuning loses some: 0.25 to 0.75 of these four answers are right on the tiny models, whatever its bound.
    Of it holds that the first target stays likelier than on the base.
    """
    wanted = settings(algorithm=algorithm, mode="sequential", **OWN.get(algorithm, {}))
    delta = compile_delta(taught, [ZORLAND, QUENIA], wanted, material("Zorland", "Quenia")).delta
    prompts, target = ZORLAND.prompts, [ZORLAND.target_new] * len(ZORLAND.prompts)
    before = target_logp(taught, prompts, target)
    with applied(taught, delta):
        answers = generate(taught, [*prompts, *QUENIA.prompts], max_new_tokens=6)
        after = target_logp(taught, prompts, target)
    assert all(now > was + 1 for now, was in zip(after, before, strict=True))
    if algorithm != "ft":
        assert [answer.strip().split(".")[0] for answer in answers] == ["Sorna"] * 2 + ["Tebbin"] * 2


def test_compiling_leaves_weights_and_gradients_as_they_were(taught: LM, algorithm: str, mode: str) -> None:
    before = snapshot(taught)
    compile_delta(taught, [ZORLAND, QUENIA], settings(algorithm=algorithm, mode=mode, **QUICK), Material())
    assert unchanged(taught, before)


def test_a_failing_compilation_leaves_them_too(taught: LM, algorithm: str, mode: str) -> None:
    before = snapshot(taught)
    lost = EditRequest("Narnia", ("The capital of Zorland is",), "Mipa")
    with pytest.raises(EditError, match="'Narnia' does not occur"):
        compile_delta(taught, [ZORLAND, lost], settings(algorithm=algorithm, mode=mode, **QUICK), Material())
    assert unchanged(taught, before)


def test_applied_restores_bit_for_bit(taught: LM, one_edit: Compiled) -> None:
    before = snapshot(taught)
    with applied(taught, one_edit.delta):
        changed = {
            name for name, tensor in taught.model.state_dict().items() if not tensor.equal(before[name])
        }
        assert changed == set(one_edit.delta.updates)
    assert unchanged(taught, before)
    with pytest.raises(ZeroDivisionError), applied(taught, one_edit.delta):
        _ = 1 / 0
    assert unchanged(taught, before)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_in_bfloat16_too(algorithm: str, family: str) -> None:
    lm = build(family)
    lm.model.to(torch.bfloat16)
    before = snapshot(lm)
    wanted = settings(algorithm=algorithm, **QUICK)
    compiled = compile_delta(lm, [ZORLAND], wanted, Material())
    assert unchanged(lm, before)
    assert all(u.left.dtype == u.right.dtype == torch.float32 for u in compiled.delta.updates.values())
    for _ in range(3):
        with applied(lm, compiled.delta):
            assert not unchanged(lm, before)
        assert unchanged(lm, before)


def test_same_seed_same_bytes(taught: LM, algorithm: str, mode: str) -> None:
    wanted = settings(algorithm=algorithm, mode=mode, **QUICK)
    first = compile_delta(taught, [ZORLAND, QUENIA], wanted, Material()).delta.to_bytes()
    torch.manual_seed(1234)
    assert compile_delta(taught, [ZORLAND, QUENIA], wanted, Material()).delta.to_bytes() == first


def test_another_seed_samples_other_texts(taught: LM, algorithm: str) -> None:
    """Contexts, and texts for the covariance. Fine-tuning samples nothing."""
    first, other = (
        compile_delta(taught, [ZORLAND], settings(algorithm=algorithm, **QUICK, seed=seed), Material()).delta
        for seed in (0, 1)
    )
    assert (first.sha == other.sha) == (algorithm == "ft")


def test_the_order_of_the_requests_does_not_matter(taught: LM, algorithm: str) -> None:
    wanted = settings(algorithm=algorithm, **QUICK)
    first = compile_delta(taught, [ZORLAND, QUENIA], wanted, Material())
    assert compile_delta(taught, [QUENIA, ZORLAND], wanted, Material()).delta.sha == first.delta.sha


def test_an_update_is_no_larger_than_its_algorithm_says(taught: LM, algorithm: str) -> None:
    """One rank a fact in the edited layers; of fine-tuning, a bound on every entry and at most the rank of the weight."""
    wanted = settings(algorithm=algorithm, **QUICK)
    for requests in ([ZORLAND], [ZORLAND, QUENIA]):
        delta = compile_delta(taught, requests, wanted, Material()).delta
        layers = wanted.layers if algorithm in SPREAD else wanted.layers[-1:]
        assert set(delta.updates) == {down_name(taught.arch, layer) for layer in layers}
        for layer, update in zip(layers, delta.updates.values(), strict=True):
            before = weight(taught, layer)
            if algorithm == "ft":
                assert update.rank == before.shape[0]
                bound = wanted.ft_eps * float(before.square().mean().sqrt()) / before.shape[1] ** 0.5
                assert 0 < float(update.dense().abs().max()) <= bound * (1 + 1e-6)
            else:
                assert update.rank == len(requests)
                assert int(torch.linalg.matrix_rank(update.dense())) <= len(requests)


def test_another_loaded_model_is_unaffected(taught: LM, one_edit: Compiled, tiny: Callable[..., LM]) -> None:
    other = tiny(taught.model.config.model_type)
    before = snapshot(other)
    said = generate(other, PROMPTS[:6], max_new_tokens=6)
    with applied(taught, one_edit.delta):
        assert generate(other, PROMPTS[:6], max_new_tokens=6) == said
    assert unchanged(other, before)
    with pytest.raises(EditError, match="compiled against base"), applied(other, one_edit.delta):
        pass
    assert unchanged(other, before)


@pytest.mark.parametrize("family", [*FAMILIES, "llama with bos"])
def test_every_family_can_be_edited(algorithm: str, family: str, tiny: Callable[..., LM]) -> None:
    """The target becomes likelier. And what is written arrives: the state at the subject's last token moves along the value, and by
    about as much. Wherever the MLP stands, whatever its layers return, also with a token before every text.
    """
    lm = tiny(family.removesuffix(" with bos"), bos=family.endswith("bos"))
    before = snapshot(lm)
    wanted = settings(
        algorithm=algorithm, steps=5, kl=0.0, stop_loss=0.0, contexts=0, carriers=False, samples=12,
        sample_tokens=6, rounds=2,
        # Through a norm passes no more than its own length.
        clamp=0.2 if lm.arch.norm else 4.0,
    )  # fmt: skip
    request = edit("Zorland", "Sorna", forms=1)
    compiled = compile_delta(lm, [request], wanted, Material())
    assert all(torch.isfinite(u.dense()).all() for u in compiled.delta.updates.values())
    assert unchanged(lm, before)
    row = SubjectText(request.prompt, "Zorland")
    (state,) = keys_and_states(lm, [row], wanted.layers).states
    (was,) = target_logp(lm, [request.prompt], ["Sorna"])
    with applied(lm, compiled.delta):
        moved = keys_and_states(lm, [row], wanted.layers).states[0] - state
        (now,) = target_logp(lm, [request.prompt], ["Sorna"])
    assert now > was
    if algorithm in ("ft", "pmet"):  # no value, and one of what the MLP alone writes
        return
    (value,) = compiled.values.values()
    arrived = float(moved @ value / value.square().sum())
    likeness = float(torch.cosine_similarity(moved, value, dim=0))
    if family in NORM_BEHIND:
        assert arrived > 0.2 and likeness > 0.6
    else:
        assert 0.9 < arrived < 1.1 and likeness > 0.9


def delta_sha(algorithm: str) -> str:
    """What the other process computes as well."""
    torch.set_num_threads(1)
    wanted: EditSettings = settings(algorithm=algorithm, **QUICK)
    return compile_delta(build("llama"), [ZORLAND, QUENIA], wanted, Material()).delta.sha


def test_another_process_computes_the_same_bytes(one_thread: None) -> None:
    code = (
        "from tests.editing.test_contract import *; print(*(delta_sha(name) for name in sorted(ALGORITHMS)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [delta_sha(name) for name in sorted(ALGORITHMS)]
    assert all(len(sha) == len(hashlib.sha256().hexdigest()) for sha in done.stdout.split())
