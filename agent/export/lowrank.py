"""Low-rank updates made smaller, and how far they are from what they were. All of it in float64, without the dense matrix."""

from __future__ import annotations

import math

import torch

from agent.editing.delta import LowRank


def truncated(update: LowRank, rank: int) -> LowRank:
    """The nearest update of at most `rank` (Eckart and Young 1936), by the SVD of its factors; both new factors carry the square root
    of each singular value, so that neither is large where the other is small. float32; the update itself where it is small enough.
    """
    if update.rank <= rank:
        return update
    q_left, r_left = torch.linalg.qr(update.left.double())
    q_right, r_right = torch.linalg.qr(update.right.double())
    u, s, vt = torch.linalg.svd(r_left @ r_right.T, full_matrices=False)
    root = s[:rank].sqrt()
    return LowRank((q_left @ u[:, :rank] * root).float(), (q_right @ vt[:rank].T * root).float())


def padded(update: LowRank, rank: int) -> LowRank:
    """The same update with columns of zeros up to `rank`."""
    more = rank - update.rank
    return LowRank(
        torch.nn.functional.pad(update.left, (0, more)).contiguous(),
        torch.nn.functional.pad(update.right, (0, more)).contiguous(),
    )


def relative_error(update: LowRank, other: LowRank) -> float:
    """||update - other|| / ||update|| in the Frobenius norm; 0 for two that are both zero."""
    whole = _norm(update.left, update.right)
    difference = _norm(torch.cat([update.left, -other.left], 1), torch.cat([update.right, other.right], 1))
    if whole == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / whole


def _norm(left: torch.Tensor, right: torch.Tensor) -> float:
    """||left @ right.T||, from the triangles of the two: orthogonal factors do not change it."""
    triangles = [torch.linalg.qr(factor.double()).R for factor in (left, right)]
    return float(torch.linalg.matrix_norm(triangles[0] @ triangles[1].T))
