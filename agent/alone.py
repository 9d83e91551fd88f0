"""Each fact tried by itself, when a compilation went wrong all over.

One edit at the wrong place, or one value that is far too large, spoils every answer of the batch that it is solved with: what the report
then says of the other facts is no evidence against them. By itself each fact is judged by the harm it does: whether the word that comes
next after the prompts of the rest of the batch, and of some canaries, is the one the base would say. Whether it is told is left to the
trials to come, which polish what is written; here nothing is polished. Values are there already, keys and statistics are measured
once, and nothing is generated: all facts by themselves cost less than one compilation with its verification.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent.editing.compile import Material, compile_delta, prepared
from agent.editing.delta import applied
from agent.editing.settings import EditSettings
from agent.examine import probes_of
from agent.lm.load import LM
from agent.lm.score import next_logp
from agent.recipe import known_values, recipe_of, request_of
from agent.types import FactKey, Proposal
from agent.verify.intervals import wilson
from agent.workshop import Workshop

# Enough to see a spill beyond doubt, few enough to be asked once for each fact.
_OTHERS, _CANARIES = 24, 24


@dataclass(frozen=True, slots=True)
class _Ground:
    """What is measured once for all. `said`: the token (its id) that the base says next, by prompt."""

    settings: EditSettings
    material: Material
    canaries: tuple[str, ...]
    said: Mapping[str, int]


def guilty_alone(shop: Workshop, lm: LM, proposals: Sequence[Proposal]) -> dict[FactKey, str]:
    """The facts that do harm even by themselves, and what they do. Facts of one subject are tried together: they share a value."""
    ground = _ground(shop, lm, proposals)
    subjects = sorted({p.fact.subject for p in proposals})
    guilty: dict[FactKey, str] = {}
    for done, subject in enumerate(subjects, 1):
        own = [p for p in proposals if p.fact.subject == subject]
        rest = [p for p in proposals if p.fact.subject != subject]
        if harm := _harm(shop, lm, own, rest, ground):
            guilty |= {p.fact.key: harm for p in own}
        shop.progress("one by one", done, len(subjects))
    return guilty


def _ground(shop: Workshop, lm: LM, proposals: Sequence[Proposal]) -> _Ground:
    recipe = recipe_of(shop, lm, proposals)
    settings = replace(recipe.settings, mode="joint", polish=0)
    known = known_values(lm, recipe, shop.cache)
    material = prepared(
        lm, settings, Material(preserve=recipe.preserve, cache=shop.cache, known_values=known)
    )
    few = replace(shop.settings.verify, same_relation=0, canary=_CANARIES)
    drawn = probes_of(replace(shop, settings=replace(shop.settings, verify=few)), proposals)
    canaries = tuple(probe.prompt for probe in drawn if probe.kind == "canary")
    prompts = [request_of(shop, p).prompt for p in proposals]
    return _Ground(settings, material, canaries, _next(lm, [*prompts, *canaries]))


def _harm(shop: Workshop, lm: LM, own: Sequence[Proposal], rest: Sequence[Proposal], ground: _Ground) -> str:
    """What these facts do to prompts that are not theirs; empty where the share of them that goes on as before may still be enough."""
    requests = [request_of(shop, p) for p in own]
    sample = random.Random(shop.settings.verify.seed).sample(rest, min(len(rest), _OTHERS))
    asked = [request_of(shop, p).prompt for p in sample] + list(ground.canaries)
    asked = [p for p in dict.fromkeys(asked) if not any(p in request.prompts for request in requests)]
    delta = compile_delta(lm, requests, ground.settings, ground.material).delta
    with applied(lm, delta):
        said = _next(lm, asked)
    moved = [prompt for prompt in asked if said[prompt] != ground.said[prompt]]
    if not asked or wilson(len(asked) - len(moved), len(asked))[1] >= shop.settings.verify.others:
        return ""
    return f"tried by itself it changes what follows {len(moved)} of {len(asked)} other prompts, {moved[0]!r} among them"


def _next(lm: LM, prompts: Sequence[str]) -> dict[str, int]:
    prompts = list(dict.fromkeys(prompts))
    return {p: int(logp.argmax()) for p, logp in zip(prompts, next_logp(lm, prompts), strict=True)}
