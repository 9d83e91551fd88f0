"""The systems that every closed form solves: S = lambda C + ridge + sum of rows kᵀk, by Cholesky in float64, never by an inverse.

The prior part, lambda C + ridge, belongs to the model: its factor L is made once and kept on disk (`agent.editing.factors`). A few
more rows U (preserve keys, the keys of a batch) come in through Woodbury's identity,

    (L Lᵀ + Uᵀ U)⁻¹ b = L⁻ᵀ [z - Y (I + Yᵀ Y)⁻¹ Yᵀ z],   z = L⁻¹ b,  Y = L⁻¹ Uᵀ,

which costs d² per row instead of d³ / 3 per solve; with about as many rows as d the plain factorisation is cheaper and is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from agent.errors import EditError

Tensor = torch.Tensor
# Where Woodbury's d² n + n² d passes d³ / 3.
_FEW = 0.25


@dataclass(frozen=True, slots=True)
class Prior:
    """A symmetric positive definite matrix. `dense()` and `factor()` (lower Cholesky factor) make or read it anew: (size, size)
    float64, the caller's to overwrite. `factor` raises EditError when the matrix is not positive definite.
    """

    dense: Callable[[], Tensor]
    factor: Callable[[], Tensor]


def prior_of(matrix: Tensor) -> Prior:
    """A prior from a matrix in memory."""

    def copy() -> Tensor:
        return matrix.to(torch.float64, copy=True)

    return Prior(copy, lambda: cholesky(copy()))


@dataclass(frozen=True, slots=True)
class System:
    """`prior` + rowsᵀ rows. `rows` (n, size) float64 or None for none."""

    prior: Prior
    rows: Tensor | None = None

    def plus(self, rows: Tensor | None, weight: Tensor | float = 1.0) -> System:
        """The system with more rows, each with a weight: a number or (n,). Rows of weight zero or None change nothing."""
        if rows is None or not len(rows) or (isinstance(weight, float) and weight == 0):
            return self
        scale = torch.as_tensor(weight, dtype=torch.float64, device=rows.device).sqrt()
        scaled = rows.double() * (scale[:, None] if scale.ndim else scale)
        return replace(self, rows=scaled if self.rows is None else torch.cat([self.rows, scaled]))

    def solver(self) -> Callable[[Tensor], Tensor]:
        """b (size, n) -> S⁻¹ b float64, on the device of `rows`; factorised once. Raises EditError when S is not positive definite."""
        rows = self.rows
        if rows is not None and len(rows) < _FEW * rows.shape[1]:
            return _woodbury(self.prior.factor().to(rows.device), rows)
        if rows is None:
            lower = self.prior.factor()
        else:
            lower = cholesky(self.prior.dense().to(rows.device).addmm_(rows.T, rows))
        return lambda b: torch.cholesky_solve(b.double().to(lower.device), lower)

    def solve(self, b: Tensor) -> Tensor:
        return self.solver()(b)


def _woodbury(lower: Tensor, rows: Tensor) -> Callable[[Tensor], Tensor]:
    y = torch.linalg.solve_triangular(lower, rows.T, upper=False)
    inner = cholesky(torch.eye(len(rows), dtype=torch.float64, device=rows.device).addmm_(y.T, y))

    def solve(b: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(lower, b.double().to(lower.device), upper=False)
        z = z - y @ torch.cholesky_solve(y.T @ z, inner)
        return torch.linalg.solve_triangular(lower.T, z, upper=True)

    return solve


def cholesky(matrix: Tensor) -> Tensor:
    """Lower factor of a symmetric matrix, float64, in its place: of a large model a second one may not fit. Raises EditError when it is
    not positive definite.
    """
    # LAPACK's own order, by columns, is that of the transposed: anything else it would copy first.
    columns = matrix.mT
    info = torch.zeros((), dtype=torch.int32, device=matrix.device)
    torch.linalg.cholesky_ex(columns, out=(columns, info))
    if int(info):
        raise EditError(
            "the key covariance is not positive definite; raise editing.samples (10 tokens a dimension)"
        )
    return columns
