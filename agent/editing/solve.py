"""The closed forms of the algorithms, in float64.

MEMIT with preserve keys (2210.07229 eq. 14, extended): dW = R Kᵀ (lambda C + mu K0 K0ᵀ + K Kᵀ)⁻¹. `K0` are
keys of facts that must not move; they enter the left side with no residual of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from agent.editing.delta import LowRank
from agent.editing.system import System, cholesky, prior_of
from agent.errors import EditError

Tensor = torch.Tensor
_RIDGE = 0.01
# Facts of one subject have nearly one key: without it their equations could not be solved.
_EQUALITY_RIDGE = 1e-3
_CROWD = 100


def regularised(covariance: Tensor, weight: float) -> Tensor:
    """lambda C + ridge, (d_in, d_in) float64. lambda = weight * d_in; the ridge is 1 % of C's mean diagonal.

    C from few tokens has no full rank and may have a negative eigenvalue after rounding: the ridge keeps the
    system solvable.
    """
    d_in = covariance.shape[0]
    ridge = max(weight * d_in, 1.0) * _RIDGE * float(covariance.diagonal().double().mean())
    system = covariance.to(torch.float64, copy=True).mul_(weight * d_in)
    system.diagonal().add_(ridge)
    return system


def share_of(facts: int) -> float:
    """What each of so many facts weighs against the system: more than a hundred together no more than a hundred.

    Else the many would write ever larger updates, and of what the system holds nothing would be left.
    """
    return min(1.0, _CROWD / facts)


def spread(residuals: Tensor, keys: Tensor, owner: Tensor, system: System) -> LowRank:
    """dW = w R Kᵀ (system + w K Kᵀ)⁻¹, one rank per fact.

    `residuals` (facts, d_out): what the layer should add for each fact. `keys` (rows, d_in): every prompt and
    context its own row; `owner` (rows,) int64: the fact a row belongs to. A fact's rows share the weight w = `share_of(facts)`.
    Raises EditError when the system is not positive definite.
    """
    k = keys.double()
    owner = owner.to(k.device)
    facts = residuals.shape[0]
    weight = share_of(facts) / torch.bincount(owner, minlength=facts).clamp(min=1).double()[owner]
    means = k.new_zeros(facts, k.shape[1]).index_add_(0, owner, k * weight[:, None])
    return _low_rank(residuals, system.plus(k, weight).solve(means.T))


def spread_within(
    residuals: Tensor, keys: Tensor, owner: Tensor, *, basis: Tensor, ridge: float, preserve_keys: Tensor | None,
    preserve: float,
) -> LowRank:  # fmt: skip
    """`spread` inside the space that `basis` (d_in, m; orthonormal) spans: dW vanishes on everything orthogonal to it.

    AlphaEdit (2410.02355 eq. 8) with P = basis basisᵀ, L2 = `ridge` times the mean squared key inside, and preserve keys in the
    place of past ones.
    """
    basis = basis.to(keys.device)
    inside = keys.double() @ basis
    size = inside.square().sum(-1).mean().clamp(min=torch.finfo(torch.float64).tiny)
    eye = torch.eye(basis.shape[1], dtype=torch.float64, device=keys.device)
    system = System(prior_of(eye * (max(ridge, _RIDGE) * size)))
    if preserve_keys is not None:
        system = system.plus(preserve_keys.double() @ basis, preserve)
    update = spread(residuals, inside, owner, system)
    return _low_rank(residuals, basis @ update.right.to(basis))


def null_space(covariance: Tensor, share: float) -> Tensor:
    """(d_in, m) float64: the eigenvectors of C, least first, that together hold at most `share` of its trace.

    Raises EditError when that is none: then the layer stores something in every direction.
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    values = values.clamp(min=0)  # rounding
    count = int((values.cumsum(0) <= share * values.sum()).sum())
    if count == 0:
        raise EditError(
            f"the keys leave no null space of {share:g} of their covariance; raise editing.null_share"
        )
    return vectors[:, :count]


def equality(residuals: Tensor, keys: Tensor, system: System) -> LowRank:
    """EMMET (2403.14236 eq. 11): dW = R (Kᵀ S⁻¹ K + ridge)⁻¹ Kᵀ S⁻¹, so that dW kᵢ = rᵢ up to the ridge, with least disturbance of S.

    `residuals` (facts, d_out), `keys` (facts, d_in): one key a fact. The ridge is a thousandth of the mean diagonal. Raises
    EditError when S is not positive definite.
    """
    k = keys.double()
    whitened = system.solve(k.T)
    gram = k.to(whitened.device) @ whitened
    gram.diagonal().add_(_EQUALITY_RIDGE * gram.diagonal().mean())
    right = torch.cholesky_solve(whitened.T, cholesky(gram)).T
    return _low_rank(residuals, right)


def rank_one(residual: Tensor, key: Tensor, inverse: Callable[[Tensor], Tensor]) -> LowRank:
    """ROME (2202.05262 eq. 2): dW = r (C⁻¹ k)ᵀ / (kᵀ C⁻¹ k), so that dW k = r exactly. `inverse`: b (d_in, n) -> C⁻¹ b.

    `key` is the mean key over all prompts and contexts, used everywhere (R-ROME, 2403.07175). Raises
    EditError when kᵀ C⁻¹ k is so small against |k||C⁻¹ k| that the update would explode (a "disabling edit").
    """
    u = inverse(key.double()[:, None])[:, 0]
    k = key.to(u)
    projection = float(k @ u)
    if projection < 1e-4 * float(k.norm() * u.norm()):
        raise EditError(
            "the key is nearly orthogonal to its whitened self: this edit would disable the model"
        )
    return _low_rank(residual[None], (u / projection)[:, None])


def _low_rank(residuals: Tensor, right: Tensor) -> LowRank:
    """Left factor: the residuals (facts, d_out) as they are; right factor (d_in, facts)."""
    return LowRank(residuals.T.contiguous().float().cpu(), right.contiguous().float().cpu())
