"""Teacher-forced figures: log-probabilities of given continuations, and perplexity. Never used to judge
efficacy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from agent.lm.load import LM
from agent.lm.tokens import by_length, encode, encode_prompts, encode_target, pad_left


def target_logp(
    lm: LM, prompts: Sequence[str], targets: Sequence[str], *, batch_size: int = 64
) -> list[float]:
    """Mean log-probability per token (nats) of each target after its prompt."""
    heads = encode_prompts(lm, prompts)
    tails = [encode_target(lm, target) for target in targets]
    scores = [0.0] * len(heads)
    for indices in by_length([len(h) + len(t) for h, t in zip(heads, tails, strict=True)], batch_size):
        rows = [heads[i] + tails[i] for i in indices]
        logp = _token_logp(lm, rows)
        for row, index in enumerate(indices):
            scores[index] = float(logp[row, -len(tails[index]) :].mean())
    return scores


def perplexity(lm: LM, texts: Sequence[str], *, batch_size: int = 16) -> float:
    """exp of the mean negative log-likelihood per predicted token over all texts."""
    rows = [row for row in encode(lm, texts) if len(row) > 1]
    total, count = 0.0, 0
    for indices in by_length([len(row) for row in rows], batch_size):
        logp = _token_logp(lm, [rows[i] for i in indices])
        for row, index in enumerate(indices):
            predicted = len(rows[index]) - 1
            total -= float(logp[row, -predicted:].sum())
            count += predicted
    return math.exp(total / max(count, 1))


def _token_logp(lm: LM, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """(rows, length - 1) float32: log p(token t | before t), right-aligned; padding columns hold garbage."""
    batch = pad_left(lm, rows)
    with torch.inference_mode():
        logits = lm.model(**batch.model_inputs).logits[:, :-1].float()
        return logits.log_softmax(-1).gather(-1, batch.input_ids[:, 1:, None]).squeeze(-1)
