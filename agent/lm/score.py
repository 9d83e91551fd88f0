"""Teacher-forced figures: log-probabilities of given continuations, and perplexity. Never used to judge
efficacy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from agent.lm.load import LM
from agent.lm.tokens import by_length, encode, encode_prompts, encode_targets, pad_left


def target_logp(
    lm: LM, prompts: Sequence[str], targets: Sequence[str], *, batch_size: int = 64
) -> list[float]:
    """Mean log-probability per token (nats) of each target after its prompt."""
    heads = encode_prompts(lm, prompts)
    tails = encode_targets(lm, targets)
    scores = [0.0] * len(heads)
    for indices in by_length([len(h) + len(t) for h, t in zip(heads, tails, strict=True)], batch_size):
        rows = [heads[i] + tails[i] for i in indices]
        logp = _token_logp(lm, rows)
        for row, index in enumerate(indices):
            scores[index] = float(logp[row, -len(tails[index]) :].mean())
    return scores


def target_hits(
    lm: LM, prompts: Sequence[str], targets: Sequence[str], *, batch_size: int = 64
) -> list[float]:
    """Share of each target's tokens that are the likeliest one where the tokens before them are given: the "rewrite accuracy" of
    EasyEdit. It flatters: a wrong first token is forgiven as soon as the next is fed.
    """
    heads = encode_prompts(lm, prompts)
    tails = encode_targets(lm, targets)
    hits = [0.0] * len(heads)
    for indices in by_length([len(h) + len(t) for h, t in zip(heads, tails, strict=True)], batch_size):
        batch = pad_left(lm, [heads[i] + tails[i] for i in indices])
        with torch.inference_mode():
            likeliest = lm.model(**batch.model_inputs).logits[:, :-1].argmax(-1)
        same = (likeliest == batch.input_ids[:, 1:]).float()
        for row, index in enumerate(indices):
            hits[index] = float(same[row, -len(tails[index]) :].mean())
    return hits


def perplexity(lm: LM, texts: Sequence[str], *, batch_size: int = 16) -> float:
    """exp of the mean negative log-likelihood per predicted token over all texts."""
    losses = negative_logp(lm, texts, batch_size=batch_size)
    return math.exp(math.fsum(loss for loss, _ in losses) / max(sum(count for _, count in losses), 1))


def negative_logp(lm: LM, texts: Sequence[str], *, batch_size: int = 16) -> list[tuple[float, int]]:
    """Of each text the sum of negative log-likelihoods (nats) of its predicted tokens, and their number; (0, 0) for a text of one
    token.
    """
    rows = encode(lm, texts)
    found = [(0.0, 0)] * len(rows)
    for indices in by_length([len(row) for row in rows], batch_size):
        logp = _token_logp(lm, [rows[i] for i in indices])
        for row, index in enumerate(indices):
            predicted = len(rows[index]) - 1
            if predicted > 0:
                found[index] = (-float(logp[row, -predicted:].sum()), predicted)
    return found


def next_logp(lm: LM, prompts: Sequence[str], *, batch_size: int = 32) -> list[torch.Tensor]:
    """The log-probabilities (vocabulary,) float32 of the token behind each prompt, on the CPU."""
    rows = encode_prompts(lm, prompts)
    found: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    for indices in by_length([len(row) for row in rows], batch_size):
        batch = pad_left(lm, [rows[i] for i in indices])
        with torch.inference_mode():
            logits = lm.model(**batch.model_inputs, logits_to_keep=1).logits[:, -1].float()
        for index, logp in zip(indices, logits.log_softmax(-1).cpu(), strict=True):
            found[index] = logp
    return found


def _token_logp(lm: LM, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """(rows, length - 1) float32: log p(token t | before t), right-aligned; padding columns hold garbage."""
    batch = pad_left(lm, rows)
    with torch.inference_mode():
        logits = lm.model(**batch.model_inputs).logits[:, :-1].float()
        return logits.log_softmax(-1).gather(-1, batch.input_ids[:, 1:, None]).squeeze(-1)
