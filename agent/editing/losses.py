"""What the optimisations minimise, row by row: the NLL of a target and the divergence of an answer from what it was."""

from __future__ import annotations

from collections.abc import Sequence

import torch

Tensor = torch.Tensor
_NOTHING = -100


def labels_at_end(targets: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """(rows, width) int64: each row's target tokens in its last columns, -100 before them; width is the longest target, at least 1."""
    width = max(1, *map(len, targets))
    return torch.tensor([[_NOTHING] * (width - len(t)) + list(t) for t in targets], device=device)


def labelled(labels: Tensor) -> Tensor:
    """Where a token is wanted: bool, in the shape of `labels`."""
    return labels != _NOTHING


def target_nll(logp: Tensor, labels: Tensor) -> Tensor:
    """(rows,): mean NLL per target token; 0 for a row without a target. `logp` (wanted tokens, vocab) where `labels` (rows, width) want
    one, row by row.
    """
    wanted = labelled(labels)
    token_nll = -logp.gather(-1, labels[wanted][:, None])[:, 0]
    total = token_nll.new_zeros(len(labels)).index_add(0, wanted.nonzero()[:, 0], token_nll)
    return total / wanted.sum(-1).clamp(min=1)


def divergence(before: Tensor, now: Tensor) -> Tensor:
    """(rows,): KL(before | now) in nats, of log-probabilities (rows, vocab)."""
    return (before.exp() * (before - now)).sum(-1)
