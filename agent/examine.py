"""What a revision is asked, and by which settings it is judged: probes, neutral texts and the gate, from the workshop's settings."""

from __future__ import annotations

from collections.abc import Sequence

from agent.catalogue import Catalogue
from agent.editing.corpus import own_samples
from agent.errors import EditError
from agent.lm.load import LM
from agent.settings import VerifySettings
from agent.store import queue
from agent.types import Fact, Probe, Proposal
from agent.verify.gate import GateSettings
from agent.verify.probes import ProbeSizes, probe_set
from agent.workshop import Workshop


def probes_of(shop: Workshop, facts: Sequence[Fact], proposals: Sequence[Proposal]) -> tuple[Probe, ...]:
    """Probes of every kind for facts of known relations; an edit that a person gave with its own prompts is asked by those."""
    known = [f for f in facts if f.relation in shop.relations]
    verify = shop.settings.verify
    probes = probe_set(
        known,
        shop.relations,
        shop.catalogue,
        live=known,
        sizes=ProbeSizes(verify.same_subject_prompts, verify.same_relation, verify.canary),
        seed=verify.seed,
    )
    given = [
        (p.fact, queue.request(shop.store, p.id)) for p in proposals if p.fact.relation not in shop.relations
    ]
    own = [
        Probe("efficacy", prompt, (request.target_new,), (), fact.key)
        for fact, request in given
        if request is not None
        for prompt in request.prompts
    ]
    return (*probes, *own)


def gate_of(verify: VerifySettings) -> GateSettings:
    """The gate's part of the settings."""
    return GateSettings(
        efficacy=verify.efficacy,
        paraphrase=verify.paraphrase,
        same_subject=verify.same_subject,
        others=verify.others,
        ppl_ratio=verify.ppl_ratio,
        every_fact=verify.every_fact,
    )


def all_texts(shop: Workshop, lm: LM) -> list[str]:
    """Texts for perplexity: one document a line of `verify.texts`, else what the base itself writes with another seed."""
    path = shop.settings.verify.texts
    if path is None:
        return own_samples(lm, 64, 48, shop.settings.editing.seed + 1)
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise EditError(f"{path}: verify.texts cannot be read ({error.strerror})") from error


def neutral_texts(catalogue: Catalogue, texts: Sequence[str], proposals: Sequence[Proposal]) -> list[str]:
    """The texts that say nothing of what the proposals overwrite (a subject, by any of its names, and its old object): those ought
    to become unlikely.
    """
    overwritten = [(_names_of(catalogue, p.fact.subject), p.target_old) for p in proposals if p.target_old]
    return [
        text
        for text in texts
        if not any(old in text and any(name in text for name in names) for names, old in overwritten)
    ]


def _names_of(catalogue: Catalogue, subject: str) -> tuple[str, ...]:
    entity = catalogue.entity(subject)
    return (entity.name, *entity.aliases, *entity.demonyms)
