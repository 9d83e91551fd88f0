"""Which office a match speaks of: the relation and the subject of a role, from its neighbours or from the
context."""

from __future__ import annotations

import re
from dataclasses import replace

from agent.ner.context import FORMERLY, Context, Office
from agent.ner.names import COMPANY_WORDS, word_set
from agent.ner.patterns import Pattern
from agent.ner.roles import VAGUE
from agent.ner.symbols import Symbols

_PAST = word_set("left told said made put gave kept sent brought met saw took led beat won lost hit")
_AUX_WORDS = r"(?:(?:has|have|had|will|also|on [a-z]+|[a-z]+ly) )*"
# Who appoints for a company or a country.
_ON_BEHALF = (
    r"(?:[a-z-]+ ){0,2}(?:boards?|directors|owners?|shareholders|council|cabinet|government|parliament|congress|senate|assembly|"
    r"lawmakers|junta|members|<[RZ]\d+>)"
)
_FOR_HOW_LONG = r"(?:an? |another |the )?(?:[\w-]+ ){0,2}(?:terms?|periods?|years?|months?|stint|spell|moment|time being)\b"
_THE_SAME = (
    r"(?:the |its |his |her |their )?(?:<[DG]\d+> (?:'s )?)?(?:[a-z-]+ ){0,2}"
    rf"(?:country|club|nation|board|team|{COMPANY_WORDS})\b"
)


def find_offices(
    pattern: Pattern,
    match: re.Match[str],
    groups: dict[str, str],
    symbols: Symbols,
    context: Context,
    person: str,
) -> list[Office] | None:
    if groups.get("same"):
        return _counterpart(match, symbols, context, int(groups["s"]))
    items = symbols.items
    if "lead" in groups:
        return [
            o
            for o in context.offices(("head",), items[int(groups["s"])])
            if o.relation.name == "head_of_organisation"
        ]
    roles = items[int(groups["r"])].roles
    if "company" in groups:
        before = [items[int(n)] for n in re.findall(r"<O(\d+)>", symbols.line[: match.start()])]
        company = context.company(before, ())
        return context.offices_of(roles, company) if company else []
    for slot in ("s", "s2", "s3", "s4"):
        if slot in groups:
            found = context.offices(roles, items[int(groups[slot])])
            if slot != "s3" or found:
                return found or None if not pattern.bare else found
    if pattern.sort == "event" and (direct := _direct_subject(match, symbols, roles, context)):
        return direct
    if _is_elsewhere(symbols.line, match) or _has_own_subject(pattern, match, symbols, context):
        return []
    return _by_context(pattern, match, groups, symbols, context, person)


def _direct_subject(
    match: re.Match[str], symbols: Symbols, roles: tuple[str, ...], context: Context
) -> list[Office]:
    """The organisation or country that does the appointing: what stands right before the verb."""
    before = re.search(rf"<[GDOXYP](\d+)> (?:'s {_ON_BEHALF} )?{_AUX_WORDS}$", symbols.line[: match.start()])
    if before is None or _is_elsewhere(symbols.line, match):
        return []
    symbol = symbols.items[int(before[1])]
    if symbol.letter == "P":
        # "Barnsley have appointed": one word that is nobody's name is a club or a company that the recogniser took for a person.
        if len(symbol.text.split()) > 1 or context.people.is_somebody(symbol.text):
            return []
        symbol = replace(symbol, letter="O")
    return context.offices(roles, symbol)


def _is_elsewhere(line: str, match: re.Match[str]) -> bool:
    """Whether the role goes on with a subject that the pattern could not take ("head of its Asian unit")."""
    end = match.end("r")
    return re.match(rf">? (?:of|for|at) (?!{_THE_SAME}|{_FOR_HOW_LONG})", line[end:]) is not None


def _has_own_subject(pattern: Pattern, match: re.Match[str], symbols: Symbols, context: Context) -> bool:
    """Whether the words just before name a subject that the role is no known office of: then no other is
    looked for."""
    before = symbols.line[: match.start()].rstrip()
    before = before[:-2].rstrip() if before.endswith("'s") else before
    if pattern.name == "role person":
        vague = all(role in VAGUE for role in symbols.items[int(match["r"])].roles)
        word = re.search(r"([a-z][\w-]*)$", before)
        if vague and word and not match.groupdict().get("d") and not opens_phrase(word[1], context):
            return True
        return re.search(r"<[GDOXPYZ]\d+>$", before) is not None
    return re.search(rf"<G\d+> {_AUX_WORDS}$", before + " ") is not None


def opens_phrase(word: str, context: Context) -> bool:
    """Whether a role can stand alone after `word`: after a verb or small word it can, after a noun it is
    another role ("HR chief")."""
    verbs, lexicon = context.lexicon.lists["verbs"], context.lexicon
    stems = (word, word[:-1], word[:-2], word[:-3])
    return (
        word in lexicon.function
        or word.endswith("ed")
        or any(stem in verbs for stem in stems)
        or word in _PAST
    )


def _by_context(
    pattern: Pattern,
    match: re.Match[str],
    groups: dict[str, str],
    symbols: Symbols,
    context: Context,
    person: str,
) -> list[Office] | None:
    at = match.start() if pattern.sort == "event" else match.start("r")
    gone = FORMERLY.findall(symbols.line)
    before = [symbols.items[int(n)] for n in re.findall(r"<[A-Z](\d+)>", symbols.line[:at]) if n not in gone]
    after = [symbols.items[int(n)] for n in re.findall(r"<[A-Z](\d+)>", symbols.line[match.end() :])]
    voices = [
        symbols.items[int(n)]
        for n in re.findall(
            r"<O(\d+)>(?: , [^,]{2,80} ,)?(?: on [a-z]+)? (?:said|says|announced|has|have|named)\b",
            symbols.line,
        )
    ]
    found: dict[str, Office] = {}
    for role in symbols.items[int(groups["r"])].roles:
        office = context.around(role, person, before, after, voices)
        if office is not None:
            found.setdefault(office.relation.name, office)
    return list(found.values())


def _counterpart(match: re.Match[str], symbols: Symbols, context: Context, subject: int) -> list[Office]:
    """In "the Australian prime minister thanked his Thai counterpart X": the office is the one named last
    before it."""
    numbers = re.findall(r"<R(\d+)>", symbols.line[: match.start("same")])
    roles = symbols.items[int(numbers[-1])].roles if numbers else context.role_before(symbols.text)
    return context.offices(roles, symbols.items[subject])
