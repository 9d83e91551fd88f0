"""A published revision compiled once more: the facts that were in its weights, the requests and settings of then.

It comes out the same byte for byte, and its weights may be put back; or it does not, and nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.editing.cache import value_shas
from agent.editing.compile import Compiled
from agent.editing.made import made_with
from agent.errors import ModelError, StoreError, UsageError
from agent.lm.load import LM
from agent.lm.memory import enough_memory
from agent.recipe import MATERIAL, SETTINGS, Kept, compiled, read_back, recipe_of
from agent.start import mend
from agent.store import artefacts, keeping, published
from agent.store.lock import worker_lock
from agent.types import Revision
from agent.workshop import Workshop


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`differs`: what is not as it was then, so far as that was kept, where the delta did not come out the same."""

    revision: Revision
    delta_sha: str
    restored: bool
    differs: tuple[str, ...] = ()

    @property
    def recorded_sha(self) -> str:
        return self.revision.delta_sha

    @property
    def same(self) -> bool:
        return self.delta_sha == self.recorded_sha


def rebuild(shop: Workshop, revision_id: int, *, who: str, check: bool = False) -> Rebuilt:
    """Compile a revision again and put back weights that were removed or damaged; with `check` only compare.

    Raises UsageError for the base, UnknownId, ModelError when model.path holds another base, StoreError when what it was compiled
    from cannot be known any more, LockHeld.
    """
    if revision_id == published.BASE:
        raise UsageError("revision 0 is the base model itself: there is nothing to compile")
    with worker_lock(shop.store.folder):
        mend(shop)
        revision = published.get(shop.store, revision_id)
        lm = shop.base()
        if lm.sha != revision.base_sha:
            raise ModelError(
                f"revision {revision_id} was made of the base {revision.base_sha[:12]}, but model.path now holds"
                f" {lm.sha[:12]}; set model.path back"
            )
        kept = _kept(shop, lm, revision_id)
        with enough_memory(f"compiling revision {revision_id} again"):
            found = compiled(lm, kept.recipe, shop.cache, shop.progress)
        if found.delta.sha != revision.delta_sha:
            return Rebuilt(revision, found.delta.sha, False, tuple(_differences(lm, kept, found)))
        restored = not check and not _sound(shop, revision_id)
        if restored:
            content = found.delta.to_bytes()
            keeping.restore(shop.store, revision_id, content, who=who, now=shop.clock())
        return Rebuilt(revision, found.delta.sha, restored)


def _kept(shop: Workshop, lm: LM, revision_id: int) -> Kept:
    """What it was compiled from; for a revision of an older version today's settings, if they are the same."""
    settings = published.record(shop.store, revision_id, SETTINGS)
    material = published.record(shop.store, revision_id, MATERIAL)
    if settings is not None and material is not None:
        return read_back(settings, material)
    recipe = recipe_of(shop, lm, published.members(shop.store, revision_id, "weights"))
    if recipe.settings.sha != published.settings_sha(shop.store, revision_id):
        raise StoreError(
            f"revision {revision_id} was published before settings were kept with revisions, and those of today are others;"
            " set `editing` back to what it was then (`factd revisions show` tells when), then try again"
        )
    return Kept(recipe, {}, {})


def _sound(shop: Workshop, revision_id: int) -> bool:
    found = published.keeping(shop.store, revision_id)
    there = artefacts.sha(published.place_of(shop.store, revision_id), artefacts.DELTA)
    return found.removed_at is None and there == found.files[artefacts.DELTA]


def _differences(lm: LM, kept: Kept, found: Compiled) -> Iterator[str]:
    now = made_with(lm)
    told: Mapping[str, str] = kept.made_with
    if not told:
        yield "not known: it was published before this was kept (base and settings are the same)"
        return
    different = [name for name in now if told.get(name) != now[name]]
    for name in different:
        yield f"{name} was {told.get(name, 'unknown')[:24]}, is {now[name][:24]}"
    values = value_shas(found.values)
    moved = [key for key in kept.values if values.get(key) != kept.values[key]]
    if moved:
        yield (
            f"{len(moved)} of {len(kept.values)} value vectors are not those of then: their files were deleted from the cache, and"
            " optimised anew beside other facts they differ in the last bits (editing.chunk)"
        )
    if not different and not moved:
        yield "nothing that was kept: perhaps the texts under editing.corpus or the files of editing.statistics"
