from __future__ import annotations

import math

import pytest
import torch

from agent.lm.score import negative_logp, next_logp, perplexity, target_hits, target_logp
from agent.verify.metrics import compare
from agent.verify.neutral import Neutral, compare_neutral, gram_entropy, read_neutral
from agent.verify.probes import probe_set
from agent.verify.snapshot import snapshot
from tests.verify.conftest import TEXTS, Pair, World


def test_the_same_model_does_not_drift_from_itself(pair: Pair) -> None:
    read = read_neutral(pair.before, TEXTS)
    figures = compare_neutral(read, read)
    assert figures["drift"].after == 0
    assert figures["perplexity"].after == figures["perplexity"].before
    assert figures["perplexity"].after == pytest.approx(perplexity(pair.before, TEXTS))
    low, high = figures["perplexity"].interval
    assert low <= figures["perplexity"].after <= high


def test_drift_is_the_divergence_of_the_next_word(pair: Pair) -> None:
    """Against the definition, text by text, over the whole vocabulary."""
    before, after = read_neutral(pair.before, TEXTS), read_neutral(pair.after, TEXTS)
    wanted = [
        float((b.exp() * (b - a)).sum())
        for b, a in zip(before.next_logps.values(), after.next_logps.values(), strict=True)
    ]
    figure = compare_neutral(before, after)["drift"]
    assert figure.after == pytest.approx(sum(wanted) / len(wanted), rel=1e-4)
    assert figure.after > 0
    assert figure.count == len(before.next_logps)


def test_only_texts_that_both_have_read_count(pair: Pair) -> None:
    read = read_neutral(pair.before, TEXTS)
    part = read.only(TEXTS[:1])
    assert compare_neutral(read, part)["perplexity"].count == 1
    assert compare_neutral(read, Neutral({})) == {}


def test_who_repeats_himself_has_little_entropy() -> None:
    varied = "the quick brown fox jumps over a lazy dog and runs far away from here"
    assert gram_entropy("no no no no no no no no") == 0 == gram_entropy("") == gram_entropy("one")
    assert gram_entropy(varied) > gram_entropy(varied[:40] * 3) > 0
    words = [f"w{i}" for i in range(11)]
    assert gram_entropy(" ".join(words)) == pytest.approx((2 / 3 * math.log2(10) + 4 / 3 * math.log2(9)) / 2)


def test_losses_by_text_add_up_to_perplexity(pair: Pair) -> None:
    losses = negative_logp(pair.before, TEXTS)
    total, count = sum(loss for loss, _ in losses), sum(n for _, n in losses)
    assert perplexity(pair.before, TEXTS) == pytest.approx(math.exp(total / count))
    (logp,) = next_logp(pair.before, TEXTS[:1])
    assert float(logp.exp().sum()) == pytest.approx(1, abs=1e-4)
    assert logp.dtype == torch.float32


def test_teacher_forcing_stands_beside_free_generation(pair: Pair, world: World) -> None:
    probes = probe_set([pair.new], world.relations, world.catalogue)
    before, after = snapshot(pair.before, probes), snapshot(pair.after, probes)
    report = compare(before, after, probes)
    assert report.after["teacher_forced_efficacy"] == 1 == report.after["efficacy"]
    assert report.before["teacher_forced_efficacy"] >= report.before["efficacy"] == 0
    assert "teacher_forced_efficacy" in report.intervals


def test_hits_are_the_tokens_that_would_have_been_said(pair: Pair) -> None:
    prompt, target = "The capital of Brink is", "Saint Salt"
    (hit,) = target_hits(pair.before, [prompt], [target])
    (logp,) = target_logp(pair.before, [prompt], [target])
    assert hit == 1
    assert logp > -0.5
    assert target_hits(pair.before, [prompt, prompt], ["Mu Mu Mu", target], batch_size=1)[1] == 1
