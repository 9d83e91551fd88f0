"""Claims -> facts -> proposals: pure rules, no input or output, the clock passed in.

    claims of one (subject, relation)
      -> may it be changed at all?               relation, subject, policy              else one Skip
      -> what does each publisher stand by?      its last word (`voices.standing`)
      -> which objects have enough voices?       others are listed as 'uncorroborated'
      -> the newest of those, unless contested, ended, too fresh or too old             else one Skip
      = Fact -> what does the model believe? -> Proposal | Skip

`state` and `change` support an object, `end` contradicts it, `future`, `hedged` and `acting` are listed and change nothing.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.catalogue import Catalogue
from agent.errors import InputError
from agent.policy import AutoRule, Policy
from agent.relations import Relation
from agent.types import Article, Belief, Claim, Fact, Proposal, Skip
from agent.voices import Evidence, corroborated_at, first_corroborated_at, standing, voices

_LISTED = {
    "future": "is announced or elected but not yet in place",
    "hedged": "is only said to be possible, or is denied",
    "acting": "is only acting or interim",
}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One object of one key. `standing` is the support that its publishers still stand by, `support` all there ever was."""

    object: str
    standing: tuple[Evidence, ...]
    support: tuple[Evidence, ...]
    corroborated_at: datetime | None

    @property
    def newest_at(self) -> datetime:
        return max(item.at for item in self.support)


@dataclass(frozen=True, slots=True)
class _Key:
    """What the rules need to know about one (subject, relation)."""

    subject: str
    relation: str
    needed: int
    cool_off_h: float
    policy: Policy
    now: datetime

    def skip(self, object_: str, code: str, reason: str, evidence: Iterable[Evidence] = ()) -> Skip:
        return Skip(self.subject, self.relation, object_, code, reason, _ids(evidence))


def merge(
    claims: Iterable[Claim],
    articles: Mapping[str, Article],
    policy: Policy,
    now: datetime,
    *,
    clusters: Mapping[str, str],
    relations: Mapping[str, Relation],
    catalogue: Catalogue,
) -> list[Fact | Skip]:
    """What the claims add up to: at most one Fact for each (subject, relation), and a Skip for everything else worth knowing.

    `clusters` maps an article's id to its story; one that is missing is a story of its own. The result is sorted and does not
    depend on the order of `claims`. Raises InputError for a claim whose article is not in `articles`.
    """
    groups: dict[tuple[str, str], dict[str, Evidence]] = {}
    for claim in claims:
        if claim.score >= policy.min_score:
            subject = claim.subject if claim.subject in catalogue.entities else catalogue.names.get(claim.subject, claim.subject)
            evidence = _evidence(claim, articles, clusters, catalogue, now)
            groups.setdefault((subject, claim.relation), {})[claim.id] = evidence
    outcomes: list[Fact | Skip] = []
    for (subject, relation), found in sorted(groups.items()):
        items = sorted(found.values(), key=lambda e: (e.at, e.claim.id))
        outcomes += _merge_key(subject, relation, items, relations, catalogue, policy, now)
    return outcomes


def propose(fact: Fact, belief: Belief, policy: Policy, now: datetime, *, others: Iterable[Fact | Skip] = ()) -> Proposal | Skip:
    """A draft (id 0, pending) where the model is wrong or ignorant, else a Skip that says why not.

    `others` may be all that `merge` gave: lone voices that name another object for the same key are told to the reviewer.
    """
    if belief.fact_key != fact.key:
        raise InputError(f"the belief is about {belief.fact_key}, the fact about {fact.key}; ask about the fact")
    told = f"{_listed(fact.publishers)} {_say(fact.publishers)} so, the earliest of {fact.valid_from:%d %B %Y}"
    if belief.verdict == "current":
        return _skip(fact, "already_known", f"the model answers {fact.object} already")
    if belief.verdict == "unknown":
        if not policy.add_unknown:
            return _skip(fact, "unknown_to_model", "the model has no answer to correct, and policy.add_unknown is off")
        answers = "the model knows no answer: this adds a fact instead of correcting one"
    elif belief.verdict == "divided":
        given = list(dict.fromkeys(answer for answer in belief.answers if answer))
        answers = f"the model answers differently from prompt to prompt ({_listed(given[:4], 'or')})"
    else:
        answers = f"the model answers {belief.majority or 'something else'}"
    reason = f"{told}; {answers}{_against(fact, belief, others)}"
    return Proposal(id=0, fact=fact, status="pending", reason=reason, target_old=belief.majority, created_at=now)


def limit(drafts: Iterable[Proposal], policy: Policy) -> tuple[list[Proposal], list[Skip]]:
    """At most `policy.max_per_run` drafts, those with most publishers and then the newest first, and a Skip for each left out."""
    ranked = sorted(drafts, key=lambda p: (-len(p.fact.publishers), -p.fact.valid_from.timestamp(), p.fact.key))
    kept, rest = ranked[: policy.max_per_run], ranked[policy.max_per_run :]
    why = f"this run has its {policy.max_per_run} proposals (policy.max_per_run); a later run takes it up"
    return kept, [_skip(draft.fact, "over_limit", why) for draft in rest]


def auto_approve(proposal: Proposal, policy: Policy, now: datetime) -> AutoRule | None:
    """The first written rule that lets a pending proposal pass without a person; None, the default, if there is none."""
    fact, waited = proposal.fact, timedelta(0)
    if proposal.status != "pending" or {fact.subject, fact.object} & set(policy.protected):
        return None
    if proposal.not_before_at is not None and now < proposal.not_before_at:
        return None
    if proposal.created_at is not None:
        waited = now - proposal.created_at
    for rule in policy.auto_approve:
        counted = [p for p in fact.publishers if not rule.publishers or p in rule.publishers]
        old_enough = waited >= timedelta(hours=rule.min_age_h)
        if (not rule.relations or fact.relation in rule.relations) and len(counted) >= rule.min_publishers and old_enough:
            return rule
    return None


def fold(name: str) -> str:
    """A name for comparing: no accents, case or punctuation."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in bare).split()) or name


def _evidence(
    claim: Claim, articles: Mapping[str, Article], clusters: Mapping[str, str], catalogue: Catalogue, now: datetime
) -> Evidence:
    article = articles.get(claim.article_id)
    if article is None:
        raise InputError(f"claim {claim.id!r}: its article {claim.article_id!r} was not given; load it with the claims")
    name = claim.object if claim.object in catalogue.entities else catalogue.names.get(claim.object, claim.object)
    return Evidence(
        claim=claim,
        object=fold(name),
        publisher=article.publisher,
        story=clusters.get(article.id, article.id),
        # A clock that runs ahead must not make an article the newest for ever.
        at=min(claim.as_of, now),
        known_at=min(article.published_at, now),
        dated=article.published_at < article.fetched_at,
    )


def _merge_key(
    subject: str,
    relation: str,
    items: list[Evidence],
    relations: Mapping[str, Relation],
    catalogue: Catalogue,
    policy: Policy,
    now: datetime,
) -> list[Fact | Skip]:
    known = relations.get(relation)
    rule = known.policy if known else None
    key = _Key(
        subject,
        relation,
        needed=policy.min_publishers or max(1, int(rule.min_publishers) if rule else 1),
        cool_off_h=(rule.cool_off_h if rule else 0.0) if policy.cool_off_h is None else policy.cool_off_h,
        policy=policy,
        now=now,
    )
    names = _names(items, catalogue)
    if known is None:
        return [key.skip(names[items[-1].object], "unknown_relation", f"no relation {relation!r} in the relations file", items)]
    if refusal := _refusal(key, known, catalogue):
        return [key.skip(names[items[-1].object], *refusal, items)]
    outcomes: list[Fact | Skip] = []
    for folded in sorted(names):
        if refusal := _object_refusal(key, names[folded], known, catalogue):
            about = [item for item in items if item.object == folded]
            outcomes.append(key.skip(names[folded], *refusal, about))
            items = [item for item in items if item.object != folded]
    return [*outcomes, *_choose(key, items, names)]


def _refusal(key: _Key, relation: Relation, catalogue: Catalogue) -> tuple[str, str] | None:
    """Why facts of this subject and relation are never proposed: (code, reason)."""
    if relation.cardinality == "many":
        return "many", f"{key.relation} can have several answers at once and is never replaced automatically"
    if not relation.policy.editable:
        return "not_editable", f"the relations file says that {key.relation} is not editable"
    if key.subject in key.policy.protected:
        return "protected", f"{key.subject} is protected by policy.protected"
    entity = catalogue.entities.get(key.subject)
    if entity is None:
        bearers = _bearers(key.subject, catalogue)
        if len(bearers) > 1:
            return "homonym", f"{key.subject!r} can be {_listed(bearers, 'or')}; nobody can tell which is meant"
        if not key.policy.allow_unknown_subjects:
            return "unknown_subject", f"{key.subject} is not in the catalogue; add it there to follow it"
    elif entity.label not in relation.subject or (relation.kinds and entity.kind not in relation.kinds):
        wanted = _listed(relation.kinds or relation.subject, "or")
        return "wrong_subject", f"{key.subject} is a {entity.kind}; {key.relation} is about a {wanted}"
    return None


def _object_refusal(key: _Key, name: str, relation: Relation, catalogue: Catalogue) -> tuple[str, str] | None:
    """Why this object cannot be the answer: (code, reason). A name that nobody has catalogued passes."""
    if name in key.policy.protected:
        return "protected", f"{name} is protected by policy.protected"
    if fold(name) == fold(key.subject) and "PERSON" in relation.object:
        return "wrong_object", f"{name} is the subject itself"
    entity = catalogue.entities.get(name)
    if entity is not None and entity.label not in relation.object:
        return "wrong_object", f"{name} is a {entity.kind}; {key.relation} wants a {_listed(relation.object, 'or')}"
    if entity is None and len(bearers := _bearers(name, catalogue)) > 1:
        return "homonym", f"{name!r} can be {_listed(bearers, 'or')}; nobody can tell which is meant"
    return None


def _bearers(form: str, catalogue: Catalogue) -> list[str]:
    return sorted(e.name for e in catalogue.entities.values() if form == e.name or form in e.aliases)


def _choose(key: _Key, items: Sequence[Evidence], names: Mapping[str, str]) -> list[Fact | Skip]:
    """The Fact or Skip for the newest corroborated object, and the Skips of all others."""
    kept = standing(items)
    candidates = []
    for folded in sorted({item.object for item in items if item.supports}):
        support = tuple(item for item in items if item.object == folded and item.supports)
        mine = tuple(item for item in kept if item.object == folded)
        candidates.append(_Candidate(folded, mine, support, corroborated_at(mine, key.needed)))
    # What was corroborated once and has been taken back since still outdates all that is older.
    once = {c.object: corroborated_at(c.support, key.needed) for c in candidates}
    ranked = sorted((c for c in candidates if c.corroborated_at), key=lambda c: (_at(c.corroborated_at), c.object))
    best = ranked[-1] if ranked else None
    outcomes: list[Fact | Skip] = []
    if best is not None:
        rivals = [c for c in ranked[:-1] if _contests(c, best, key)]
        later = [o for o, at in once.items() if at is not None and at > _at(best.corroborated_at) and o != best.object]
        outcomes.append(_judge(key, best, items, [names[c.object] for c in rivals], [names[o] for o in later], names))
    for candidate in candidates:
        if candidate is not best:
            outcomes.append(_loser(key, candidate, best, kept, names))
    listed = {item.object for item in items if not item.supports and item.claim.kind in _LISTED}
    for folded in sorted(listed - {c.object for c in candidates}):
        about = [item for item in items if item.object == folded and item.claim.kind in _LISTED]
        kind = max(about, key=lambda e: (e.at, e.claim.id)).claim.kind
        who = _publishers(about)
        outcomes.append(key.skip(names[folded], kind, f"{names[folded]} {_LISTED[kind]}, {_say(who)} {_listed(who)}", about))
    return outcomes


def _judge(
    key: _Key, best: _Candidate, items: Sequence[Evidence], rivals: list[str], later: list[str], names: Mapping[str, str]
) -> Fact | Skip:
    """The newest corroborated object becomes a Fact unless something speaks against it."""
    name, newest = names[best.object], max(item.at for item in best.standing)
    ends = [e for e in items if e.object == best.object and e.claim.kind == "end" and e.at > newest]
    if rivals:
        both = _listed([name, *rivals])
        return key.skip(name, "contradiction", f"{both} are both reported by {key.needed} publishers within days; a person must look", best.standing)
    if later:
        return key.skip(name, "outdated", f"{_listed(later)} was reported since, which does not hold either", best.standing)
    if ends:
        who = _publishers(ends)
        return key.skip(name, "ended", f"{_listed(who)} {_say(who)} since that it is {name} no longer", [*best.standing, *ends])
    if key.policy.max_age_days is not None and _at(best.corroborated_at) < key.now - timedelta(days=key.policy.max_age_days):
        why = f"the news of it is of {_at(best.corroborated_at):%d %B %Y}, older than policy.max_age_days allows"
        return key.skip(name, "too_old", why, best.standing)
    known_at = _at(first_corroborated_at(best.standing, key.needed, by="known_at"))
    if known_at + timedelta(hours=key.cool_off_h) > key.now:
        until = known_at + timedelta(hours=key.cool_off_h)
        return key.skip(name, "cool_off", f"corroborated only since {known_at:%d %B %Y %H:%M}; waits until {until:%d %B %Y %H:%M}", best.standing)
    since = min(item.at for item in best.standing)
    return Fact(key.subject, key.relation, name, since, _ids(best.standing), voices(best.standing))


def _contests(other: _Candidate, best: _Candidate, key: _Key) -> bool:
    """Whether `other` was said by enough voices after `best` already had been, and not long before the newest of `best`.

    Where the last of the old comes before the first of the new it is a succession, and nothing contradicts.
    """
    begun, at = first_corroborated_at(best.standing, key.needed), _at(other.corroborated_at)
    return at >= _at(begun) and _at(best.corroborated_at) - at <= timedelta(days=key.policy.contest_days)


def _loser(key: _Key, candidate: _Candidate, best: _Candidate | None, kept: Sequence[Evidence], names: Mapping[str, str]) -> Skip:
    """Why an object that somebody names, or named, is not the answer."""
    name, who = names[candidate.object], _publishers(candidate.support)
    ended = not candidate.standing and not (moved := [e for e in kept if e.publisher in who])
    if best is not None and (candidate.corroborated_at or candidate.newest_at <= _at(best.corroborated_at)):
        return key.skip(name, "outdated", f"{names[best.object]} is newer", candidate.support)
    if ended:
        return key.skip(name, "outdated", f"{_listed(who)} {_say(who)} that it has ended, or name another as well", candidate.support)
    if not candidate.standing:
        return key.skip(name, "outdated", f"{_listed(who)} {_say(who)} {names[moved[-1].object]} since", candidate.support)
    speaking = _publishers(candidate.standing)
    if len(speaking) >= key.needed:
        why = f"{_listed(speaking)} print one story, which counts as one voice; {key.needed} are needed"
    else:
        why = f"only {_listed(speaking)} {_say(speaking)} so; {key.needed} independent publishers are needed"
    if best is not None:
        why += f"; {key.needed} others name {names[best.object]}"
    return key.skip(name, "uncorroborated", why, candidate.standing)


def _names(items: Iterable[Evidence], catalogue: Catalogue) -> dict[str, str]:
    """The name to show for each folded object: the catalogue's, else the most frequent spelling."""
    spellings: dict[str, Counter[str]] = {}
    for item in items:
        raw = item.claim.object
        canonical = raw if raw in catalogue.entities else catalogue.names.get(raw, raw)
        spellings.setdefault(item.object, Counter())[canonical] += 1
    return {
        folded: min(counts, key=lambda s: (s not in catalogue.entities, -counts[s], s)) for folded, counts in spellings.items()
    }


def _against(fact: Fact, belief: Belief, others: Iterable[Fact | Skip]) -> str:
    """What lone voices say otherwise, unless it is what the model believes anyway."""
    lone = [
        o.object
        for o in others
        if isinstance(o, Skip) and o.code == "uncorroborated" and (o.subject, o.relation) == fact.key
    ]
    lone = [name for name in lone if fold(name) != fold(belief.majority)]
    return f"; a single voice names {_listed(lone)} instead" if lone else ""


def _skip(fact: Fact, code: str, reason: str) -> Skip:
    return Skip(fact.subject, fact.relation, fact.object, code, reason, fact.evidence)


def _publishers(evidence: Iterable[Evidence]) -> list[str]:
    return sorted({item.publisher for item in evidence})


def _ids(evidence: Iterable[Evidence]) -> tuple[str, ...]:
    return tuple(item.claim.id for item in sorted(evidence, key=lambda e: (e.at, e.claim.id)))


def _at(when: datetime | None) -> datetime:
    if when is None:
        raise ValueError("asked for the time of something that is not corroborated")
    return when


def _listed(names: Sequence[str], last: str = "and") -> str:
    """"A, B and C"."""
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "nobody"


def _say(names: Sequence[str]) -> str:
    return "says" if len(names) == 1 else "say"
