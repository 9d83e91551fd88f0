"""One trial: some proposals compiled against the base, and what verification says of the result.

The same proposals give the same trial. Asking the base, and optimising a fact's value, is done once for all trials of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from agent.editing.cache import save_values
from agent.editing.compile import Compiled, find_values
from agent.editing.delta import Delta, applied
from agent.editing.norms import relative_norms
from agent.editing.requests import value_keys
from agent.examine import all_texts, gate_of, nearness, neutral_texts, probes_of
from agent.faults import fault
from agent.lm.load import LM
from agent.recipe import compiled, known_values, recipe_of, request_of
from agent.types import FactKey, Probe, Proposal, Report
from agent.verify.gate import judged
from agent.verify.metrics import compare
from agent.verify.neutral import read_neutral
from agent.verify.snapshot import Snapshot, snapshot
from agent.workshop import Workshop

# Enough for every probe of some dozens of facts: the search for culprits ranks facts by their failures.
_FAILURES = 800


@dataclass(slots=True)
class Trials:
    """What is measured once on the base for all trials, and the compilations by set of proposals. `earlier`: the facts that were live
    before this run. `alone`: why, of the facts that do harm even by themselves.
    """

    earlier: frozenset[FactKey] = frozenset()
    texts: list[str] = field(default_factory=list)
    base: Snapshot = field(default_factory=lambda: Snapshot({}))
    done: dict[tuple[int, ...], tuple[Compiled, Report]] = field(default_factory=dict)
    alone: dict[FactKey, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Questions:
    """What verification asks about some proposals' facts, what the base says to it, and which of the facts were live before."""

    probes: Sequence[Probe]
    texts: Sequence[str]
    base: Snapshot
    earlier: frozenset[FactKey]


def try_out(shop: Workshop, lm: LM, proposals: Sequence[Proposal], trials: Trials) -> tuple[Compiled, Report]:
    """Compile, verify, judge. The model is left as it is. Raises EditError, ModelError."""
    found = compile_facts(shop, lm, proposals)
    fault("apply:after-compile")
    return found, checked(shop, lm, found.delta, questions(shop, lm, proposals, trials))


def questions(shop: Workshop, lm: LM, proposals: Sequence[Proposal], trials: Trials) -> Questions:
    """Probes and texts for these facts, and the answers of `lm`, the base. Raises EditError when the texts cannot be read."""
    probes = probes_of(shop, proposals, nearness(shop, lm, proposals))
    _ask_base(shop, lm, probes, trials)
    texts, base = neutral_texts(shop.catalogue, trials.texts, proposals), trials.base
    if base.neutral is not None:
        base = replace(base, neutral=base.neutral.only(texts))
    return Questions(probes, texts, base, trials.earlier)


def checked(shop: Workshop, lm: LM, delta: Delta, asked: Questions) -> Report:
    """The judged report on a delta; `lm` is the base."""
    norms = relative_norms(lm, delta)
    with applied(lm, delta):
        return verdict(shop, lm, asked, norms)


def verdict(
    shop: Workshop, lm: LM, asked: Questions, norms: dict[str, float], stage: str = "verify"
) -> Report:
    """The judged report on a model as it is now; `norms`, as in Report, are those of what was added to it. `stage` names the progress."""
    after = snapshot(lm, asked.probes, asked.texts, progress=partial(shop.progress, stage))
    report = compare(asked.base, after, asked.probes, earlier=asked.earlier, max_failures=_FAILURES)
    return judged(replace(report, norms=norms), gate_of(shop.settings.verify))


def _ask_base(shop: Workshop, lm: LM, probes: Sequence[Probe], trials: Trials) -> None:
    """Ask the base what it was not asked in an earlier trial."""
    if trials.base.neutral is None:
        trials.texts = all_texts(shop, lm)
        trials.base = replace(trials.base, neutral=read_neutral(lm, trials.texts))
    missing = [probe for probe in probes if probe.prompt not in trials.base.answers]
    if missing:
        asked = snapshot(lm, missing, progress=partial(shop.progress, "before"))
        trials.base = replace(
            trials.base,
            answers={**trials.base.answers, **asked.answers},
            forced={**trials.base.forced, **asked.forced},
        )


def given_up(shop: Workshop, lm: LM, proposals: Sequence[Proposal]) -> dict[int, str]:
    """Why, by proposal id, of the facts whose values were given up. All values are kept for the compilations to come."""
    recipe = recipe_of(shop, lm, proposals)
    settings, known = recipe.settings, known_values(lm, recipe, shop.cache)
    values = find_values(lm, recipe.requests, settings, known, shop.progress)
    save_values(shop.cache / "values", values)
    keys = value_keys(lm, [request_of(shop, p) for p in proposals], settings.layers, settings)
    return {
        proposal.id: f"the model cannot be made to say {proposal.fact.object!r}: it hardly knows the name"
        for proposal, key in zip(proposals, keys, strict=True)
        if key in values and values[key].isnan().any()
    }


def compile_facts(shop: Workshop, lm: LM, proposals: Sequence[Proposal]) -> Compiled:
    """The joint delta of these proposals' facts. New value vectors are kept before anything else is done with them."""
    return compiled(lm, recipe_of(shop, lm, proposals), shop.cache, shop.progress)
