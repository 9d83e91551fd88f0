"""`factd calibrate` as a function: layers, clamp, covariance and preserve of a model, chosen by editing facts that it knows.

Known facts get another object of the same kind and are compiled together; then the edited model is asked by free generation. A search
along the coordinates (`agent.descent`) looks for the setting with the best `score`: value vectors depend on the last layer and the clamp
only, so they are optimised once for each such pair, and for every covariance and preserve only the linear systems are solved anew.
The search is without polishing: that costs as much as the values, again for each setting, and makes up for just the differences that are
to be seen here. Whatever comes out is held against the settings in force on a second draw of facts, for the best of many tries is
in part the luckiest one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent.descent import descend
from agent.editing.algorithms.registry import ALGORITHMS
from agent.editing.calibrated import Setting
from agent.editing.compile import stage
from agent.editing.covariance import statistics_for
from agent.editing.factors import Factors
from agent.editing.layers import default_layers
from agent.editing.located import located
from agent.editing.settings import EditSettings
from agent.errors import InputError
from agent.lm.arch import editable_layers
from agent.lm.load import LM
from agent.locate import enough_known
from agent.swapped import Measured, Tried, answerable
from agent.swaps import Swaps

Progress = Callable[[str, int, int], None]
Layers = tuple[int, ...]
# A candidate that is further off than this is not looked at again.
_MARGIN = 0.1


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may be chosen, besides what is in force; weights ascending. `layers`: None for those of `near`."""

    layers: tuple[Layers, ...] | None = None
    clamp: tuple[float, ...] = (0.5, 0.9, 1.5, 3.0)
    covariance: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    preserve: tuple[float, ...] = (0.0, 0.05, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class CalibrateSettings:
    """`facts`: known facts of a draw, at most. `seed`: which ones. `editing`: what is in force, and all keys that are not calibrated.
    `preserve_limit`: keys of other subjects that a compilation protects.
    """

    facts: int = 24
    seed: int = 0
    editing: EditSettings = field(default_factory=EditSettings)
    preserve_limit: int = 1500
    candidates: Candidates = Candidates()


@dataclass(frozen=True, slots=True)
class Calibration:
    """One run. `start`: in force before; `best`: what the search found; `tried` on the first draw, in order. `start_again`, `best_again`:
    both on the second draw. `facts`: swapped in the draws, of `asked` candidates; `counts`: questions of each kind in the first draw.
    """

    base_sha: str
    algorithm: str
    seed: int
    facts: tuple[int, int]
    asked: int
    counts: Mapping[str, int]
    start: Setting
    best: Setting
    tried: tuple[Tried, ...]
    start_again: Tried
    best_again: Tried

    @property
    def kept(self) -> bool:
        """Whether `best` is to be used in the place of `start`."""
        return self.best != self.start and self.best_again.score >= self.start_again.score

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`, and for `save_calibrated`; version 1."""
        return {"version": 1, "kept": self.kept, **asdict(self)}


def near(layers: Layers, allowed: Collection[int]) -> list[Layers]:
    """Spans like `layers`, one layer longer, shorter or shifted, of allowed layers only."""
    first, last = layers[0], layers[-1]
    ends = [(first - 1, last), (first + 1, last), (first, last + 1), (first, last - 1), (first - 1, last - 1), (first + 1, last + 1)]  # fmt: skip
    spans = [tuple(range(a, b + 1)) for a, b in ends]
    return [span for span in dict.fromkeys(spans) if span and set(span) <= set(allowed)]


def calibrate(
    lm: LM, swaps: Swaps, settings: CalibrateSettings, *, cache: Path | None = None, work: Path | None = None,
    progress: Progress | None = None,
) -> Calibration:  # fmt: skip
    """Measure the model; it is as before afterwards, and nothing is written but to `work`, a folder that may go when this is done: key
    statistics and their factors, which are large. `cache` is read for what was located. Deterministic in the seed.

    `progress(stage, done, total)` tells of the stages known, covariance, values, verify and search (settings tried, of at most so many).
    Raises InputError when the model knows too few of the facts, or for an algorithm that has none of these settings; EditError when the
    settings in force cannot be compiled.
    """
    if ALGORITHMS[settings.editing.algorithm].values is None:
        raise InputError(
            f"editing.algorithm {settings.editing.algorithm} has no values, covariance and preserve to calibrate"
        )
    known, asked = enough_known(
        lm, swaps.candidates, 2 * settings.facts, "settings", stage(progress, "known")
    )
    start, layers = _start(lm, settings, cache)
    grid = _grid(start, layers, settings.candidates)
    factors = _factors(lm, grid["layers"], settings.editing, work, progress)
    halves = known[::2], known[1::2]
    size = {"facts": settings.facts, "preserve_limit": settings.preserve_limit, "seed": settings.seed}
    draws = [swaps.draw(some, rest) for some, rest in (halves, halves[::-1])]
    ways = [Measured(lm, answerable(lm, draw, **size), settings.editing, factors, progress) for draw in draws]
    ways[0].most = _most(grid)
    outer, inner = (
        {name: grid[name] for name in names} for names in (("layers", "clamp"), ("covariance", "preserve"))
    )
    best = descend(start, outer, inner, ways[0].score, margin=_MARGIN)
    again = [ways[1].measured(setting) for setting in dict.fromkeys((start, best))]
    return Calibration(
        base_sha=lm.sha, algorithm=settings.editing.algorithm, seed=settings.seed, facts=(len(halves[0]), len(halves[1])), asked=asked,
        counts={kind: len(probes) for kind, probes in ways[0].draw.probes.items()}, start=start, best=best, tried=tuple(ways[0].tried),
        start_again=again[0], best_again=again[-1],
    )  # fmt: skip


def _start(lm: LM, settings: CalibrateSettings, cache: Path | None) -> tuple[Setting, list[Layers]]:
    """What is in force, and the layers to try besides."""
    editing = settings.editing
    in_force = editing.layers or default_layers(lm, editing.algorithm, cache)
    hints = [in_force, (located(cache, lm) if cache else None) or in_force]
    if not ALGORITHMS[editing.algorithm].spread:
        hints = [hint[-1:] for hint in hints]
    start = Setting(hints[0], editing.clamp, editing.covariance, editing.preserve)
    if settings.candidates.layers is not None:
        return start, list(settings.candidates.layers)
    # Behind the last layer nobody reads the subject's state any more; files of statistics are of certain layers.
    allowed = set(editable_layers(lm.model, lm.arch)) - {lm.n_layers - 1}
    if editing.statistics is not None:
        allowed, hints = allowed & set(in_force), hints[:1]
    spans = [span for hint in hints for span in (hint, *near(hint, allowed))]
    if not ALGORITHMS[editing.algorithm].spread:
        spans = [span for span in spans if len(span) == 1]
    return start, spans


def _grid(start: Setting, layers: Sequence[Layers], candidates: Candidates) -> dict[str, Sequence[Any]]:
    """By coordinate what is tried, with what is in force among it."""
    weights = {
        name: sorted({*getattr(candidates, name), getattr(start, name)})
        for name in ("clamp", "covariance", "preserve")
    }
    return {"layers": list(dict.fromkeys((start.layers, *layers))), **weights}


def _most(grid: Mapping[str, Sequence[Any]]) -> int:
    """How many settings one round of the search can look at."""
    pairs = len(grid["layers"]) + len(grid["clamp"]) - 1
    return pairs * (2 * (len(grid["covariance"]) + len(grid["preserve"])) - 3)


def _factors(
    lm: LM, spans: Sequence[Layers], editing: EditSettings, work: Path | None, progress: Progress | None
) -> Factors:
    """Of all layers that may be edited, from one pass. (A compilation measures its own layers alone, and may be steady a little earlier.)"""
    layers = sorted({layer for span in spans for layer in span})
    tell = stage(progress, "covariance")
    found = statistics_for(lm, layers, editing, folder=work, progress=tell)
    return Factors(found.matrices, found.key, work)
