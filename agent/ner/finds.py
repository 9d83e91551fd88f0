"""Symbols of one sentence -> finds: patterns are matched, subjects and people resolved, kinds judged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agent.ner.chunks import Symbol
from agent.ner.context import Context
from agent.ner.linking import Reading
from agent.ner.news_patterns import NewsPattern
from agent.ner.offices import find_offices
from agent.ner.patterns import Pattern
from agent.ner.prepare import prepare
from agent.ner.qualify import from_modifiers, of_event, of_holder, worse
from agent.ner.roles import guess_kind
from agent.ner.symbols import Symbols
from agent.types import ClaimKind

_SUCCEEDED = re.compile(
    r"(?:replac(?:es|ed|ing|e)|succeed(?:s|ed|ing)?|tak(?:es|e|ing) over from|took over from|in place of|"
    r"successor to|steps in for) (?:(?!<[PX])(?:<[A-Z]\d+>|[a-z][\w'-]*|'s|&|,) ){0,6}?<[PX](\d+)>"
)
_GONE = re.compile(
    r"(?:after|when|following) (?:[a-z]+ ){0,2}?<[PX](\d+)>(?: 's)? (?:[a-z]+ ){0,2}?(?:resign|quit|step|"
    r"stood|left|depart|oust|sack|fire|dismiss|exit|death|die|retire)"
)

# Patterns in which somebody else has decided, whatever is still "to" come in them.
_APPOINTED = ("names", "to succeed", "passive", "appointment", "his appointment", "replaced with")


@dataclass(frozen=True, slots=True)
class Find:
    """A claim in the making. `linked` tells whether the subject is catalogued, `dated` whether years in the
    line count."""

    subject: str
    relation: str
    object: str
    kind: ClaimKind
    score: float
    sentence: str
    line: str
    linked: bool
    dated: bool


def find_all(
    symbols: Symbols, context: Context, patterns: Sequence[Pattern], news: Sequence[NewsPattern]
) -> list[Find]:
    """Everything one sentence says, roles first, then the surface patterns of the relations."""
    symbols = prepare(symbols, context)
    question = symbols.text.rstrip("\"' ").endswith("?")
    used: set[str] = set()
    finds: list[Find] = []
    for pattern in patterns:
        for match in pattern.regex.finditer(symbols.line):
            role = match.groupdict().get("r") or f"@{match.start()}"
            if role in used:
                continue
            found = _from_match(pattern, match, symbols, context, question=question)
            if found is not None:
                used.add(role)
                finds += found
    finds += successions(symbols, context, [f for f in finds if f.kind in ("change", "future")])
    return finds + _from_news(symbols, context, news, question=question)


def _from_match(
    pattern: Pattern, match: re.Match[str], symbols: Symbols, context: Context, *, question: bool
) -> list[Find] | None:
    """Finds of one match; None where it does not hold, so that a later pattern may have the role."""
    groups = {k: v for k, v in match.groupdict().items() if v is not None}
    person = context.people.person(symbols.items[int(groups["p"])]) if "p" in groups else None
    if person is None:
        return None
    name, factor, guessed = person
    kind = _kind(pattern, match, groups, symbols.line, question=question)
    if kind is None:
        return []
    offices = find_offices(pattern, match, groups, symbols, context, name)
    if offices is None:
        return None
    if guessed:
        offices = [o for o in offices if context.people.belongs(name, o.subject)]
    dated = (
        pattern.sort != "holder"
        or groups.get("was") in {"was", "had been", "served as"}
        or symbols.line.startswith("in ")
    )
    return [
        Find(
            o.subject,
            o.relation.name,
            name,
            kind,
            pattern.score * factor * o.score,
            symbols.text,
            symbols.line,
            o.linked,
            dated,
        )
        for o in offices
    ]


def _kind(
    pattern: Pattern, match: re.Match[str], groups: dict[str, str], line: str, *, question: bool
) -> ClaimKind | None:
    qualifiers = f"{groups.get('m0', '')} {groups.get('m1', '')} {groups.get('m', '')}"
    stated = from_modifiers(qualifiers, groups.get("n", ""))
    if pattern.sort == "leave":
        window = line[max(0, match.start() - 40) : match.end()]
        return "end" if of_event(window, "end", question=question) == "end" else "hedged"
    if pattern.sort == "event":
        base: ClaimKind = (
            "future" if groups.get("verb", "").startswith(("nominat", "propos", "designat")) else pattern.base
        )
        appointed = pattern.name in _APPOINTED
        event = of_event(_clause(line, match), base, question=question, appointed=appointed)
        if stated == "end":
            return None
        return worse(stated, event) if stated in ("acting", "hedged") or event != "change" else event
    if stated == "state" and groups.get("was") in {"was", "had been", "served as"}:
        return "end"
    if stated == "state" and question and "was" in groups:
        return "hedged"
    if stated == "acting" and of_holder(line[: match.start()], "") == "end":
        return "end"
    if stated != "state":
        return stated
    if "r" in groups and match.start("p") < match.start("r"):
        return of_holder("", _after_office(line[match.end() :]))
    return of_holder(line[: match.start()], line[match.end() :])


def _after_office(rest: str) -> str:
    return rest[2:] if rest.startswith(" ,") else rest


def _clause(line: str, match: re.Match[str]) -> str:
    """The event with some words before it, back to the last border of a clause or speech."""
    before = line[: match.start()]
    signs = (" ; ", ' " ', " : ", " said ", " says ", " - ", " but ")
    cut = max((before.rfind(sign) + len(sign) for sign in signs if sign in before), default=0)
    return " ".join(before[cut:].split()[-8:]) + " " + match.group()


def successions(symbols: Symbols, context: Context, changes: Iterable[Find]) -> list[Find]:
    """Whoever is replaced in a sentence that tells of the new holder, as `changes` do, has left."""
    changes = list(changes)
    offices = {(f.subject, f.relation) for f in changes}
    if len(offices) != 1:
        return []
    ends: list[Find] = []
    for pattern in (_SUCCEEDED, _GONE):
        for match in pattern.finditer(symbols.line):
            person = context.people.person(symbols.items[int(match[1])])
            if (
                person
                and not (person[2] and not context.people.belongs(person[0], changes[0].subject))
                and all(person[0] != f.object for f in changes)
            ):
                ends.append(
                    replace(
                        changes[0], object=person[0], kind="end", score=changes[0].score * person[1] * 0.95
                    )
                )
    return ends


def _from_news(
    symbols: Symbols, context: Context, news: Sequence[NewsPattern], *, question: bool
) -> list[Find]:
    finds: list[Find] = []
    for pattern in news:
        for match in pattern.regex.finditer(symbols.line):
            subject = _subject(pattern, match, symbols, context)
            target = symbols.items[int(match["o"])]
            object_ = _object(pattern, target, context)
            if subject is None or object_ is None or subject.name == object_:
                continue
            kind = pattern.kind
            if kind in ("change", "future"):
                kind = of_event(_clause(symbols.line, match), kind, question=question)
            elif question:
                kind = "hedged"
            score = 0.85 if subject.kind else 0.7
            dated = kind != "state"
            finds.append(
                Find(
                    subject.name,
                    pattern.relation.name,
                    object_,
                    kind,
                    score,
                    symbols.text,
                    symbols.line,
                    bool(subject.kind),
                    dated,
                )
            )
    return finds


def _subject(
    pattern: NewsPattern, match: re.Match[str], symbols: Symbols, context: Context
) -> Reading | None:
    relation = pattern.relation
    if "s" in match.groupdict():
        return _fitting(relation.subject, relation.kinds, symbols.items[int(match["s"])], context)
    before = [symbols.items[int(n)] for n in re.findall(r"<O(\d+)>", symbols.line[: match.start()])]
    return context.company(before, relation.kinds)


def _fitting(
    labels: tuple[str, ...], kinds: tuple[str, ...], symbol: Symbol, context: Context
) -> Reading | None:
    if symbol.letter == "X" and context.linker.link_person(symbol.text).entity:
        return None
    fitting = {
        r.name: r
        for r in context.readings(symbol)
        if r.label in labels
        and (not r.demonym or r.label == "GPE")
        and not r.metonym
        and (not kinds or (r.kind or _likely(r, kinds)) in kinds)
    }
    return next(iter(fitting.values())) if len(fitting) == 1 else None


def _likely(reading: Reading, kinds: tuple[str, ...]) -> str:
    """The sort of an uncatalogued subject; a place may be of any."""
    return guess_kind(reading.name, reading.label, "") if reading.label == "ORG" else kinds[0]


def _object(pattern: NewsPattern, symbol: Symbol, context: Context) -> str | None:
    labels = pattern.relation.object
    if symbol.letter in "XY" and "GPE" in labels:
        return None if context.linker.link_person(symbol.text).entity else symbol.text
    if "PERSON" in labels and (person := context.people.person(symbol)) and person[1] > 0.5:
        return person[0]
    if symbol.letter == "P":
        return None
    fitting = {
        r.name
        for r in context.readings(symbol)
        if r.label in labels and not r.demonym and not r.metonym and r.kind not in ("country", "region")
    }
    return fitting.pop() if len(fitting) == 1 else None
