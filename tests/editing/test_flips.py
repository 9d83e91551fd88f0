"""Free value vectors: which layers can turn an answer, judged as free generation would."""

from __future__ import annotations

import pytest
import torch

from agent.editing.flips import flip_shares, flipped, free_settings
from agent.editing.values import optimise_values
from agent.lm.arch import decoder_layers
from agent.lm.hooks import edit_output
from agent.lm.load import LM
from agent.lm.tokens import encode_target, subject_rows
from agent.types import EditRequest
from tests.editing.edits import settings
from tests.editing.test_trace import KNOWN, adding
from tests.models import snapshot, unchanged


def generated(lm: LM, prompt: str, subject: str, push: torch.Tensor, layer: int, tokens: int) -> list[int]:
    """Greedy generation, token by token and without a cache, with the push in place."""
    batch = subject_rows(lm, [prompt], [subject])
    column, ids = int(batch.positions[0]), batch.input_ids[0].tolist()
    change = adding([column], push)
    for _ in range(tokens):
        with torch.no_grad(), edit_output(decoder_layers(lm.model, lm.arch)[layer], change):
            ids.append(int(lm.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[-tokens:]


@pytest.mark.parametrize("layer", [1, 2])
def test_flipped_is_what_free_generation_says(taught: LM, layer: int) -> None:
    """With enough steps, and with too few: both answers occur."""
    facts = KNOWN[:9]
    requests = [EditRequest(f.subject, (f.prompt,), f.other) for f in facts]
    verdicts = []
    for steps in (2, 12):
        pushes = optimise_values(taught, requests, ("",), layer, settings(steps=steps, kl=0.0))
        found = flipped(taught, facts, pushes, layer).tolist()
        for fact, push, said in zip(facts, pushes, found, strict=True):
            wanted = encode_target(taught, fact.other)
            assert said == (generated(taught, fact.prompt, fact.subject, push, layer, len(wanted)) == wanted)
        verdicts += found
    assert {True, False} <= set(verdicts)


def test_the_shares_are_those_of_the_layers(taught: LM) -> None:
    """Facts are written in the first two layers; what is put at the subject in the last one nobody reads any more."""
    before = snapshot(taught)
    seen: list[tuple[int, int]] = []
    shares = flip_shares(taught, KNOWN, settings(chunk=7), lambda *step: seen.append(step))
    assert unchanged(taught, before)
    assert len(shares) == taught.n_layers
    assert shares[-1] == 0.0
    assert max(shares[:2]) >= 0.8
    assert seen == sorted(seen) and seen[-1] == (len(KNOWN) * taught.n_layers,) * 2
    assert flip_shares(taught, KNOWN, settings(chunk=7)) == shares


def test_free_means_that_nothing_else_counts() -> None:
    free = free_settings(settings(kl=2.0, decay=1.0, turns=3, give_up=1.0, steps=40, clamp=0.7, lr=0.3))
    assert (free.kl, free.decay, free.turns, free.give_up) == (0.0, 0.0, 1, 0.0)
    assert (free.clamp, free.lr) == (0.7, 0.3) and free.steps < 40
    assert free_settings(settings(steps=3)).steps == 3
