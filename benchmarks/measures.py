"""Precision, recall and F1 of counted hits and misses; shared by the benchmarks."""

from __future__ import annotations


def measures(tp: int, fp: int, fn: int) -> dict[str, float]:
    """tp, fp, fn with precision, recall and F1; a ratio without any case is 0."""
    precision, recall = tp / (tp + fp) if tp + fp else 0.0, tp / (tp + fn) if tp + fn else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(f1, 4),
    }
