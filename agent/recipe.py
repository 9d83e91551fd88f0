"""What a revision is compiled from, besides the base: settings, edit requests, what to protect. Kept with it, and read back.

    settings.json    the edit settings, what the code and the machine were, the hashes of the value vectors
    material.json    the requests, and the texts about other subjects whose keys are held

From these, and the base, `compiled` gives the same delta, whatever settings, relations and catalogue say by now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from agent.editing.cache import load_values, save_values, value_shas
from agent.editing.compile import Compiled, Material, Progress, Tensor, compile_delta
from agent.editing.keys import SubjectText
from agent.editing.made import made_with
from agent.editing.requests import value_keys
from agent.editing.settings import EditSettings
from agent.errors import EditError, StoreError
from agent.lm.load import LM
from agent.material import edit_request, preserve_texts
from agent.store import queue
from agent.types import EditRequest, Proposal
from agent.workshop import Workshop, editing_for

SETTINGS, MATERIAL = "settings.json", "material.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the compiler takes. Requests stand in an order that only the facts decide."""

    settings: EditSettings
    requests: tuple[EditRequest, ...]
    preserve: tuple[SubjectText, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A recipe read back: `made_with` and the values' hashes are as they were then; empty where nobody kept them."""

    recipe: Recipe
    made_with: Mapping[str, str]
    values: Mapping[str, str]


def recipe_of(shop: Workshop, lm: LM, proposals: Sequence[Proposal]) -> Recipe:
    """As settings, relations and catalogue have it now. Raises EditError for a fact without a request."""
    settings = editing_for(shop.settings, lm, shop.cache)
    # Neither the order of the queue nor that of approval: in sequential mode it would decide what is solved first.
    ordered = sorted(proposals, key=lambda p: (*p.fact.key, p.fact.object))
    requests = tuple(request_of(shop, p) for p in ordered)
    subjects = {request.subject for request in requests}
    preserve = preserve_texts(
        shop.catalogue, shop.relations, subjects, limit=shop.settings.preserve_limit, seed=settings.seed
    )
    return Recipe(settings, requests, preserve)


def request_of(shop: Workshop, proposal: Proposal) -> EditRequest:
    """As a person gave it, else made from the relation's templates. Raises EditError when there is neither."""
    given = queue.request(shop.store, proposal.id)
    if given is not None:
        return given
    if proposal.fact.relation not in shop.relations:
        raise EditError(
            f"proposal {proposal.id}: relation {proposal.fact.relation!r} is not in the relations file"
        )
    return edit_request(proposal.fact, shop.relations, shop.catalogue, target_old=proposal.target_old)


def known_values(lm: LM, recipe: Recipe, cache: Path) -> dict[str, Tensor]:
    """The value vectors of its facts that were found before. Only for who holds the worker's lock."""
    keys = value_keys(lm, recipe.requests, recipe.settings.layers, recipe.settings)
    return load_values(cache / "values", keys)


def compiled(lm: LM, recipe: Recipe, cache: Path, progress: Progress | None = None) -> Compiled:
    """The joint delta. New value vectors are kept before anything else is done with them. Raises EditError."""
    material = Material(preserve=recipe.preserve, cache=cache, known_values=known_values(lm, recipe, cache))
    found = compile_delta(lm, recipe.requests, recipe.settings, material, progress)
    save_values(cache / "values", found.values)
    return found


def records(lm: LM, recipe: Recipe, values: Mapping[str, Tensor]) -> dict[str, str]:
    """The two files, by name."""
    settings = {
        "version": _VERSION,
        "base_sha": lm.sha,
        "settings_sha": recipe.settings.sha,
        "editing": asdict(recipe.settings),
        "made_with": made_with(lm),
        "values": value_shas(values),
    }
    material = {
        "version": _VERSION,
        "requests": [asdict(request) for request in recipe.requests],
        "preserve": [[text.text, text.subject] for text in recipe.preserve],
    }
    return {
        SETTINGS: json.dumps(settings, indent=1, sort_keys=True, default=str),
        MATERIAL: json.dumps(material, ensure_ascii=False, separators=(",", ":")),
    }


def read_back(settings: str, material: str) -> Kept:
    """The inverse of `records`. Raises StoreError for what this version cannot read."""
    try:
        told, held = json.loads(settings), json.loads(material)
        recipe = Recipe(
            _editing(told["editing"]),
            tuple(_request(entry) for entry in held["requests"]),
            tuple(SubjectText(text, subject) for text, subject in held["preserve"]),
        )
        return Kept(recipe, dict(told["made_with"]), dict(told["values"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{SETTINGS}, {MATERIAL}: made by another version of factd ({error!r})") from error


def _editing(told: Mapping[str, Any]) -> EditSettings:
    """Raises ValueError for a setting that this version does not know: what it did cannot be done again."""
    names = {field.name for field in fields(EditSettings)}
    if unknown := sorted(set(told) - names):
        raise ValueError(f"unknown setting {unknown[0]}")
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
    }
    for name in ("corpus", "statistics"):
        known[name] = Path(known[name]) if known.get(name) else None
    return EditSettings(**known)


def _request(told: Mapping[str, Any]) -> EditRequest:
    known: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in told.items()}
    return EditRequest(**known)
