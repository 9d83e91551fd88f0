"""The linear systems of ROME and MEMIT, in float64 by Cholesky, never by an explicit inverse.

MEMIT with preserve keys (2210.07229 eq. 14, extended): dW = R Kᵀ (lambda C + mu K0 K0ᵀ + K Kᵀ)⁻¹. `K0` are
keys of facts that must not move; they enter the left side with no residual of their own.
"""

from __future__ import annotations

import torch

from agent.editing.delta import LowRank
from agent.errors import EditError

Tensor = torch.Tensor
_RIDGE = 0.01


def regulariser(covariance: Tensor, weight: float, preserve_keys: Tensor | None, preserve: float) -> Tensor:
    """lambda C + mu K0 K0ᵀ + ridge, (d_in, d_in) float64. lambda = weight * d_in; the ridge is 1 % of C's
    mean diagonal.

    C from few tokens has no full rank and may have a negative eigenvalue after rounding: the ridge keeps the
    system solvable.
    """
    d_in = covariance.shape[0]
    c = covariance.double()
    mean_diagonal = c.diagonal().mean()
    system = weight * d_in * c
    system = system + torch.eye(d_in, dtype=torch.float64) * (
        max(weight * d_in, 1.0) * _RIDGE * mean_diagonal
    )
    if preserve_keys is not None and len(preserve_keys) and preserve > 0:
        k0 = preserve_keys.double().cpu()
        system = system + preserve * (k0.T @ k0)
    return system


def spread(residuals: Tensor, keys: Tensor, owner: Tensor, system: Tensor) -> LowRank:
    """dW = R Kᵀ (system + K Kᵀ)⁻¹, one rank per fact.

    `residuals` (facts, d_out): what the layer should add for each fact. `keys` (rows, d_in): every prompt and
    context its own row; `owner` (rows,) int64: the fact a row belongs to. A fact's rows share weight one.
    `system` from `regulariser`. Raises EditError when the system is not positive definite.
    """
    k = keys.double().cpu()
    facts = residuals.shape[0]
    weight = 1.0 / torch.bincount(owner, minlength=facts).clamp(min=1).double()[owner]
    weighted = k * weight[:, None]
    means = torch.zeros(facts, k.shape[1], dtype=torch.float64).index_add_(0, owner, weighted)
    factor, info = torch.linalg.cholesky_ex(system + k.T @ weighted)
    if int(info):
        raise EditError(
            "the key covariance is not positive definite; raise editing.samples (10 tokens a dimension)"
        )
    right = torch.cholesky_solve(means.T, factor)
    return LowRank(residuals.double().cpu().T.contiguous().float(), right.contiguous().float())


def rank_one(residual: Tensor, key: Tensor, system: Tensor) -> LowRank:
    """ROME (2202.05262 eq. 2): dW = r (C⁻¹ k)ᵀ / (kᵀ C⁻¹ k), so that dW k = r exactly.

    `key` is the mean key over all prompts and contexts, used everywhere (R-ROME, 2403.07175). Raises
    EditError when kᵀ C⁻¹ k is so small against |k||C⁻¹ k| that the update would explode (a "disabling edit").
    """
    k = key.double().cpu()
    factor, info = torch.linalg.cholesky_ex(system)
    if int(info):
        raise EditError("the key covariance is not positive definite; raise editing.samples")
    u = torch.cholesky_solve(k[:, None], factor)[:, 0]
    projection = float(k @ u)
    if projection < 1e-4 * float(k.norm() * u.norm()):
        raise EditError(
            "the key is nearly orthogonal to its whitened self: this edit would disable the model"
        )
    return LowRank(residual.double().cpu()[:, None].float(), (u / projection)[:, None].float())
