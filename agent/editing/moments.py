"""Sums of k kᵀ, and what is asked of them: the mean, keys in its inverse norm, its effective rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from agent.editing.system import cholesky

Tensor = torch.Tensor
# Strips of the upper triangle. Of n strips (n+1)/2n of the square is computed: eight leave 56 %, and more
# would be too narrow for a fast product.
_STRIPS = 8
# The ridge under which a direction does not count, relative to C's mean diagonal: the one of `agent.editing.solve`.
_RIDGE = 0.01
_EXACT, _PROBES = 2048, 64


class Moments:
    """The sum of k kᵀ of one layer's keys: the strips of its upper triangle, float64.

    A product is float32 over the tokens of one batch, of at most some thousand, and only its sum is float64:
    the rounding is that of the batch, a few 1e-7 of |k_i| |k_j|, at a quarter of a float64 product's time.
    """

    def __init__(self, strips: Sequence[Tensor]) -> None:
        self.strips = list(strips)

    @classmethod
    def zeros(cls, d_in: int, device: torch.device) -> Moments:
        """Nothing summed yet. The sums stand on the CPU where `device` has no room, or no float64."""
        width = -(-d_in // _STRIPS)
        shapes = [(min(width, d_in - i), d_in - i) for i in range(0, d_in, width)]
        try:
            return cls([torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes])
        except (RuntimeError, TypeError):
            return cls([torch.zeros(shape, dtype=torch.float64) for shape in shapes])

    @property
    def d_in(self) -> int:
        return int(self.strips[0].shape[1])

    def add(self, keys: Tensor) -> None:
        """`keys` (tokens, d_in), any float dtype: those of half precision are exact in float32."""
        k = keys.float()
        for start, strip in self._placed():
            product = k[:, start : start + strip.shape[0]].T @ k[:, start:]
            strip.add_(product.to(strip.device))

    def mean(self, tokens: int, dtype: torch.dtype) -> Tensor:
        """C = sum / tokens, (d_in, d_in) where the sums stand; symmetric to the last bit."""
        matrix = torch.empty(self.d_in, self.d_in, dtype=dtype, device=self.strips[0].device)
        for start, strip in self._placed():
            end = start + strip.shape[0]
            part = (strip / tokens).to(dtype)
            upper = part[:, : end - start].triu()
            matrix[start:end, start:end] = upper + upper.triu(1).T
            matrix[start:end, end:] = part[:, end - start :]
            matrix[end:, start:end] = part[:, end - start :].T
        return matrix

    def _placed(self) -> Iterator[tuple[int, Tensor]]:
        start = 0
        for strip in self.strips:
            yield start, strip
            start += strip.shape[0]


def leverage(matrix: Tensor, keys: Tensor) -> Tensor:
    """kᵀ (C + ridge)⁻¹ k for each of `keys` (m, d_in), as (m,) float64 on the CPU; `matrix` (d_in, d_in)
    float64 is overwritten.

    It is what ROME's and MEMIT's updates are measured in. Its mean over unseen keys is the effective rank.
    """
    factor = cholesky(_ridged_(matrix))
    whitened = torch.linalg.solve_triangular(factor, keys.to(matrix).T, upper=False)
    return whitened.square().sum(0).cpu()


def effective_rank(matrix: Tensor) -> float:
    """tr C (C + ridge)⁻¹, between 0 and d_in: how many directions weigh more than the ridge, 1 % of the mean.

    One Cholesky factorisation in float64; `matrix` (d_in, d_in) stays as it is. Above `_EXACT` dimensions the
    trace is Hutchinson's estimate with seeded signs, right to some tenths of a percent of d_in.
    """
    ridged = matrix.double().clone()
    d_in, ridge = len(ridged), _ridge(ridged)
    factor = torch.linalg.cholesky(_ridged_(ridged))
    probes = torch.eye(d_in)
    if d_in > _EXACT:
        generator = torch.Generator().manual_seed(0)
        probes = torch.randint(2, (d_in, _PROBES), generator=generator) * 2.0 - 1.0
        probes /= math.sqrt(_PROBES)
    inverse = torch.linalg.solve_triangular(factor, probes.to(ridged), upper=False)
    return d_in - ridge * float(inverse.square().sum())


def _ridged_(matrix: Tensor) -> Tensor:
    matrix.diagonal().add_(_ridge(matrix))
    return matrix


def _ridge(matrix: Tensor) -> float:
    return max(_RIDGE * float(matrix.diagonal().mean()), torch.finfo(matrix.dtype).tiny)
