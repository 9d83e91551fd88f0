"""Joint and sequential compilation: what is refused, what is reused, what depends on what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agent.editing.compile import Material, compile_delta, find_values
from agent.editing.covariance import statistics_for
from agent.editing.delta import Delta, applied
from agent.editing.factors import Factors
from agent.editing.keys import SubjectText, keys_and_states, one_per_key
from agent.editing.requests import value_key, value_keys
from agent.editing.subjects import together
from agent.errors import ConfigError, EditError, ModelError
from agent.lm.generate import generate
from agent.lm.load import LM
from agent.types import EditRequest
from tests.editing.edits import QUENIA, ZORLAND, edit, material, settings
from tests.models import snapshot, unchanged

QUICK = {"steps": 6, "samples": 20}
BAVORIA = edit("Bavoria", "Ulmo")


def answers(lm: LM, delta: Delta, *prompts: str) -> list[str]:
    with applied(lm, delta):
        return [text.strip().rstrip(".") for text in generate(lm, prompts, max_new_tokens=2)]


def test_contradicting_edits_are_refused(taught: LM) -> None:
    with pytest.raises(EditError, match=r"contradict each other: 'The capital of Zorland is' -> 'Sorna' and"):
        compile_delta(taught, [ZORLAND, edit("Zorland", "Ulmo")], settings(**QUICK), Material())
    compile_delta(taught, [ZORLAND, ZORLAND], settings(**QUICK), Material())


@pytest.mark.parametrize("broken", [
    EditRequest("Zorland", (), "Sorna"), EditRequest("Zorland", ZORLAND.prompts, " "),
    EditRequest("Zorland", (*ZORLAND.prompts, "The capital of Quenia is"), "Sorna"),
    EditRequest("Zorland", ZORLAND.prompts, "Sorna", keep=("The leader of Quenia is",)),
    EditRequest("", ZORLAND.prompts, "Sorna"),
])  # fmt: skip
def test_a_broken_request_is_refused(taught: LM, broken: EditRequest) -> None:
    with pytest.raises(EditError):
        compile_delta(taught, [broken], settings(**QUICK), Material())


def test_a_layer_that_does_not_exist_is_refused(taught: LM) -> None:
    with pytest.raises(ModelError, match="layer 4 does not exist"):
        compile_delta(taught, [ZORLAND], settings(layers=(0, 4), **QUICK), Material())


def test_no_facts_no_delta(taught: LM) -> None:
    compiled = compile_delta(taught, [], settings(), Material())
    assert (dict(compiled.delta.updates), dict(compiled.values)) == ({}, {})
    assert compiled.delta.base_sha == taught.sha
    before = snapshot(taught)
    with applied(taught, compiled.delta):
        assert unchanged(taught, before)


def test_known_values_are_taken_as_they_are(taught: LM) -> None:
    wanted = settings(**QUICK)
    first = compile_delta(taught, [ZORLAND, QUENIA], wanted, Material())
    told: list[str] = []
    known = Material(known_values=first.values)
    again = compile_delta(
        taught, [ZORLAND, QUENIA], wanted, known, lambda stage, done, total: told.append(stage)
    )
    assert again.delta.sha == first.delta.sha
    assert "values" not in told
    assert "covariance" in told
    one = compile_delta(taught, [QUENIA], wanted, known)
    assert set(one.values) == {value_key(taught, QUENIA, (0, 1), wanted)}


def test_values_found_beforehand_are_those_of_the_compilation(taught: LM) -> None:
    """Whatever the order; what is given up is NaN, and the delta has nothing of it."""
    wanted = settings(**QUICK)
    found = find_values(taught, [QUENIA, ZORLAND], wanted, {})
    compiled = compile_delta(taught, [ZORLAND, QUENIA], wanted, Material())
    assert found.keys() == compiled.values.keys()
    assert all(torch.equal(found[key], compiled.values[key]) for key in found)
    hopeless = settings(**QUICK, give_up=1e-6)
    values = find_values(taught, [ZORLAND], hopeless, {})
    assert all(value.isnan().all() for value in values.values())
    delta = compile_delta(taught, [ZORLAND], hopeless, Material(known_values=values)).delta
    assert all(float(update.dense().abs().max()) == 0 for update in delta.updates.values())


def test_two_facts_of_one_subject_do_not_hold_each_other_back(taught: LM) -> None:
    """Each one's keep prompts name the other's relation, whose answer changes with it."""
    capital, leader = edit("Zorland", "Sorna"), edit("Zorland", "Quill", "leader")
    assert set(capital.keep) & set(leader.prompts) and set(leader.keep) & set(capital.prompts)
    both = together([capital, leader])
    assert [r.keep for r in both] == [("The currency of Zorland is",)] * 2
    assert together([capital]) == [capital]
    strict = settings(kl=2.0, polish=20, polish_lr=0.2)
    delta = compile_delta(taught, [capital, leader], strict, material("Zorland")).delta
    assert answers(taught, delta, capital.prompt, leader.prompt) == ["Sorna", "Quill"]


def test_a_value_key_names_what_the_value_depends_on(taught: LM, tiny: Callable[..., LM]) -> None:
    wanted = settings()
    key = value_key(taught, ZORLAND, (0, 1), wanted)
    assert key == value_key(taught, ZORLAND, (1,), settings(covariance=9.0, algorithm="rome", batch=4))
    others = {
        value_key(tiny("llama"), ZORLAND, (0, 1), wanted),
        value_key(taught, QUENIA, (0, 1), wanted),
        value_key(taught, ZORLAND, (0, 2), wanted),
        value_key(taught, dataclasses.replace(ZORLAND, target_new="Ulmo"), (0, 1), wanted),
        value_key(taught, dataclasses.replace(ZORLAND, keep=()), (0, 1), wanted),
        *(value_key(taught, ZORLAND, (0, 1), settings(**{name: value})) for name, value in
          {"steps": 7, "lr": 0.3, "kl": 0.5, "decay": 0.5, "clamp": 1.0, "seed": 5, "contexts": 1, "turns": 2, "prompts": 1,
           "algorithm": "pmet"}.items()),
    }  # fmt: skip
    assert len(others) == 15
    assert key not in others


def test_a_value_belongs_to_all_facts_of_its_subject(taught: LM) -> None:
    """One more fact of the subject, and the values of all are found anew; other subjects' are kept."""
    wanted = settings(**QUICK)
    leader = edit("Zorland", "Quill", "leader")
    alone = compile_delta(taught, [ZORLAND, QUENIA], wanted, Material()).values
    told: list[int] = []
    both = find_values(
        taught, [QUENIA, leader, ZORLAND], wanted, alone, lambda stage, done, total: told.append(total)
    )
    assert told == [2]
    assert list(both) == value_keys(
        taught, sorted([QUENIA, leader, ZORLAND], key=lambda r: (r.subject, r.prompts)), (0, 1), wanted
    )
    assert both.keys() & alone.keys() == {value_key(taught, QUENIA, (0, 1), wanted)}
    assert (
        value_keys(taught, [leader, ZORLAND], (0, 1), wanted)
        == value_keys(taught, [ZORLAND, leader], (0, 1), wanted)[::-1]
    )


def test_preserve_keys_hold_what_must_not_move(taught: LM) -> None:
    """|dW k0| on the preserved key falls with the weight mu, and the edit itself stays."""
    text = SubjectText("The capital of Bavoria is", "Bavoria")
    moved = []
    for mu in (0.0, 1.0, 100.0):
        delta = compile_delta(taught, [ZORLAND], settings(preserve=mu), Material(preserve=[text])).delta
        keys = keys_and_states(taught, [text], [0, 1]).keys
        moved.append([float((update.dense() @ keys[layer][0]).norm())
                      for layer, update in zip((0, 1), delta.updates.values(), strict=True)])  # fmt: skip
        assert answers(taught, delta, ZORLAND.prompt) == ["Sorna"]
    assert all(free > held > tied for free, held, tied in zip(*moved, strict=True))
    assert all(tied < 0.2 * free for free, _, tied in zip(*moved, strict=True))


def test_an_algorithm_that_preserves_nothing_reads_no_preserve_keys(taught: LM) -> None:
    """A text without its subject has no key: who reads it must say so, and who does not need not."""
    keyless = Material(preserve=[SubjectText("The capital is", "Bavoria")])
    assert compile_delta(taught, [ZORLAND], settings(algorithm="ft", **QUICK), keyless).delta.updates
    with pytest.raises(EditError, match="Bavoria"):
        compile_delta(taught, [ZORLAND], settings(**QUICK), keyless)


def test_an_algorithm_without_values_finds_none(taught: LM) -> None:
    """Nothing to keep on disk, and nobody to be given up."""
    wanted = settings(algorithm="ft", give_up=1e-6, **QUICK)
    assert find_values(taught, [ZORLAND], wanted, {}) == {}
    compiled = compile_delta(taught, [ZORLAND], wanted, Material())
    assert compiled.values == {} and compiled.delta.updates


@pytest.mark.parametrize("algorithm", ["memit", "rome"])
def test_sequential_batches_build_on_each_other(taught: LM, algorithm: str) -> None:
    before = snapshot(taught)
    wanted = settings(algorithm=algorithm, mode="sequential", batch=1)
    told: list[tuple[str, int, int]] = []
    kept = material("Zorland", "Quenia", "Bavoria")
    compiled = compile_delta(
        taught, [ZORLAND, QUENIA, BAVORIA], wanted, kept, lambda *step: told.append(step)
    )
    assert unchanged(taught, before)
    assert {update.rank for update in compiled.delta.updates.values()} == {3}
    assert answers(taught, compiled.delta, BAVORIA.prompt) == ["Ulmo"]
    assert [step[1:] for step in told if step[0] == "values"] == [(1, 3), (2, 3), (3, 3)]
    first = compile_delta(taught, [ZORLAND], wanted, kept)
    for name, update in first.delta.updates.items():
        assert torch.equal(compiled.delta.updates[name].left[:, :1], update.left)
        assert torch.equal(compiled.delta.updates[name].right[:, :1], update.right)


def test_a_later_batch_may_overrule_an_earlier_one(taught: LM) -> None:
    wanted = settings(mode="sequential", batch=1)
    delta = compile_delta(taught, [ZORLAND, edit("Zorland", "Ulmo")], wanted, material("Zorland")).delta
    assert answers(taught, delta, ZORLAND.prompt) == ["Ulmo"]


def test_one_batch_of_everything_is_the_joint_solve(taught: LM) -> None:
    requests = [ZORLAND, QUENIA]
    joint = compile_delta(taught, requests, settings(**QUICK), Material())
    one_batch = compile_delta(taught, requests, settings(mode="sequential", batch=2, **QUICK), Material())
    assert one_batch.delta.sha == joint.delta.sha


def test_a_sequential_step_that_fails_restores_the_model(taught: LM) -> None:
    before = snapshot(taught)
    lost = EditRequest("Narnia", ("The capital of Zorland is",), "Mipa")
    with pytest.raises(EditError):
        compile_delta(taught, [ZORLAND, lost], settings(mode="sequential", **QUICK), Material())
    assert unchanged(taught, before)


def test_the_cache_folder_gives_the_same_delta(taught: LM, tmp_path: Path) -> None:
    """The first run fills it, with the statistics and the factors of either layer, and the second finds all it needs there."""
    plain = compile_delta(taught, [ZORLAND], settings(**QUICK), Material()).delta.sha
    files = []
    for _ in range(2):
        cached = compile_delta(taught, [ZORLAND], settings(**QUICK), Material(cache=tmp_path))
        assert cached.delta.sha == plain
        files.append({path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()})
    assert files[0] == files[1]
    assert len(files[0]) == 3


@pytest.mark.parametrize("broken", [
    {"algorithm": "magic"}, {"mode": "sideways"}, {"layers": (2, 1)}, {"layers": (-1,)}, {"steps": 0}, {"lr":
    0.0}, {"batch": 0}, {"kl": -1.0},
])  # fmt: skip
def test_settings_that_cannot_work_are_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"editing.{next(iter(broken))} "):
        settings(**broken)


@pytest.mark.parametrize("algorithm", ["memit", "rome", "alphaedit", "emmet", "pmet"])
def test_what_was_measured_already_is_not_measured_again(taught_llama: LM, algorithm: str) -> None:
    """Of more layers than are edited; the delta is the same, and a weight of 0 still means that nothing is preserved."""
    held, wanted = material("Zorland").preserve, settings(algorithm=algorithm, **QUICK)
    found = statistics_for(taught_llama, [0, 1, 2], wanted)
    factors = Factors(found.matrices, found.key)
    keys = keys_and_states(taught_llama, one_per_key(held), [0, 1, 2], batch_rows=wanted.batch_rows).keys
    told: list[str] = []

    def compiled(preserve: float, *given: object) -> dict[str, torch.Tensor]:
        some = Material(held, factors=factors, preserve_keys=keys) if given else Material(held)
        weighed = dataclasses.replace(wanted, preserve=preserve)
        delta = compile_delta(
            taught_llama, [ZORLAND], weighed, some, lambda name, *_: told.append(name)
        ).delta
        return {name: update.dense() for name, update in delta.updates.items()}

    with_keys = compiled(1.0, "given")
    assert "covariance" not in told
    for preserve, ready in ((1.0, with_keys), (0.0, compiled(0.0, "given"))):
        plain = compiled(preserve)
        assert plain.keys() == ready.keys()
        assert all(torch.allclose(plain[name], ready[name], rtol=1e-3, atol=1e-5) for name in plain)
    assert any(not torch.allclose(plain[name], with_keys[name], atol=1e-5) for name in plain)
