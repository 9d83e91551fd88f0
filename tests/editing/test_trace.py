"""Causal tracing: the batched restorations are the ones done one by one, and the measure is what it says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch

from agent.editing.trace import (
    GROUPS,
    SUBJECT_LAST,
    Scene,
    TracedFact,
    TraceSettings,
    embedding_spread,
    stage_scene,
    subject_noise,
    token_groups,
    trace,
)  # fmt: skip
from agent.errors import EditError
from agent.lm.arch import decoder_layers, down_module
from agent.lm.hooks import capture, edit_output
from agent.lm.load import LM
from agent.lm.tokens import encode, encode_target, subject_rows
from tests.models import COUNTRIES, FACTS, snapshot, unchanged

Tensor = torch.Tensor
FORMS = (
    "The {} of {} is",
    "The currency of Zorland is dorin. The {} of {} is",
    "The {} of Zorland and {} is",
)
SETTINGS = TraceSettings(samples=2, window=0.5)
KNOWN = [
    TracedFact(FORMS[0].format(relation, subject), subject, FACTS[relation][i], FACTS[relation][i - 1])
    for i, subject in enumerate(COUNTRIES)
    for relation in FACTS
]
# Prompts of several lengths; a plain name is one token, a new one several.
MIXED = [
    replace(fact, prompt=FORMS[i % 3].format("leader", name), subject=name)
    for i, fact in enumerate(KNOWN[:4])
    for name in [f"New {fact.subject}" if i % 2 else fact.subject]
]


def probability(lm: LM, fact: TracedFact) -> float:
    ids = torch.tensor(encode(lm, [fact.prompt]))
    logits = lm.model(input_ids=ids, use_cache=False).logits[0, -1]
    return float(logits.softmax(-1)[encode_target(lm, fact.answer)[0]])


def columns_of(lm: LM, fact: TracedFact) -> list[list[int]]:
    """The columns of each group in the prompt alone."""
    groups = token_groups(lm, [fact], subject_rows(lm, [fact.prompt], [fact.subject]))[0]
    return [group.nonzero()[:, 0].tolist() for group in groups]


def one_by_one(
    lm: LM, fact: TracedFact, deviation: float, settings: TraceSettings, spans: list[range], what: str
) -> Tensor:
    """(samples, spans, groups): the probability with what these layers' modules put out restored, one forward pass for each."""
    modules = (
        decoder_layers(lm.model, lm.arch)
        if what == "states"
        else [down_module(lm.model, lm.arch, i) for i in range(lm.n_layers)]
    )
    groups = columns_of(lm, fact)
    embed = lm.model.get_input_embeddings()
    columns = groups[0] + groups[1]
    found = torch.zeros(settings.samples, len(spans), len(groups))
    with torch.no_grad():
        with ExitStack() as stack:
            seen = [stack.enter_context(capture(module, "output")) for module in modules]
            probability(lm, fact)
        noise = subject_noise(
            fact,
            settings.samples,
            len(columns),
            lm.model.get_input_embeddings().weight.shape[1],
            settings.seed,
        )
        for sample in range(settings.samples):
            for index, span in enumerate(spans):
                for group, tokens in enumerate(groups):
                    with ExitStack() as stack:
                        stack.enter_context(edit_output(embed, adding(columns, deviation * noise[sample])))
                        for layer in span:
                            put = putting(tokens, seen[layer][0])
                            stack.enter_context(edit_output(modules[layer], put))
                        found[sample, index, group] = probability(lm, fact)
    return found


def adding(columns: list[int], noise: Tensor) -> Callable[[Tensor], Tensor]:
    def change(hidden: Tensor) -> Tensor:
        hidden = hidden.clone()
        hidden[0, columns] += noise
        return hidden

    return change


def putting(columns: list[int], clean: Tensor) -> Callable[[Tensor], Tensor]:
    def change(hidden: Tensor) -> Tensor:
        hidden = hidden.clone()
        rows = hidden if hidden.dim() == 2 else hidden[0]
        rows[columns] = (clean if clean.dim() == 2 else clean[0])[columns]
        return hidden

    return change


def gathered(scene: Scene, restored: Tensor, fact: int) -> dict[tuple[int, int], float]:
    """The probability by (sample, group) of one of a scene's prompts."""
    mine = (scene.prompt == fact).nonzero()[:, 0].tolist()
    return {(int(scene.sample[i]), int(scene.group[i])): float(restored[i]) for i in mine}


@pytest.mark.parametrize("family", ["llama", "gpt2", "gptj", "opt", "gpt_neo", "bloom", "gemma2"])
@pytest.mark.parametrize("what", ["states", "mlp"])
def test_the_batch_is_the_restorations_one_by_one(tiny: Callable[..., LM], family: str, what: str) -> None:
    """Of prompts of several lengths, padded; with layers that return tuples, MLPs that flatten, sliding windows."""
    lm = tiny(family)
    before = snapshot(lm)
    deviation = 3 * embedding_spread(lm, MIXED)
    scene = stage_scene(lm, MIXED, deviation, SETTINGS)
    spans = [
        range(i, i + 1) if what == "states" else SETTINGS.span(i, lm.n_layers) for i in range(lm.n_layers)
    ]
    batched = [
        scene.with_states(lm, layer) if what == "states" else scene.with_mlps(lm, spans[layer])
        for layer in range(lm.n_layers)
    ]
    assert unchanged(lm, before)
    moved = 0.0
    for number, fact in enumerate(MIXED):
        single = one_by_one(lm, fact, deviation, SETTINGS, spans, what)
        for layer in range(lm.n_layers):
            for (sample, group), value in gathered(scene, batched[layer], number).items():
                assert value == pytest.approx(float(single[sample, layer, group]), abs=1e-5)
                moved = max(moved, abs(value - float(scene.after[number, sample])))
    assert moved > 1e-4


def test_the_tables_are_the_shares_of_what_was_lost(taught: LM) -> None:
    """Both tables against sums over single passes, whatever the batches are."""
    facts = [
        *KNOWN[:3],
        *(
            replace(f, prompt=f.prompt.replace(f.subject, f"New {f.subject}"), subject=f"New {f.subject}")
            for f in KNOWN[3:6]
        ),
    ]
    deviation = 3 * embedding_spread(taught, facts)
    found = trace(taught, facts, replace(SETTINGS, batch_rows=17))
    for what, table in (("states", found.states), ("mlp", found.mlp)):
        spans = [
            range(i, i + 1) if what == "states" else SETTINGS.span(i, taught.n_layers)
            for i in range(taught.n_layers)
        ]
        back, lost = torch.zeros(taught.n_layers, len(GROUPS)), torch.zeros(len(GROUPS))
        for fact in facts:
            there = torch.tensor([bool(columns) for columns in columns_of(taught, fact)])
            with torch.no_grad():
                clean = probability(taught, fact)
            corrupted = one_by_one(taught, fact, deviation, SETTINGS, [range(0)], what)[:, 0, 0]
            restored = one_by_one(taught, fact, deviation, SETTINGS, spans, what)
            back += (restored - corrupted[:, None, None]).sum(0) * there
            lost += (clean - corrupted).sum() * there
        for layer, row in enumerate(table):
            for group, share in enumerate(row):
                if GROUPS[group] == "behind the subject":
                    assert share is None and lost[group] == 0
                else:
                    assert share == pytest.approx(float(back[layer, group] / lost[group]), abs=1e-4)


def test_the_clean_embedding_of_the_whole_subject_brings_everything_back(taught: LM) -> None:
    scene = stage_scene(taught, MIXED, 3 * embedding_spread(taught, MIXED), SETTINGS)
    batch = subject_rows(taught, [f.prompt for f in MIXED], [f.subject for f in MIXED])
    subject = token_groups(taught, MIXED, batch)[:, : SUBJECT_LAST + 1].any(1)
    all_of_it = replace(scene, tokens=subject[scene.prompt])
    assert all_of_it.with_states(taught, -1).tolist() == pytest.approx(
        scene.before[scene.prompt].tolist(), abs=1e-5
    )
    none_of_it = replace(scene, tokens=torch.zeros_like(scene.tokens))
    corrupted = scene.after[scene.prompt, scene.sample].tolist()
    for layer in range(-1, taught.n_layers):
        assert none_of_it.with_states(taught, layer).tolist() == pytest.approx(corrupted, abs=1e-5)
    assert none_of_it.with_mlps(taught, range(2)).tolist() == pytest.approx(corrupted, abs=1e-5)


def test_a_taught_model_recalls_at_the_subjects_last_token(taught: LM) -> None:
    """Its first two layers attend to nothing, so what it knows of a name's last token is read there; the last layer has the answer."""
    before = snapshot(taught)
    found = trace(taught, KNOWN, TraceSettings())
    assert unchanged(taught, before)
    assert found.clean > 0.8 and 0.3 < found.lost <= found.clean
    last = len(GROUPS) - 1
    assert found.states[-1][last] == pytest.approx(1.0, abs=1e-4)
    assert found.states[-1][SUBJECT_LAST] == pytest.approx(0.0, abs=1e-4)
    assert found.states[0][last] == pytest.approx(0.0, abs=1e-4)
    assert (found.states[0][SUBJECT_LAST] or 0) > 0.3 > (found.states[3][SUBJECT_LAST] or 0)


def test_the_seed_decides_and_the_company_does_not(taught_llama: LM) -> None:
    one = trace(taught_llama, KNOWN[:6], SETTINGS)
    assert trace(taught_llama, KNOWN[:6], SETTINGS) == one
    other = trace(taught_llama, KNOWN[:6], replace(SETTINGS, seed=1))
    assert abs(other.lost - one.lost) > 1e-4
    small = trace(taught_llama, KNOWN[:6][::-1], replace(SETTINGS, batch_rows=1))
    assert small.lost == pytest.approx(one.lost, abs=1e-5)
    for row, same in zip(small.states, one.states, strict=True):
        assert row == pytest.approx(same, abs=1e-4)


def test_groups_are_every_column_from_the_subject_on_once(tiny: Callable[..., LM]) -> None:
    for lm in (tiny("llama"), tiny("llama", bos=True)):
        facts = [*MIXED, TracedFact("A B of Zorland's Zorlands is", "Zorland", "x", "y")]
        batch = subject_rows(lm, [f.prompt for f in facts], [f.subject for f in facts])
        groups = token_groups(lm, facts, batch)
        assert int(groups.sum(1).max()) == 1
        assert groups[:, SUBJECT_LAST].nonzero()[:, 1].tolist() == batch.positions.tolist()
        for row in groups.any(1):
            columns = row.nonzero()[:, 0].tolist()
            assert columns == list(range(columns[0], len(row)))


def test_a_group_that_no_prompt_has_is_unknown_not_zero(taught_llama: LM) -> None:
    """A subject of one token has no first tokens, and nothing stands between it and the last token of all."""
    found = trace(taught_llama, KNOWN[:4], SETTINGS)
    for row in (*found.states, *found.mlp):
        assert [share is None for share in row] == [True, False, True, False]


def test_without_noise_there_is_nothing_to_trace(taught_llama: LM) -> None:
    with pytest.raises(EditError, match="nothing to trace"):
        trace(taught_llama, KNOWN, replace(SETTINGS, noise=0.0))
    with pytest.raises(EditError, match="does not occur"):
        trace(taught_llama, [replace(KNOWN[0], subject="Atlantis")], SETTINGS)


def test_the_window_is_the_papers_share_of_the_depth() -> None:
    assert TraceSettings().width(48) == 10
    assert TraceSettings().span(20, 48) == range(15, 25)
    assert TraceSettings().span(0, 48) == range(5)
    assert TraceSettings().span(47, 48) == range(42, 48)
    assert TraceSettings().span(3, 6) == range(3, 4)


def test_progress_ends_with_all_facts(taught_llama: LM) -> None:
    seen: list[tuple[int, int]] = []
    trace(taught_llama, KNOWN[:5], replace(SETTINGS, batch_rows=16), lambda *step: seen.append(step))
    assert seen == sorted(seen) and seen[-1] == (5, 5)
