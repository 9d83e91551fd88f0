"""How sure a figure is: 95 % intervals of shares and of means. Pure.

The prompts of one fact fail together, so n prompts say less than n independent ones would. Their number is divided by the design effect
(Kish 1965), 1 + (m - 1) rho, with m prompts a fact and rho the intraclass correlation, before Wilson's interval is taken.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

Interval = tuple[float, float]
_RESAMPLES = 1000


def wilson(right: float, n: float, z: float = 1.96) -> Interval:
    """The interval in which the true share lies: 95 % for z = 1.96, and sound for few samples (Wilson 1927).
    (0, 1) for n = 0.
    """
    if n == 0:
        return (0.0, 1.0)
    share, z2 = right / n, z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return (0.0 if right == 0 else max(0.0, middle - half), 1.0 if right == n else min(1.0, middle + half))


def share_interval(oks: Sequence[tuple[Hashable, bool]]) -> Interval:
    """Of the share of right ones among (cluster, right) pairs: prompts by the fact they ask for."""
    clusters: defaultdict[Hashable, list[bool]] = defaultdict(list)
    for cluster, ok in oks:
        clusters[cluster].append(ok)
    n = effective_n(list(clusters.values()))
    share = sum(ok for _, ok in oks) / len(oks) if oks else 0.0
    # Not share * n: rounding must not make 1 of all less than 1.
    return wilson(n if share == 1 else share * n, n)


def effective_n(clusters: Sequence[Sequence[bool]]) -> float:
    """How many independent answers the clusters are worth: between their number and that of all answers.

    Where all answers are alike the correlation cannot be estimated; then each cluster counts as one answer.
    """
    sizes = [len(cluster) for cluster in clusters]
    total = sum(sizes)
    if total == 0 or total == len(clusters):
        return float(total)
    size = sum(m * m for m in sizes) / total
    return max(float(len(clusters)), total / (1 + (size - 1) * _correlation(clusters)))


def _correlation(clusters: Sequence[Sequence[bool]]) -> float:
    """The intraclass correlation by analysis of variance, between 0 and 1; 1 where nothing varies."""
    k, total = len(clusters), sum(map(len, clusters))
    share = sum(map(sum, clusters)) / total
    if share in (0.0, 1.0) or k < 2:
        return 1.0
    means = [sum(cluster) / len(cluster) for cluster in clusters]
    between = sum(len(c) * (mean - share) ** 2 for c, mean in zip(clusters, means, strict=True)) / (k - 1)
    inside = sum(len(c) * mean * (1 - mean) for c, mean in zip(clusters, means, strict=True)) / (total - k)
    typical = (total - sum(len(c) ** 2 for c in clusters) / total) / (k - 1)
    whole = between + (typical - 1) * inside
    return min(1.0, max(0.0, (between - inside) / whole)) if whole > 0 else 1.0


def ratio_interval(over: Sequence[float], under: Sequence[float]) -> Interval:
    """Of sum(over) / sum(under), by resampling the pairs with a fixed seed (Efron 1979); of a mean with ones `under`.

    (NaN, NaN) for no pairs.
    """
    if not len(over):
        return (math.nan, math.nan)
    pairs = np.asarray([over, under], dtype=np.float64)
    drawn = np.random.default_rng(0).integers(pairs.shape[1], size=(_RESAMPLES, pairs.shape[1]))
    sums = pairs[:, drawn].sum(axis=2)
    low, high = np.quantile(sums[0] / sums[1], [0.025, 0.975])
    return (float(low), float(high))
