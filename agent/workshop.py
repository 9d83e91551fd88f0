"""What every stage needs, opened once: settings, database, relations, catalogue, clock, and the model when somebody asks for it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agent.catalogue import Catalogue, load_catalogue
from agent.editing.calibrated import calibrated
from agent.editing.delta import Delta, applied, empty_delta, load_delta
from agent.editing.layers import default_layers
from agent.editing.settings import EditSettings
from agent.errors import ModelError
from agent.lm.arch import Arch
from agent.lm.load import LM, load_lm
from agent.relations import Relation, load_relations
from agent.settings import Settings
from agent.store import revisions
from agent.store.db import Store, open_store

if TYPE_CHECKING:
    from agent.ner.claims import Reader

Clock = Callable[[], datetime]
Progress = Callable[[str, int, int], None]
Tell = Callable[[str], None]


def utc_now() -> datetime:
    return datetime.now(UTC)


def silent(_stage: str, _done: int, _total: int) -> None:
    """No progress shown."""


def mute(_line: str) -> None:
    """Nobody is told."""


@dataclass(slots=True)
class _Loaded:
    """The one mutable thing: the model and the reader, once they are loaded. Shared by copies of the workshop.

    `made_of`: the reader's pipeline, catalogue and relations.
    """

    lm: LM | None = None
    reader: Reader | None = None
    made_of: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Workshop:
    """`revisions_from`: the store whose revision files are served, where `store` is a scratch copy of it. `tell` gets a line for a
    person on what was found and repaired.
    """

    settings: Settings
    store: Store
    relations: Mapping[str, Relation]
    catalogue: Catalogue
    clock: Clock = utc_now
    progress: Progress = silent
    revisions_from: Store | None = None
    tell: Tell = mute
    _loaded: _Loaded = field(default_factory=_Loaded)

    def base(self) -> LM:
        """The base model, loaded at the first call. Raises ModelError."""
        if self._loaded.lm is None:
            self._loaded.lm = load_model(self.settings)
        return self._loaded.lm

    def reader(self) -> Reader:
        """What reads claims out of articles, made at the first call: a second of work, which a daemon must not do in every round. Made
        anew for a copy with another pipeline, catalogue or relations. Raises ModelError.
        """
        made_of = (self.settings.ner, self.catalogue, self.relations)
        kept = self._loaded.reader
        if kept is None or not all(map(operator.is_, self._loaded.made_of, made_of)):
            from agent.ner.claims import make_reader
            from agent.ner.load import load_nlp

            kept = make_reader(load_nlp(self.settings.ner), self.catalogue, self.relations)
            self._loaded.reader, self._loaded.made_of = kept, made_of
        return kept

    @contextmanager
    def served(self) -> Iterator[LM]:
        """The model as the current revision serves it: the base with that revision's delta. Raises ModelError when the
        revision was made of another base.
        """
        store = self.revisions_from or self.store
        lm = self.base()
        with applied(lm, delta_of(store, revisions.current(store).id, lm)):
            yield lm

    @property
    def cache(self) -> Path:
        return (self.revisions_from or self.store).folder / "cache"


def editing_for(settings: Settings, lm: LM, cache: Path | None) -> EditSettings:
    """The settings with which this model is edited: as given, then what `factd calibrate` found for these weights and left in `cache`,
    then the default layers.
    """
    editing = settings.editing
    found = (calibrated(cache, lm, editing.algorithm) if cache else None) or {}
    editing = replace(editing, **{key: value for key, value in found.items() if key not in settings.given})
    return replace(editing, layers=editing.layers or default_layers(lm, editing.algorithm, cache))


def settled(shop: Workshop, lm: LM) -> Workshop:
    """The workshop with `editing_for` as its settings, so that they stay what they are if somebody calibrates the model meanwhile."""
    editing = editing_for(shop.settings, lm, shop.cache)
    given = frozenset(f.name for f in fields(editing))
    return replace(shop, settings=replace(shop.settings, editing=editing, given=given))


def load_model(settings: Settings) -> LM:
    """The model that the settings name."""
    model = settings.model
    arch = (
        {model.arch.family: Arch(model.arch.layers, model.arch.down, model.arch.norm)} if model.arch else None
    )
    return load_lm(model.path, dtype=model.dtype, device=model.device, arch=arch, chat=model.chat)


def delta_of(store: Store, revision_id: int, lm: LM) -> Delta:
    """The delta of a published revision; the empty one for the base (0)."""
    if revision_id == 0:
        return empty_delta(lm.sha)
    delta = load_delta(revisions.folder(store, revision_id) / "delta.safetensors")
    if delta.base_sha != lm.sha:
        raise ModelError(
            f"revision {revision_id} was made of the base {delta.base_sha[:12]}, but model.path now holds {lm.sha[:12]}; "
            "set model.path back, or use another state folder for the other model"
        )
    return delta


def open_workshop(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    progress: Progress = silent,
    create: bool = False,
    tell: Tell = mute,
) -> Workshop:
    """Open the state and read relations and catalogue; the model is left alone until it is needed."""
    relations = load_relations(settings.relations)
    catalogue = load_catalogue(settings.catalogue)
    store = open_store(settings.state, clock(), create_missing=create)
    return Workshop(settings, store, relations, catalogue, clock, progress, tell=tell)
