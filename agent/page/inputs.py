"""What a page is made of. Whoever has the store and the settings fills it in (`agent.reportfiles`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agent.types import Fact, Place, Report, Revision


@dataclass(frozen=True, slots=True)
class Threshold:
    """What the gate wants of a metric. `relative`: `value` is a factor on the metric's value before."""

    value: float
    at_most: bool = False
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A fact of the revision. `said` is what the model answered when the fact was proposed, `note` why it is where it is."""

    fact: Fact
    place: Place
    proposal: int
    said: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A fact that was approved and is in no revision, with the reason."""

    subject: str
    relation: str
    object: str
    proposal: int
    reason: str


@dataclass(frozen=True, slots=True)
class Past:
    """One published revision for the history. `after`: its metrics, finite ones only."""

    id: int
    created_at: datetime
    status: str
    weights: int
    overlay: int
    after: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything the page shows.

    `fresh`: the model was asked again just now; else `report` is that of the publication, or None where none was kept.
    `status`: served, published or rolled back. `moved` maps a metric to (at publication, now). `settings` maps a section to its
    keys and values, `thresholds` a metric to what the gate wants of it; both are those of today.
    """

    revision: Revision
    report: Report | None
    fresh: bool
    made_at: datetime
    status: str
    members: tuple[Member, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    history: tuple[Past, ...] = ()
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    moved: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    version: str = ""
