"""What a revision is asked, and by which settings it is judged: probes, neutral texts and the gate, from the workshop's settings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from agent.catalogue import Catalogue
from agent.editing.corpus import own_samples
from agent.editing.keys import SubjectText, keys_and_states
from agent.errors import EditError
from agent.lm.load import LM
from agent.settings import VerifySettings
from agent.store import queue
from agent.types import Fact, FactKey, Probe, Proposal
from agent.verify.ask import tokens_needed
from agent.verify.gate import GateSettings
from agent.verify.probes import ProbeSizes, edit_texts, known_facts, probe_set
from agent.verify.sharing import sharing_probes
from agent.workshop import Workshop, editing_for

# Prompts that share the subject's words with an edit that a person gave, for each such edit.
_SHARING = 24


def probes_of(
    shop: Workshop, proposals: Sequence[Proposal], near: Mapping[str, float] | None = None
) -> tuple[Probe, ...]:
    """Probes of every kind for facts of known relations; an edit that a person gave with its own prompts is asked by those, and
    by what else is asked with the words of its subject. `near`: see `nearness`.
    """
    known = [p.fact for p in proposals if p.fact.relation in shop.relations]
    verify = shop.settings.verify
    probes = probe_set(
        known,
        shop.relations,
        shop.catalogue,
        live=known,
        sizes=ProbeSizes(verify.same_subject_prompts, verify.same_relation, verify.canary),
        near=near,
        seed=verify.seed,
    )
    given = {
        p.fact: request
        for p in proposals
        if p.fact.relation not in shop.relations and (request := queue.request(shop.store, p.id)) is not None
    }
    own = [
        Probe("efficacy", prompt, (request.target_new,), (), fact.key)
        for fact, request in given.items()
        for prompt in request.prompts
    ]
    asked = {probe.prompt for probe in (*probes, *own)}
    shared = {probe.prompt: probe for probe in _shared(shop, known, [fact.key for fact in given], asked)}
    return (*probes, *own, *shared.values())


def _shared(
    shop: Workshop, known: Sequence[Fact], keys: Sequence[FactKey], asked: Collection[str]
) -> Iterator[Probe]:
    """What else is asked in the words of edits that a person gave; not what others of the batch change."""
    changed = {fact.key for fact in known}
    facts = known_facts(shop.relations, shop.catalogue) if keys else {}
    kept = {key: objects for key, objects in facts.items() if key not in changed}
    barred = {*asked, *edit_texts(known, shop.relations, shop.catalogue)}
    for key in keys:
        yield from sharing_probes(
            key,
            kept,
            shop.relations,
            shop.catalogue,
            count=_SHARING,
            seed=shop.settings.verify.seed,
            barred=barred,
        )


def nearness(shop: Workshop, lm: LM, proposals: Sequence[Proposal]) -> dict[str, float]:
    """How near every other subject of the edited relations is to an edited one: the largest cosine of their keys at the middle edited
    layer of the base. What is nearest is what an edit spills over to.
    """
    relations = sorted({p.fact.relation for p in proposals} & set(shop.relations))
    edited = {p.fact.subject for p in proposals if p.fact.relation in shop.relations}
    others = {s for s, r in shop.catalogue.facts if r in relations and s not in edited}
    if not edited or not others or not shop.settings.verify.same_relation:
        return {}
    names = [*sorted(edited), *sorted(others)]
    layers = editing_for(shop.settings, lm, shop.cache).layers
    layer = layers[len(layers) // 2]
    keys = keys_and_states(lm, [SubjectText(name, name) for name in names], [layer]).keys[layer]
    keys = keys / keys.norm(dim=1, keepdim=True).clamp(min=1e-9)
    cosines = (keys[len(edited) :] @ keys[: len(edited)].T).max(dim=1).values.tolist()
    return dict(zip(names[len(edited) :], cosines, strict=True))


def tokens_for(lm: LM, probes: Sequence[Probe], at_least: int = 12) -> int:
    """Tokens to generate so that the longest expected name fits in."""
    return tokens_needed(lm, [form for probe in probes for form in probe.expect], at_least)


def gate_of(verify: VerifySettings) -> GateSettings:
    """The gate's part of the settings."""
    return GateSettings(
        efficacy=verify.efficacy,
        paraphrase=verify.paraphrase,
        same_subject=verify.same_subject,
        others=verify.others,
        ppl_ratio=verify.ppl_ratio,
        every_fact=verify.every_fact,
        drift=verify.drift,
        entropy=verify.entropy,
        norm=verify.norm,
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
