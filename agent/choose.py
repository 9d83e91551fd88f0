"""Which of the objects that are named for one subject and relation is the fact, and what is wrong with
the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent.eligible import listed
from agent.policy import Policy
from agent.types import Fact, Skip
from agent.voices import Evidence, corroborated_at, enough, first_corroborated_at, heft, standing, voices

_OUTNUMBERS = 4
_LISTED = {
    "future": "is announced or elected but not yet in place",
    "hedged": "is only said to be possible, or is denied",
    "acting": "is only acting or interim",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One (subject, relation) and the rules for it. `names` has the name to show for each folded object.

    `needed`: independent publishers. `cool_off_h`: how long a fact must have been corroborated.
    """

    subject: str
    relation: str
    names: Mapping[str, str]
    needed: int
    cool_off_h: float
    policy: Policy
    now: datetime

    def skip(self, folded: str, code: str, reason: str, evidence: Iterable[Evidence]) -> Skip:
        return Skip(self.subject, self.relation, self.names[folded], code, reason, claim_ids(evidence))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One object. `standing` is the support that its publishers still stand by, `support` all there ever
    was.
    """

    object: str
    standing: tuple[Evidence, ...]
    support: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class _Best:
    """The candidate that is corroborated by the newest evidence. `begun_at`: when it first was, `at`:
    last.
    """

    candidate: _Candidate
    begun_at: datetime
    at: datetime


def choose(key: Key, items: Sequence[Evidence]) -> list[Fact | Skip]:
    """At most one Fact, and a Skip for each other object that `items` name, in a settled order."""
    kept = standing(items)
    candidates = [
        _Candidate(
            folded,
            tuple(item for item in kept if item.object == folded),
            tuple(item for item in items if item.object == folded and item.supports),
        )
        for folded in sorted({item.object for item in items if item.supports})
    ]
    corroborated = _ranked(key, candidates)
    rivals = [replace(c, standing=_dated(c.standing), support=_dated(c.support)) for c in candidates]
    # Where enough say one of them with a date, nothing undated has a say in which it is.
    ranked = _ranked(key, rivals)
    if not ranked:
        rivals, ranked = candidates, corroborated
    named = {b.candidate.object for b in ranked}
    undated = [b for b in corroborated if b.candidate.object not in named]
    best = ranked[-1] if ranked else None
    contested = [best, *(b for b in ranked[:-1] if _contests(key, b, best))] if best else []
    outcomes: list[Fact | Skip] = []
    if len(contested) > 1:
        outcomes += _contradiction(key, contested)
    elif best:
        whole = next(c for c in candidates if c.object == best.candidate.object)
        outcomes.append(_judge(key, best, whole, rivals, items))
    outcomes += [_undated(key, b, ranked) for b in undated]
    settled = {outcome.object for outcome in outcomes}
    outcomes += [_loser(key, c, best, kept) for c in candidates if key.names[c.object] not in settled]
    return outcomes + _listed_only(key, items, {c.object for c in candidates})


def claim_ids(evidence: Iterable[Evidence]) -> tuple[str, ...]:
    """Oldest first, each once."""
    return tuple(dict.fromkeys(item.claim.id for item in sorted(evidence, key=lambda e: (e.at, e.claim.id))))


def _ranked(key: Key, candidates: Iterable[_Candidate]) -> list[_Best]:
    """The corroborated candidates, the newest last."""
    found = []
    for candidate in candidates:
        begun_at = first_corroborated_at(candidate.standing, key.needed)
        at = corroborated_at(candidate.standing, key.needed)
        if begun_at is not None and at is not None:
            found.append(_Best(candidate, begun_at, at))
    return sorted(found, key=lambda b: (b.at, b.candidate.object))


def _dated(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    return tuple(item for item in evidence if item.dated)


def _undated(key: Key, best: _Best, dated: Iterable[_Best]) -> Skip:
    """Nobody knows when an undated article was written: it may be old, and must not undo what is dated."""
    names = listed(sorted(key.names[b.candidate.object] for b in dated))
    who = voices(best.candidate.standing)
    why = f"{listed(who)} {say(who)} so, but not enough of them with a date; dated articles name {names}"
    return key.skip(best.candidate.object, "undated", why, best.candidate.standing)


def _judge(
    key: Key, best: _Best, whole: _Candidate, candidates: Iterable[_Candidate], items: Iterable[Evidence]
) -> Fact | Skip:
    """The newest corroborated object becomes a Fact unless something speaks against it. `whole`: the same candidate with what is undated."""
    chosen, evidence = best.candidate.object, whole.standing
    last_at = max(item.at for item in best.candidate.standing)
    ends = [e for e in items if e.object == chosen and e.ends and e.at > last_at]
    if later := [key.names[c.object] for c in candidates if c.object != chosen and _once_after(key, c, best)]:
        why = f"{listed(later)} was reported since, which does not hold any more either"
        return key.skip(chosen, "outdated", why, evidence)
    if ends:
        who = _publishers(ends)
        why = f"{listed(who)} {say(who)} since then that it is {key.names[chosen]} no longer"
        return key.skip(chosen, "ended", why, [*evidence, *ends])
    return _timely(key, best) or Fact(
        key.subject,
        key.relation,
        key.names[chosen],
        valid_from=min(item.at for item in evidence),
        evidence=claim_ids(evidence),
        publishers=voices(evidence),
    )


def _contradiction(key: Key, contested: Iterable[_Best]) -> list[Fact | Skip]:
    """None of them is proposed before a person has looked, or before one side has fallen silent."""
    among = sorted((best.candidate for best in contested), key=lambda c: key.names[c.object])
    sides = [
        f"{listed(voices(c.standing))} {say(voices(c.standing))} {key.names[c.object]},"
        f" last on {max(item.at for item in c.standing):%d %B %Y}"
        for c in among
    ]
    days = key.policy.contest_days
    why = f"{'; but '.join(sides)}; none is proposed until one side falls silent for {days:g} days"
    return [key.skip(c.object, "contradiction", why, c.standing) for c in among]


def _timely(key: Key, best: _Best) -> Skip | None:
    """A Skip where the news is too old to prove anything about today, or too fresh to be trusted."""
    chosen, evidence = best.candidate.object, best.candidate.standing
    oldest = key.policy.max_age_days
    if oldest is not None and best.at < key.now - timedelta(days=oldest):
        why = f"the news of it is of {best.at:%d %B %Y}; policy.max_age_days allows {oldest:g} days"
        return key.skip(chosen, "too_old", why, evidence)
    known_at = first_corroborated_at(evidence, key.needed, by="known_at") or key.now
    until = known_at + timedelta(hours=key.cool_off_h)
    if until > key.now:
        why = f"corroborated since {known_at:%d %B %Y %H:%M}; to wait until {until:%d %B %Y %H:%M} UTC"
        return key.skip(chosen, "cool_off", why, evidence)
    return None


def _contests(key: Key, other: _Best, best: _Best) -> bool:
    """Whether somebody still stood by `other` after enough voices had named `best`, and `other` was
    corroborated not long before `best` last was.

    Where the last word for the old comes before enough have named the new, one has followed the other. And a
    few misread articles must not stand against what all the papers print.
    """
    if best.at - other.at > timedelta(days=key.policy.contest_days):
        return False
    if heft(best.candidate.standing) >= _OUTNUMBERS * heft(other.candidate.standing):
        return False
    return other.at == best.at or max(item.at for item in other.candidate.standing) >= best.begun_at


def _once_after(key: Key, candidate: _Candidate, best: _Best) -> bool:
    """Whether this object was corroborated after `best`, though its publishers have taken it back since."""
    at = corroborated_at(candidate.support, key.needed)
    return at is not None and at > best.at


def _loser(key: Key, candidate: _Candidate, best: _Best | None, kept: Iterable[Evidence]) -> Skip:
    """Why an object that somebody names, or named, is not the answer."""
    folded, who = candidate.object, _publishers(candidate.support)
    speaking = _publishers(candidate.standing)
    had_enough = enough(candidate.standing, key.needed)
    if best and (had_enough or max(item.at for item in candidate.support) <= best.at):
        return key.skip(folded, "outdated", f"{key.names[best.candidate.object]} is newer", candidate.support)
    if not speaking:
        named = {key.names[e.object] for e in kept if e.publisher in who}
        why = (
            f"{listed(who)} {say(who)} {listed(sorted(named))} since then"
            if named
            else f"{listed(who)} said since then that it has ended, or named another in the same breath"
        )
        return key.skip(folded, "outdated", why, candidate.support)
    why = _short_of(key, candidate.standing, speaking)
    if best:
        why += f"; others name {key.names[best.candidate.object]}"
    return key.skip(folded, "uncorroborated", why, candidate.standing)


def _short_of(key: Key, evidence: Sequence[Evidence], speaking: Sequence[str]) -> str:
    """What keeps this evidence from being enough: copies, weights, or simply too few."""
    loud = voices(evidence)
    weight = heft(evidence)
    if len(loud) < len(speaking) and len(speaking) >= key.needed:
        why = f"{listed(speaking)} print {_stories(len(loud))}; {key.needed} are needed"
    elif weight != len(loud):
        why = f"only {listed(speaking)} {say(speaking)} so, with weight {weight:g} together; "
        alone = " of two publishers at least" if weight >= key.needed else ""
        why += f"{key.needed}{alone} is needed"
    else:
        why = f"only {listed(speaking)} {say(speaking)} so; {key.needed} independent publishers are needed"
    credited = {item.credited for item in evidence if item.credited}
    if len(credited) > 1:
        why += f" (its items credit {len(credited)} sites: one voice, unless the source is an aggregator)"
    return why


def _stories(count: int) -> str:
    return "one story, which counts as one voice" if count == 1 else f"{count} stories, so many voices"


def _listed_only(key: Key, items: Iterable[Evidence], known: set[str]) -> list[Fact | Skip]:
    """Objects that nobody says to hold: announced, possible or interim. They are shown and change nothing."""
    about: dict[str, list[Evidence]] = {}
    for item in items:
        if item.claim.kind in _LISTED and item.object not in known:
            about.setdefault(item.object, []).append(item)
    found: list[Fact | Skip] = []
    for folded, evidence in sorted(about.items()):
        kind = max(evidence, key=lambda e: (e.at, e.claim.id)).claim.kind
        who = _publishers(evidence)
        why = f"{key.names[folded]} {_LISTED[kind]}, {say(who)} {listed(who)}"
        found.append(key.skip(folded, kind, why, evidence))
    return found


def _publishers(evidence: Iterable[Evidence]) -> list[str]:
    return sorted({item.publisher for item in evidence})


def say(names: Sequence[str]) -> str:
    return "says" if len(names) == 1 else "say"
