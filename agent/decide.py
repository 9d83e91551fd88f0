"""Claims -> facts -> proposals: pure rules, no input or output, the clock passed in.

    claims of one (subject, relation)
      -> may it be changed at all?               relation, subject, object, policy (`eligible`), else a Skip
      -> what does each publisher stand by?      its last word (`voices`)
      -> which objects have enough voices?       others are listed as 'uncorroborated' (`choose`)
      -> the newest of those                     unless contested, ended, too fresh or too old, else a Skip
      = Fact -> what does the model believe? -> Proposal | Skip

`state` and `change` support an object, `end` contradicts it; `future`, `hedged` and `acting` are listed and
change nothing. A claim of one publisher that contradicts a corroborated one neither wins nor blocks. A source
speaks with one voice, its own, unless the settings call it an aggregator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from agent.catalogue import Catalogue
from agent.choose import Key, choose, claim_ids, say
from agent.eligible import Names, fold, index, listed, refuse_object, refuse_subject
from agent.errors import InputError
from agent.policy import Policy
from agent.relations import Relation
from agent.types import Article, Belief, Claim, Copy, Fact, FactKey, Proposal, Skip
from agent.voices import Channel, Evidence


def merge(
    claims: Iterable[Claim],
    articles: Mapping[str, Article],
    policy: Policy,
    now: datetime,
    *,
    clusters: Mapping[str, str],
    relations: Mapping[str, Relation],
    catalogue: Catalogue,
    channels: Mapping[str, Channel] | None = None,
    copies: Mapping[str, Sequence[Copy]] | None = None,
) -> list[Fact | Skip]:
    """What the claims add up to: at most one Fact for each (subject, relation), and a Skip for everything
    else that somebody may ask about.

    `clusters` maps an article's id to its story; one that is missing is a story of its own. `channels` says
    of each source whose voice it is; one that is missing has none. Without `channels` every item counts as
    the publisher it names. `copies` are the further ways by which an article came. The result is sorted and
    does not depend on the order of `claims`. Raises InputError for a claim whose article is not in `articles`.
    """
    names = index(catalogue)
    groups: dict[FactKey, list[Evidence]] = {}
    for claim in {claim.id: claim for claim in claims}.values():
        if claim.score < policy.min_score:
            continue
        key = key_of(claim, relations, names)
        groups.setdefault(key, []).extend(evidence_of(claim, articles, clusters, now, channels, copies))
    outcomes: list[Fact | Skip] = []
    for key, found in sorted(groups.items()):
        items = sorted(found, key=lambda e: (e.at, e.claim.id, e.publisher))
        outcomes += _merge_key(key, items, relations, names, policy, now)
    return outcomes


def key_of(claim: Claim, relations: Mapping[str, Relation], names: Names) -> FactKey:
    """(subject, relation) of a claim, the subject by its catalogue name where only one entity can be meant."""
    relation = relations.get(claim.relation)
    if relation is None:
        return (claim.subject, claim.relation)
    return (names.canonical(claim.subject, relation.subject, relation.kinds), claim.relation)


def propose(
    fact: Fact, belief: Belief, policy: Policy, now: datetime, *, others: Iterable[Fact | Skip] = ()
) -> Proposal | Skip:
    """A draft (id 0, pending) where the model is wrong or ignorant, else a Skip that says why not.

    `others` may be all that `merge` gave: the reviewer is told of single voices that name somebody else.
    Raises InputError for a belief about another fact.
    """
    if belief.fact_key != fact.key:
        raise InputError(
            f"the belief is about {belief.fact_key}, the fact about {fact.key}; ask about the fact"
        )
    if belief.verdict == "current":
        return Skip.of(fact, "already_known", f"the model answers {fact.object} already")
    if belief.verdict == "unknown" and not policy.add_unknown:
        why = "the model has no answer that could be corrected, and policy.add_unknown is off"
        return Skip.of(fact, "unknown_to_model", why)
    told = f"{listed(fact.publishers)} {say(fact.publishers)} so, first on {fact.valid_from:%d %B %Y}"
    reason = f"{told}; {_answers(belief)}{_against(fact, belief, others)}"
    return Proposal(
        id=0, fact=fact, status="pending", reason=reason, target_old=belief.majority, created_at=now
    )


def evidence_of(
    claim: Claim,
    articles: Mapping[str, Article],
    clusters: Mapping[str, str],
    now: datetime,
    channels: Mapping[str, Channel] | None = None,
    copies: Mapping[str, Sequence[Copy]] | None = None,
) -> Iterator[Evidence]:
    """One for each voice that the claim's article came from, with the weight of the heaviest way it came."""
    article = articles.get(claim.article_id)
    if article is None:
        raise InputError(
            f"claim {claim.id!r}: its article {claim.article_id!r} was not given; load it with the claims"
        )
    ways = (Copy(article.source, article.publisher), *(copies or {}).get(article.id, ()))
    told: dict[str, tuple[float, str]] = {}
    for way in ways:
        channel = Channel() if channels is None else channels.get(way.source, Channel(weight=0.0))
        voice = channel.voice or way.publisher
        credited = way.publisher if way.publisher != voice else ""
        told[voice] = max(told.get(voice, (-1.0, "")), (channel.weight, credited))
    for voice, (weight, credited) in sorted(told.items()):
        yield Evidence(
            claim=claim,
            object=fold(claim.object),
            publisher=voice,
            story=clusters.get(article.id, article.id),
            # A clock that runs ahead must not make an article the newest for ever.
            at=min(claim.as_of, now),
            known_at=min(article.published_at, now),
            dated=article.published_at < article.fetched_at,
            weight=weight,
            credited=credited,
        )


def _merge_key(
    pair: FactKey,
    items: list[Evidence],
    relations: Mapping[str, Relation],
    names: Names,
    policy: Policy,
    now: datetime,
) -> list[Fact | Skip]:
    """The outcomes of one (subject, relation); `items` oldest first. What has no voice changes nothing of it."""
    loud = [item for item in items if item.weight > 0]
    found = _weigh(pair, loud, relations, names, policy, now) if loud else []
    return found + _voiceless(pair, [item for item in items if item.weight == 0], loud, relations, names)


def _weigh(
    pair: FactKey,
    items: list[Evidence],
    relations: Mapping[str, Relation],
    names: Names,
    policy: Policy,
    now: datetime,
) -> list[Fact | Skip]:
    subject, relation = pair[0], relations.get(pair[1])
    about = [item for item in items if item.supports] or items
    if relation is None:
        why = f"there is no relation {pair[1]!r} in the relations file; add it there to follow it"
        return [Skip(*pair, about[-1].claim.object, "unknown_relation", why, claim_ids(about))]
    items, shown = _spelt(items, relation, names)
    key = Key(
        subject,
        relation.name,
        names=shown,
        needed=needed_for(relation, policy),
        cool_off_h=cool_off_for(relation, policy),
        policy=policy,
        now=now,
    )
    if refusal := refuse_subject(subject, relation, names, policy):
        about = [item for item in items if item.supports] or items
        return [key.skip(about[-1].object, *refusal, about)]
    outcomes: list[Fact | Skip] = []
    for folded, name in sorted(shown.items()):
        if refusal := refuse_object(subject, name, relation, names, policy):
            outcomes.append(key.skip(folded, *refusal, [item for item in items if item.object == folded]))
            items = [item for item in items if item.object != folded]
    return outcomes + choose(key, items)


def needed_for(relation: Relation, policy: Policy) -> int:
    """How many publishers a fact of this relation needs."""
    return policy.min_publishers or max(1, int(relation.policy.min_publishers))


def cool_off_for(relation: Relation, policy: Policy) -> float:
    """How many hours a fact of this relation must have been corroborated."""
    return relation.policy.cool_off_h if policy.cool_off_h is None else policy.cool_off_h


def _voiceless(
    pair: FactKey,
    silent: list[Evidence],
    loud: Iterable[Evidence],
    relations: Mapping[str, Relation],
    names: Names,
) -> list[Fact | Skip]:
    """A Skip for each object that only sources without a voice name."""
    if not silent:
        return []
    wanted = relations[pair[1]].object if pair[1] in relations else ()
    known = {fold(names.canonical(item.claim.object, wanted)) for item in loud}
    told: dict[str, list[Evidence]] = {}
    for item in silent:
        if item.supports and fold(names.canonical(item.claim.object, wanted)) not in known:
            told.setdefault(names.canonical(item.claim.object, wanted), []).append(item)
    skips: list[Fact | Skip] = []
    for name, evidence in sorted(told.items()):
        who = sorted({item.publisher for item in evidence})
        why = f"only {listed(who)} {say(who)} so, read through a source of weight 0 or one that was removed"
        skips.append(Skip(*pair, name, "no_voice", why, claim_ids(evidence)))
    return skips


def _spelt(
    items: Iterable[Evidence], relation: Relation, names: Names
) -> tuple[list[Evidence], dict[str, str]]:
    """The evidence with one folded object for all spellings and aliases of it, and the name to show for each:
    the catalogue's, else the most frequent spelling.
    """
    spellings: dict[str, Counter[str]] = {}
    spelt: list[Evidence] = []
    for item in items:
        name = names.canonical(item.claim.object, relation.object)
        spelt.append(item.named(fold(name)))
        # A rumour must not decide how a fact is spelt.
        spellings.setdefault(fold(name), Counter())[name] += 1 + 1_000_000 * item.supports
    entities = names.catalogue.entities
    shown = {
        folded: min(counts, key=lambda name: (name not in entities, -counts[name], name))
        for folded, counts in spellings.items()
    }
    return spelt, shown


def _answers(belief: Belief) -> str:
    """What the model says now, for the reviewer."""
    if belief.verdict == "unknown":
        return "the model has no answer: this adds a fact instead of correcting one"
    given = list(dict.fromkeys(answer for answer in belief.answers if answer))[:4]
    if belief.verdict == "divided" and given:
        return f"the model's answers differ from prompt to prompt ({listed(given, 'or')})"
    return f"the model answers {belief.majority or 'something else'}"


def _against(fact: Fact, belief: Belief, others: Iterable[Fact | Skip]) -> str:
    """Whom single voices name instead. That one of them says what the model believes anyway is no news."""
    lone = [
        o.object
        for o in others
        if isinstance(o, Skip) and o.code == "uncorroborated" and (o.subject, o.relation) == fact.key
    ]
    lone = [name for name in lone if fold(name) != fold(belief.majority)]
    return f"; against it, uncorroborated: {listed(lone)}" if lone else ""
