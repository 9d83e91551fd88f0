"""What is put right in a sentence's symbols before the patterns run."""

from __future__ import annotations

import re
from dataclasses import replace

from agent.ner.context import Context
from agent.ner.linking import Reading
from agent.ner.names import COMPANY_WORDS
from agent.ner.symbols import Symbols

# "Brazil's central bank chief": the role word has eaten the bank.
_BANK_IN_ROLE = re.compile(r"<[GD](\d+)>(?: 's)? (?=(?:[a-z-]+ ){0,2}<R(\d+)>)")
_CENTRAL_BANK = re.compile(r"<[GD](\d+)>(?: 's)? central bank(?! (?:of|for))")
# Where only a person can stand: before ", founder and CEO of" and "was sworn in", after "managing director,".
_PERSON_PLACE = re.compile(
    r"<[OGY](\d+)>(?= , (?:\d+ , )?(?:[a-z-]+ ){0,4}<R\d+> (?:of|at|for) | (?:is|was|has been|will be|"
    r"to be) (?:sworn|elected|named|appointed|chosen|confirmed)\b| , (?:\d+ , )?(?:the |a )?<[GD]\d+> (?:'s )?(?:[a-z-]+ ){0,2}<R\d+>)|"
    r"<R\d+> (?:, )?<[OGY](\d+)>(?! (?:'s )?<[RZ])|"
    r"<R\d+> (?:of|at) (?:the )?<[GDOXY]\d+> , <[OGY](\d+)>(?= ,)|"
    r"<[OGY](\d+)>(?= (?:is|was|remains) (?:the |a )?(?:[a-z-]+ ){0,2}<R\d+> (?:of|at|for) )|"
    r"(?:swore in|appointed|named|elected|chosen|chose|picked|hired|nominated|tapped) <[OGY](\d+)>(?= as (?:[a-z]+ ){0,3}<R\d+>)"
)
# Where only an organisation can stand, though it looks like a person: "Brown Harris Stevens CEO Bess
# Freedman".
_ORG_PLACE = re.compile(
    rf"-(?:based|headquartered|listed|owned) (?:[a-z-]+ ){{0,2}}{COMPANY_WORDS} <P(\d+)>|"
    r"(?:<[XY](\d+)> )?<P(\d+)>(?= <R\d+> <[PX]\d+>)|<P(\d+)>(?= 's (?:[a-z]+ )?<R\d+> (?:, )?<[PX]\d+>)|"
    r"(?<=<[PX]\d> , )<R\d+> (?:of|at) <P(\d+)>(?= [,.])"
)


def prepare(symbols: Symbols, context: Context) -> Symbols:
    """Central banks named by their country, and names whose place in the sentence tells their sort."""
    return _not_people(_with_central_banks(symbols, context), context)


def _with_central_banks(symbols: Symbols, context: Context) -> Symbols:
    """As one organisation: "Iceland's central bank"."""
    items = list(symbols.items)

    def as_bank(match: re.Match[str]) -> str:
        countries = {r.name for r in items[int(match[1])].readings if r.kind == "country"}
        if len(countries) != 1:
            return match[0]
        country = countries.pop()
        named = re.search(rf"(?:[A-Z][a-z]+ )?Bank of {re.escape(country)}", context.text)
        name = context.linker.central_bank(country, named[0] if named else "")
        place = items[int(match[1])]
        items.append(replace(place, letter="O", readings=(Reading(name, "central_bank", "ORG"),)))
        return f"<O{len(items) - 1}>"

    def before_role(match: re.Match[str]) -> str:
        if not items[int(match[2])].text.lower().startswith("central bank"):
            return match[0]
        bank = as_bank(match)
        return match[0] if bank == match[0] else f"{bank} "

    line = _BANK_IN_ROLE.sub(before_role, _CENTRAL_BANK.sub(as_bank, symbols.line))
    return Symbols(line, tuple(items), symbols.tokens, symbols.text)


def _not_people(symbols: Symbols, context: Context) -> Symbols:
    """Capitalised names that cannot be people become `Y`, and a "person" between a comma and a role and its
    holder ("Brown Harris Stevens CEO Bess Freedman") is an organisation."""
    line = symbols.line
    for number, symbol in enumerate(symbols.items):
        if symbol.letter == "X" and context.people.person(symbol) is None:
            line = line.replace(f"<X{number}>", f"<Y{number}>")
    items = list(symbols.items)
    for match in _PERSON_PLACE.finditer(line):
        number = int(next(group for group in match.groups() if group))
        words = items[number].text.split()
        ends = any(set("EO") & set(context.lexicon.classes.get(w.lower(), "")) for w in (words[0], words[-1]))
        if not items[number].readings and 1 < len(words) < 5 and not ends:
            items[number] = replace(items[number], letter="P")
            line = re.sub(rf"<[OGY]{number}>", f"<P{number}>", line)
    for match in _ORG_PLACE.finditer(line):
        extra, number = match[2], int(match[1] or match[3] or match[4] or match[5])
        symbol = items[number]
        if not symbol.readings and not (match[4] and context.linker.link_person(symbol.text).entity):
            first = items[int(extra)] if extra else symbol
            text = symbols.text[symbols.tokens[first.start].start : symbols.tokens[symbol.end - 1].end]
            items[number] = replace(symbol, letter="O", text=text)
            line = re.sub(rf"<[XY]{extra}> (?=<P{number}>)", "", line).replace(f"<P{number}>", f"<O{number}>")
    return replace(symbols, line=line, items=tuple(items))
