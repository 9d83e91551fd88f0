"""What an edit does where it has no business: perplexity, the wealth of free text, and how far the next word's distribution moves.

perplexity   exp of the mean negative log-likelihood per token of held-out texts
entropy      of the 2- and 3-grams (bits) that the model writes after the texts' beginnings, ROME's fluency: a model that
             repeats itself has little
drift        KL divergence (nats) of the next token's distribution after the same beginnings, base to edited
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from agent.lm.generate import generate
from agent.lm.load import LM
from agent.lm.score import negative_logp, next_logp
from agent.verify.intervals import Interval, ratio_interval

_BEGINNINGS, _WORDS, _NEW_TOKENS = 48, 8, 40
# As in ROME's evaluation: the weight of 2-grams and of 3-grams.
_GRAMS = {2: 2 / 3, 3: 4 / 3}


@dataclass(frozen=True, slots=True)
class Neutral:
    """By text: (sum of negative log-likelihoods in nats, tokens); of the first texts also the entropy (bits) of what follows their
    beginnings, and the log-probabilities (vocabulary,) float32 of the token that comes next there.
    """

    losses: Mapping[str, tuple[float, int]]
    entropies: Mapping[str, float] = field(default_factory=dict)
    next_logps: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def only(self, texts: Collection[str]) -> Neutral:
        """The same, of these texts."""
        return Neutral(
            {text: value for text, value in self.losses.items() if text in texts},
            {text: value for text, value in self.entropies.items() if text in texts},
            {text: value for text, value in self.next_logps.items() if text in texts},
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that is no share: before, after, of how many texts, and the interval of the latter value."""

    before: float
    after: float
    count: int
    interval: Interval


def read_neutral(lm: LM, texts: Sequence[str]) -> Neutral:
    """Measure the model on texts; drift and entropy on the beginnings of the first 48."""
    texts = list(dict.fromkeys(texts))
    losses = dict(zip(texts, negative_logp(lm, texts), strict=True))
    first = texts[:_BEGINNINGS]
    heads = [beginning(text) for text in first]
    said = generate(lm, heads, max_new_tokens=_NEW_TOKENS) if heads else []
    logps = next_logp(lm, heads)
    return Neutral(
        losses,
        {text: gram_entropy(words) for text, words in zip(first, said, strict=True)},
        dict(zip(first, logps, strict=True)),
    )


def beginning(text: str) -> str:
    """The first words of a text."""
    return " ".join(text.split()[:_WORDS])


def gram_entropy(text: str) -> float:
    """ROME's generation entropy of one text in bits: the weighted mean of its 2-gram and 3-gram entropies."""
    words = text.split()
    total = sum(
        weight * _entropy(list(zip(*(words[i:] for i in range(n)), strict=False)))
        for n, weight in _GRAMS.items()
    )
    return total / len(_GRAMS)


def _entropy(items: Sequence[tuple[str, ...]]) -> float:
    counts = Counter(items).values()
    return -math.fsum(n / len(items) * math.log2(n / len(items)) for n in counts)


def compare_neutral(before: Neutral, after: Neutral) -> dict[str, Figure]:
    """perplexity, entropy and drift of the texts that both have read; what there are no texts for is left out."""
    found: dict[str, Figure] = {}
    texts = [text for text in after.losses if text in before.losses]
    if texts:
        (old, new), counts = _losses(before, after, texts)
        low, high = ratio_interval(new, counts)
        found["perplexity"] = Figure(
            _perplexity(old, counts), _perplexity(new, counts), len(texts), (_exp(low), _exp(high))
        )
    texts = [text for text in after.entropies if text in before.entropies]
    if texts:
        olds, news = ([side.entropies[text] for text in texts] for side in (before, after))
        found["entropy"] = _mean(olds, news)
        drifts = [_kl(before.next_logps[text], after.next_logps[text]) for text in texts]
        found["drift"] = _mean([0.0] * len(drifts), drifts)
    return found


def _losses(
    before: Neutral, after: Neutral, texts: Sequence[str]
) -> tuple[tuple[list[float], list[float]], list[float]]:
    old, new = ([side.losses[text][0] for text in texts] for side in (before, after))
    return (old, new), [float(after.losses[text][1]) for text in texts]


def _perplexity(losses: Sequence[float], counts: Sequence[float]) -> float:
    return _exp(math.fsum(losses) / max(1.0, math.fsum(counts)))


def _exp(value: float) -> float:
    """exp, infinite where that is too large for a float: a broken model's perplexity is."""
    return math.exp(value) if value < 700 else math.inf


def _mean(before: Sequence[float], after: Sequence[float]) -> Figure:
    n = len(after)
    return Figure(math.fsum(before) / n, math.fsum(after) / n, n, ratio_interval(after, [1.0] * n))


def _kl(base: torch.Tensor, edited: torch.Tensor) -> float:
    """KL(base || edited) in nats of two (vocabulary,) log-probabilities; never below zero by rounding."""
    return max(
        0.0,
        float(torch.nn.functional.kl_div(edited.double(), base.double(), reduction="sum", log_target=True)),
    )
