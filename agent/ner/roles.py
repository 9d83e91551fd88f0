"""Role words: where they stand in a sentence, and which relation a role of a given subject is.

"President" is a head of state of a country, the head of an organisation of a body, and nothing we record of a
company: the subject's sort decides, and then the title that `relations.yaml` gives the office there
("chancellor" of Germany, not of Britain).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.ner.linking import Reading
from agent.ner.names import word_set
from agent.ner.tokens import Token, tokenize
from agent.relations import Relation

_LESSER = word_set("deputy vice assistant associate shadow junior under sub regional divisional co- honorary")
_CHIEF = re.compile(r"chief$")
_CHIEF_END = word_set(
    "officer economist strategist analyst scientist engineer executives counsel investment correspondent reporter editor "
    "negotiator prosecutor spokesman spokeswoman spokesperson whip constable inspector"
)
_GENERIC = word_set(
    "head chief boss president chair chairman chairwoman chairperson commissioner governor manager coach "
    "director managing-director executive-director leader"
)
_NO_ROLES = frozenset(
    (
        ("head", "office"),
        ("head", "offices"),
        ("head", "start"),
        ("head", "to"),
        ("head", "into"),
        ("head", "for"),
    )
)
_NEUTRAL = word_set("chief boss head leader") | {
    "head of state",
    "head of government",
    "central bank chief",
    "central bank head",
    "central bank governor",
}
_BODIES = word_set("head_of_organisation")
VAGUE = word_set("chief boss head leader manager coach director")
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "president": ("president",),
    "monarch": ("king", "queen", "monarch", "emperor", "sultan", "emir", "grand duke", "prince", "amir"),
    "prime minister": ("prime minister", "pm", "premier"),
    "chancellor": ("chancellor",),
    "taoiseach": ("taoiseach",),
    "supreme leader": ("supreme leader",),
    "secretary of state": ("secretary of state",),
    "exchequer": ("chancellor of the exchequer",),
    "governor": ("governor",),
    "chair": ("chair", "chairman", "chairwoman", "chairperson"),
    "state counsellor": ("state counsellor",),
}
_GROUP_OF = {word: group for group, words in _GROUPS.items() for word in words}
_BODY_ROLES = frozenset(
    ("secretary-general", "secretary general", "director-general", "director general", "commissioner")
)
_CLUB_ROLES = frozenset(("coach", "head coach"))
_CLUB = re.compile(
    r"\b(?:FC|CF|AFC|SC|United|City|Town|Rovers|Wanderers|Athletic|County|Hotspur|Albion|Lakers|Ravens)$|"
    r"^(?:FC|AC|AS|Real|SC) "
)
_CENTRAL_BANK = re.compile(
    r"\b(?<!Federal )(?:Central Bank|Reserve Bank|National Bank|Monetary Authority) of\b|"
    r"^Bank of [A-Z]\w+$|^Central Bank\b"
)
_BODY = re.compile(
    r"\b(?:Association|Federation|Union|Commission|Agency|Institute|Council|Committee|Organi[sz]ation|"
    r"Academy|Society|Foundation|Confederation|Authority|Administration|Bureau|Federal Reserve Bank|League|"
    r"Alliance|Chamber|Fed|Court|Parliament)\b"
)


@dataclass(frozen=True, slots=True)
class RoleMatch:
    """Tokens `[start, end)` that name one or several roles ("chairman and CEO"), as lower-case words."""

    start: int
    end: int
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleBook:
    """Role words by first word (longest first), and the relations that list each."""

    forms: Mapping[str, tuple[tuple[str, ...], ...]]
    relations: Mapping[str, tuple[Relation, ...]]
    all: tuple[Relation, ...]
    trigger: re.Pattern[str]

    def find(self, tokens: Sequence[Token]) -> list[RoleMatch]:
        """Roles in `tokens`; "deputy governor" and "chief operating officer" are roles too, of no relation
        (empty `roles`)."""
        low = [t.text.lower() for t in tokens]
        single: list[RoleMatch] = []
        position = 0
        while position < len(tokens):
            match = self._at(low, position)
            if match:
                single.append(match)
            position = match.end if match else position + 1
        return _join(single, low)

    def _at(self, low: Sequence[str], start: int) -> RoleMatch | None:
        if tuple(low[start : start + 2]) in _NO_ROLES or (
            low[start] == "head" and start and low[start - 1] in {"to", "will", "would"}
        ):
            return None
        if low[start] in _LESSER and start + 1 < len(low):
            inner = self._at(low, start + 1)
            return RoleMatch(start, inner.end, ()) if inner else None
        for words in self.forms.get(low[start], ()):
            end = start + len(words)
            if tuple(low[start:end]) == words:
                if words == ("chief",):
                    break
                role = " ".join(words)
                return RoleMatch(start, end, (role,) if role in self.relations else ())
        if low[start] == "chief":
            return self._chief(low, start)
        return None

    def _chief(self, low: Sequence[str], start: int) -> RoleMatch:
        for end in range(start + 2, min(start + 6, len(low) + 1)):
            if low[end - 1] in _CHIEF_END and low[end - 1] != "investment":
                return RoleMatch(start, end, ())
            if not low[end - 1][0].isalpha():  # "Fed chief Powell, an economist"
                break
        return RoleMatch(start, start + 1, ("chief",) if "chief" in self.relations else ())

    def relation(self, role: str, reading: Reading) -> Relation | None:
        """The relation that `role` of `reading` is, None where none or more than one fits."""
        listed = self.relations.get(role, ())
        own = tuple(
            r for r in self.all if r.titles.get(reading.name, "").lower().startswith(role) and r not in listed
        )
        fitting = [
            r for r in (*listed, *own) if reading.label in r.subject and _title_fits(r, role, reading.name)
        ]
        if not reading.kind and role in VAGUE and guess_kind(reading.name, reading.label, role) != "body":
            return None
        if role == "mayor" and reading.kind == "region":
            return None  # "New York mayor" is the city's
        if not reading.kind and reading.label == "GPE" and role == "chief executive":
            return None  # of the few places that have one, all are known
        kind = reading.kind or guess_kind(reading.name, reading.label, role)
        exact = [r for r in fitting if not r.kinds or kind in r.kinds]
        if len(exact) == 1:
            return exact[0]
        if exact:
            named = [r for r in exact if r.titles.get(reading.name, "").lower() == role]
            return named[0] if len(named) == 1 else None
        if is_vague(role) or reading.label != "ORG" or len(fitting) != 1:
            return None
        return fitting[0]


def make_book(relations: Mapping[str, Relation], other: Sequence[str]) -> RoleBook:
    """Index the `roles` of `relations` and their titles; `other` are role words of no relation ("vice
    president")."""
    by_role: dict[str, list[Relation]] = {}
    for relation in relations.values():
        for role in (*relation.roles, *relation.titles.values()):
            listed = by_role.setdefault(role.lower(), [])
            if role in relation.roles and relation not in listed:
                listed.append(relation)
    forms: dict[str, set[tuple[str, ...]]] = {}
    for role in (*by_role, *other):
        words = tuple(t.text for t in tokenize(role))
        forms.setdefault(words[0], set()).add(words)
    heads = sorted({re.escape(_head(role)) for role in by_role})
    ordered = {first: tuple(sorted(found, key=lambda w: (-len(w), w))) for first, found in forms.items()}
    by_name = {role: tuple(found) for role, found in by_role.items()}
    return RoleBook(
        ordered, by_name, tuple(relations.values()), re.compile(rf"(?i)\b(?:{'|'.join(heads)})\b")
    )


def _head(role: str) -> str:
    """The word that every mention of the role has: `minister` of "minister of finance"."""
    return role.split(" of ")[0].split()[-1]


def _join(found: Sequence[RoleMatch], low: Sequence[str]) -> list[RoleMatch]:
    """One phrase for "founder and CEO", "EVP/CFO", "chairman, president and CEO"."""
    joined: list[RoleMatch] = []
    for match in found:
        between = tuple(low[joined[-1].end : match.start]) if joined else ("?",)
        if (joined and between in {(), ("and",), ("&",), ("/",), (",", "and")}) or (
            joined and between == (",",) and _goes_on(found, match, low)
        ):
            last = joined.pop()
            joined.append(RoleMatch(last.start, match.end, (*last.roles, *match.roles)))
        else:
            joined.append(match)
    return joined


def _goes_on(found: Sequence[RoleMatch], match: RoleMatch, low: Sequence[str]) -> bool:
    return any(n.start == match.end + 1 and low[match.end] in {"and", "&"} for n in found)


def _title_fits(relation: Relation, role: str, subject: str) -> bool:
    role = role.replace("defense", "defence")
    group = _GROUP_OF.get(role)
    own = relation.titles.get(subject, "").lower().replace("defense", "defence")
    if own:
        same = group is not None and _GROUP_OF.get(own) == group
        return (
            same
            or own.startswith(role)
            or role in _NEUTRAL
            or (group is None and own in _GROUP_OF and relation.name not in _BODIES)
        )
    if group is None or relation.title.lower() not in _GROUP_OF:
        return True
    special = {_GROUP_OF.get(t.lower()) for t in relation.titles.values()} - {
        _GROUP_OF.get(relation.title.lower())
    }
    return group not in special


def is_vague(role: str) -> bool:
    """Whether the role says little by itself ("head", "chair"), so that its subject must be certain."""
    return role.replace(" ", "-") in _GENERIC


def guess_kind(name: str, label: str, role: str) -> str:
    """The sort of an uncatalogued subject, from its name and the role it is named with."""
    if label == "GPE":
        return "city" if role == "mayor" else "region"
    if _CENTRAL_BANK.search(name):
        return "central_bank"
    if role in _BODY_ROLES or _BODY.search(name):
        return "body"
    if role in _CLUB_ROLES or _CLUB.search(name):
        return "club"
    return "company"
