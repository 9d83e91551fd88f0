"""One setting of an edited model, measured: known facts swapped, compiled together, asked by free generation, scored."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from agent.editing.calibrated import Setting
from agent.editing.compile import Material, Tensor, compile_delta, find_values, stage
from agent.editing.delta import applied
from agent.editing.factors import Factors
from agent.editing.keys import keys_of
from agent.editing.preserved import own_names
from agent.editing.settings import EditSettings
from agent.errors import EditError, InputError
from agent.lm.load import LM
from agent.swaps import KINDS, Draw
from agent.types import Probe
from agent.verify.gate import GateSettings
from agent.verify.metrics import is_right
from agent.verify.snapshot import snapshot

Progress = Callable[[str, int, int], None]
_GATE = GateSettings()
_LOCAL = ("same_subject", "others")
# Below so much of what the model knew, a setting has destroyed it.
_DESTROYED = 0.5
# What counts against the smallest share: enough to tell two settings apart, too little to pay for a loss.
_TIES = 0.1
# Of an answer, where no name wants more: what follows the name is of no interest here.
_NEW_TOKENS = 8
# Of one kind, for each fact: most of the time goes into asking.
_QUESTIONS = 2
_FEW = 4


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting, measured. `shares` (0 to 1) by kind of question: fewer kinds than there are when it was dropped on the way, and none when
    its systems cannot be solved; `score` is then what it could have reached at most.
    """

    setting: Setting
    shares: Mapping[str, float]
    score: float
    seconds: float
    dropped: bool = False


def score(shares: Mapping[str, float]) -> float:
    """One number for the four shares: 1 and more where each is what the gate asks of it, below 0 where locality is destroyed.

    The smallest share, each in units of what `agent.verify.gate` asks of it, because a revision is published when all four are good and
    no one of them buys another; with an eleventh of the number from the mean, which tells settings apart whose
    smallest is the same. A mean alone, also the harmonic one, pays for forgotten facts with told ones. Where more than half of the
    answers that should stay are gone, one is taken off: any setting that left the model whole is better, whatever it told. Kinds that
    nobody asked do not count.
    """
    units = [share / float(getattr(_GATE, kind)) for kind, share in shares.items()]
    value = (min(units) + _TIES * sum(units) / len(units)) / (1 + _TIES)
    destroyed = any(shares.get(kind, 1.0) < _DESTROYED for kind in _LOCAL)
    return value - 1 if destroyed else value


def answerable(lm: LM, draw: Draw, *, facts: int, preserve_limit: int, seed: int) -> Draw:
    """The draw with names of the model's own where it has no texts to preserve, and without questions about what the model does not know.
    A share of very few questions would decide all by itself: what should stay is then one kind, "others". `facts`: of a draw, at most.
    Raises InputError when there is nothing left that should stay.
    """
    preserve = draw.preserve
    if preserve is None:
        subjects = {request.subject for request in draw.requests}
        preserve = own_names(lm, preserve_limit, seed, subjects)
    local = _asked(lm, [probe for kind in _LOCAL for probe in draw.probes.get(kind, ())])
    probes = {
        kind: tuple(p for p in asked if kind not in _LOCAL or is_right(local, p))[: _QUESTIONS * facts]
        for kind, asked in draw.probes.items()
    }
    if any(len(probes.get(kind, ())) < _FEW for kind in _LOCAL):
        probes["others"] = tuple(p for kind in _LOCAL for p in probes.pop(kind, ()))
    probes = {kind: asked for kind, asked in probes.items() if asked}
    if not set(probes) & set(_LOCAL):
        raise InputError(
            "nothing that the model knows is left to see whether it stays; give more facts that it knows"
        )
    return replace(draw, preserve=preserve, probes=probes)


def _asked(
    lm: LM, probes: Sequence[Probe], progress: Callable[[int, int], None] | None = None
) -> Mapping[str, str]:
    if not probes:
        return {}
    return snapshot(lm, probes, new_tokens=_NEW_TOKENS, progress=progress).answers


@dataclass(slots=True)
class Measured:
    """How settings are measured on one draw. `values`: the value vectors found so far, by what they depend on. `most`: settings, at most."""

    lm: LM
    draw: Draw
    editing: EditSettings
    factors: Factors
    progress: Progress | None
    most: int = 2
    values: dict[str, Tensor] = field(default_factory=dict)
    keys: dict[int, Tensor] = field(default_factory=dict)
    tried: list[Tried] = field(default_factory=list)

    def score(self, setting: Setting, floor: float) -> float:
        return self.measured(setting, floor).score

    def measured(self, setting: Setting, floor: float = -math.inf) -> Tried:
        """Compile, ask, score; the asking ends where the score cannot come above `floor` any more. Raises EditError for the first setting;
        a later one that cannot be compiled is worse than any other.
        """
        began = time.perf_counter()
        try:
            shares = self._shares(setting, floor)
            found = score({kind: shares.get(kind, 1.0) for kind in self.draw.probes})
        except EditError:
            if not self.tried:
                raise
            shares, found = {}, -1.0
        dropped = len(shares) < len(self.draw.probes)
        tried = Tried(setting, shares, found, round(time.perf_counter() - began, 2), dropped)
        self.tried.append(tried)
        if self.progress:
            self.progress("search", len(self.tried), max(self.most, len(self.tried)))
        return tried

    def _shares(self, setting: Setting, floor: float) -> dict[str, float]:
        editing = replace(self.editing, mode="joint", polish=0, **asdict(setting))
        self.values |= find_values(self.lm, self.draw.requests, editing, self.values, self.progress)
        material = Material(
            preserve=self.draw.preserve or (), factors=self.factors, preserve_keys=self._preserve_keys(), known_values=self.values,
        )  # fmt: skip
        delta = compile_delta(self.lm, self.draw.requests, editing, material).delta
        shares: dict[str, float] = {}
        with applied(self.lm, delta):
            for kinds in (KINDS[:2], KINDS[2:]):
                asked = {kind: self.draw.probes[kind] for kind in kinds if kind in self.draw.probes}
                said = _asked(
                    self.lm, [p for probes in asked.values() for p in probes], stage(self.progress, "verify")
                )
                for kind, probes in asked.items():
                    shares[kind] = sum(is_right(said, probe) for probe in probes) / len(probes)
                if score({**dict.fromkeys(self.draw.probes, 1.0), **shares}) <= floor:
                    break
        return shares

    def _preserve_keys(self) -> Mapping[int, Tensor]:
        """Of all layers, on the base: the same for every setting."""
        if self.draw.preserve and not self.keys:
            layers = sorted(self.factors.covariance)
            batch = self.editing.batch_rows
            self.keys.update(keys_of(self.lm, self.draw.preserve, layers, batch_rows=batch))
        return self.keys
