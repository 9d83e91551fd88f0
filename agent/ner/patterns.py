"""The grammar of offices: regular expressions over symbol lines (see `symbols.py`).

Slots: `{S}` subject, `{R}` role, `{P}` person, `{M}` words between them that qualify ("former", "acting").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent.ner.names import COMPANY_WORDS
from agent.ner.qualify import MODIFIERS
from agent.types import ClaimKind

Sort = Literal["holder", "event", "leave"]
# What may not follow a subject: then the office is one of a part of it.
_UNIT = (
    r"(?! (?:'s (?!board|(?:regional |national |federal |state |provincial )?government|$)|at (?:the )?<|unit|arm|division|subsidiary|business|operations|branch|chapter|"
    r"affiliate|basketball|handball|volleyball|futsal|women|ladies|reserves?|u-?\d\d|under-\d\d|foundation|"
    r"youth|academy))"
)
_APPOINT = (
    "(?:re-?)?(?:name|appoint|elect|promote|install|confirm|announce|unveil|recruit)(?:s|d|ed)?|hire[sd]?|"
    "hiring|tap(?:s|ped)?|pick(?:s|ed)?|select(?:s|ed)?|choos(?:es|e)|chose|chosen|naming|appointing|"
    "electing|sw(?:ears|ore) in|poach(?:es|ed)?|nominat(?:es|ed|ing)|propos(?:es|ed|ing)|designat(?:es|ed)|turn(?:s|ed)? to"
)
_PASSIVE = (
    "(?:re-?)?(?:elected|named|appointed|chosen|picked|selected|hired|confirmed|installed|inaugurated|"
    "sworn in|nominated|promoted|tapped|crowned|unveiled|announced)"
)
_TAKES = (
    r"becom(?:es|e|ing)|became|tak(?:es|e|ing|en) (?:over|office|charge)|took (?:over|office|charge)|"
    r"start(?:s|ed)?|beg(?:ins|an|in)|return(?:s|ed)?|assum(?:es|ed)|step(?:s|ped)? (?:in|up)|join(?:s|"
    r"ed)? <[OXY](?P<s4>\d+)>"
)
_SUCCEEDS = "succeed(?:s|ed|ing)?|replac(?:es|ed|e|ing)|took over from|tak(?:es|e|ing|en) over from"
_LEAVES = (
    "resign(?:s|ed|ing)?|step(?:s|ped|ping)? down|stood down|stand(?:s|ing)? down|quit(?:s)?|retir(?:es|ed|"
    "ing)|fired|ousted|sacked|removed|dismissed|depart(?:s|ed)?|left|leaves"
)
_DISMISS = (
    "remov(?:es|ed|ing)|dismiss(?:es|ed|ing)?|sack(?:s|ed|ing)?|fir(?:es|ed|ing)|oust(?:s|ed|ing)?|ax(?:es|ed)|"
    "drop(?:s|ped)|strip(?:s|ped)"
)
# Repetitions are possessive and bounded. "today" is also "[a-z]+day" and "new" stands in {DET} and {M}: a line of
# thirty of them had a plain star try every way to share them out.
_AUX = (
    r"(?P<aux>(?:(?:has|have|had|is|was|were|been|be|being|to|will|would|may|might|could|should|on [a-z]+|"
    r"also|today|not|n't|never|just|now|again|set|due|expected|widely|likely|[a-z]+ly|[a-z]+day|he|she|"
    r"that|who|later|then|reportedly|in [a-z]+ \d+|in \d+) ){0,20}+)"
)
_DESCRIBED = r"(?:(?!as |to )(?:<[ODGXYRZ]\d+>|[a-z][\w'-]*|'s|&|,) ){0,7}?"
# Up to three words that may describe a subject ("of the German carmaker BMW"), none of which opens another
# phrase.
_PLAIN = (
    r"(?:(?!(?:to|in|on|for|from|and|with|who|at|by|or|as|of|is|was|that|said|says)\b)[a-z][\w'-]* ){0,3}?"
)
_NAME = r"<[GDOXY](?P<s>\d+)>"
_PARENT = r"<[OXY]\d+> 's (?:<[DG]\d+> )?(?:unit|arm|subsidiary|division|affiliate) "
_BASED = r"(?:(?:-based|-headquartered) )?"
_STATE_OF = r"(?:(?:[a-z-]+ )?(?:state|province|region|city|island|territory|republic|county|emirate|canton|capital) of )?"
_SLOTS: Mapping[str, str] = {
    "{S}": rf"(?:the )?{_NAME}",
    "{P}": r"<[PX](?P<p>\d+)>",
    "{Q}": r"<[PX](?P<q>\d+)>",
    "{R}": (
        r"<R(?P<r>\d+)>(?P<n>(?: ,)? (?:-elect|-designate|elect|designate|nominee|in-waiting|candidate|"
        r"hopeful|contender))?"
    ),
    "{M}": rf"(?P<m>(?:{MODIFIERS}(?: ,| and)? ){{0,12}}+)",
    "{M0}": rf"(?P<m0>(?:{MODIFIERS} ){{0,12}}+)(?:(?:the )?<[GDOXY]\d+> (?:and|,|&) ){{0,2}}",
    "{M1}": rf"(?P<m1>(?:{MODIFIERS}(?: ,)? ){{0,12}}+)",
    "{DET}": r"(?:(?:the|a|an|its|his|her|their|our|being|be|become|serve|new|next) ){0,8}+",
    "{AUX}": _AUX,
    "{DESC}": _DESCRIBED,
    "{ASIDE}": r"(?: , [^,]{2,90} ,| \( [^)]{1,20} \))?",
    "{WHO}": r"(?: ,(?= who ))?",
    "{WHEN}": r"(?: (?:on|in|last|by) [a-z0-9<>]+(?: \d+)?)?",
    "{OF}": rf"(?: (?:of|at|for|with) (?:the )?(?:<[DGOXY]\d+> (?!'s)|<[DG]\d+> 's |{_PARENT})?{_BASED}{_PLAIN}{_STATE_OF}{_NAME}{_UNIT})",
    "{OF2}": (rf"(?: (?:of|at|for|with) (?:the )?(?:<[DG]\d+> (?!'s))?{_PLAIN}<[GDOXY](?P<s2>\d+)>{_UNIT})?"),
    "{S3}": r"(?:(?:the )?<[GDOXY](?P<s3>\d+)> (?:'s )?)?",
    "{STOP}": r"(?= ?(?:[,.;:)\"'!?]|$|and |who |said |says |told |in |on |to |after |as |from |- ))",
    "{OWN}": r"(?:company|bank|club|group|firm|country|team|carmaker|airline) 's",
}
# What is taken on in an event: "[as] its new {role} [of {subject}]".
_OFFICE = "{DET}{M}{S3}{M1}{R}{OF2}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way to say it. `bare` patterns leave the subject to the context; `sort` tells how the kind is
    found."""

    name: str
    regex: re.Pattern[str]
    sort: Sort
    base: ClaimKind
    score: float
    bare: bool = False


_EVENTS: tuple[tuple[str, str, Sort, ClaimKind, float, bool], ...] = (
    (
        "passive",
        rf"{{P}}{{ASIDE}}{{WHO}} {{AUX}}(?P<verb>{_PASSIVE}){{WHEN}} (?:by <[A-Z]\d+> )?"
        rf"(?:as |to be |to become |to serve as |to )?{_OFFICE}",
        "event",
        "change",
        0.9,
        False,
    ),
    (
        "becomes",
        rf"{{P}}{{ASIDE}}{{WHO}} {{AUX}}(?P<verb>{_TAKES}){{WHEN}} (?:as |the role of |the post of )?{_OFFICE}",
        "event",
        "change",
        0.85,
        False,
    ),
    (
        "to succeed",
        rf"(?<![\w-])(?P<verb>{_APPOINT}) {{DESC}}{{P}}{{ASIDE}} "
        rf"to (?:succeed|replace|take over from) {{DESC}}{{Q}} "
        rf"as {_OFFICE}",
        "event",
        "change",
        0.9,
        True,
    ),
    (
        "succeeds",
        rf"{{P}}{{ASIDE}} {{AUX}}(?P<verb>{_SUCCEEDS}) {{DESC}}(?:{{Q}}|him|her|them) (?:on [a-z]+ )?as "
        rf"{_OFFICE}",
        "event",
        "change",
        0.9,
        False,
    ),
    (
        "names",
        rf"(?<![\w-])(?P<verb>{_APPOINT}) {{DESC}}{{P}}{{ASIDE}} "
        rf"(?:as |to be |to become |to serve as |, |to the (?:post|role) of )?{_OFFICE}",
        "event",
        "change",
        0.9,
        True,
    ),
    (
        "appointment",
        rf"(?P<verb>appointment|election|nomination|promotion|installation) of {{DESC}}{{P}}{{ASIDE}} (?:as |to be |to (?:the post of )?)"
        rf"{_OFFICE}",
        "event",
        "change",
        0.8,
        True,
    ),
    (
        "his appointment",
        rf"{{P}} 's (?P<verb>appointment|election|nomination|promotion) (?:as |to be |to (?:the post of )?){_OFFICE}",
        "event",
        "change",
        0.8,
        True,
    ),
    (
        "replaced with",
        r"(?P<verb>replac(?:es|ed|ing)) {DET}{M}{S3}{M1}{R}{OF2} {Q} with {DESC}{P}",
        "event",
        "change",
        0.8,
        True,
    ),
    (
        "acts",
        rf"{{P}}{{ASIDE}} {{AUX}}(?P<verb>acts?|acted|acting|serv(?:es?|ed|ing) (?:in the interim|temporarily)|fill(?:s|ed|ing)? in|"
        rf"stand(?:s|ing)? in|stood in) as {_OFFICE}",
        "event",
        "acting",
        0.85,
        False,
    ),
    (
        "to run",
        rf"(?<![\w-])(?P<verb>{_APPOINT}) {{DESC}}{{P}}{{ASIDE}} to (?P<lead>lead|run|head) {{S}}{_UNIT}",
        "event",
        "future",
        0.8,
        False,
    ),
    (
        "dismissed",
        rf"(?<![\w-])(?:{_DISMISS}) {{DESC}}{{P}}{{ASIDE}} (?:as|from (?:his|her|the) (?:role|post|position|job) as) {_OFFICE}",
        "leave",
        "end",
        0.9,
        True,
    ),
    (
        "leaves",
        rf"{{P}}{{ASIDE}} {{AUX}}(?:{_LEAVES})(?: on [a-z]+)? "
        rf"(?:as|(?:from )?(?:his|her|their|the) (?:role|post|position|job) as) {_OFFICE}",
        "leave",
        "end",
        0.9,
        False,
    ),
)
_HOLDERS: tuple[tuple[str, str, float, bool], ...] = (
    # a person, then the office
    (
        "person, role of",
        r"{P} ,(?: \d+ ,)? (?:who (?P<was>is|was|had been|has been|serves as|served as|became) )?(?:the |a |an |"
        r"also |its )*{M}{R}{OF}",
        0.9,
        False,
    ),
    (
        "person, subject role",
        r"{P} ,(?: \d+ ,)? (?:who (?P<was>is|was|has been|had been) )?(?:the |a )?{M0}{S} (?:'s )?{M}{R}(?! <[PX]){STOP}",
        0.85,
        False,
    ),
    (
        "person is role of",
        r"{P}(?: \( [^)]{1,60} \))? (?P<was>is|(?:will |to )?(?:remains?|stays?|stayed|continues?)(?: on)?(?: as)?|was|has been|had been|served as|serves as|serving as|"
        r"as) (?:now |still |also |currently )?(?:(?:a|an) (?:<[DGXY]\d+> )?(?:[a-z-]+ ){1,5}"
        r"(?:and|who) (?:is |was )?)?(?:the |a |an )?{M}{R}{OF}",
        0.85,
        False,
    ),
    # the office, then the person
    (
        "role of subject, person",
        r"{M}{R}{OF}(?: [a-z-]+){0,3} , {P}(?= ?(?:[,.;)]|$|and |who ))",
        0.85,
        False,
    ),
    ("role of subject person", r"{M}{R}{OF} {P}", 0.85, False),
    ("subject role is person", r"{M0}{S} (?:'s )?{M}{R} (?:is|remains) {P}", 0.85, False),
    (
        "subject has role person",
        r"{S} (?:has|have|gets?|welcomes?) (?:a |an |its |their )?{M}{R} (?:, |in ){P}",
        0.8,
        False,
    ),
    ("subject role person", r"{M0}{S} (?:'s )?{M}{R} (?:is |, )?{P}", 0.95, False),
    (
        "counterpart",
        r"(?:<[PX]\d+>|\b(?:he|she)\b) [^.;]{0,80}?(?:his|her|the) {M0}{S} (?P<same>counterpart) (?:, )?{P}",
        0.8,
        False,
    ),
    (
        "and role person",
        r"{S} (?:'s )?(?:[a-z-]+ ){0,2}<[RZ]\d+> <[PX]\d+> (?:, and|,|and|&) {M}{R} {P}",
        0.85,
        False,
    ),
    # the office and the person; the subject is somewhere around
    ("person, its role", r"{P} , (?:its|the {OWN}) {M}{R}{STOP}", 0.7, True),
    (
        "person, role of the company",
        rf"{{P}} ,(?: \d+ ,)? (?:the )?{{M}}{{R}} (?:of|at) the (?P<company>(?:<[DG]\d+> (?:-based |-headquartered )?)?(?:[a-z-]+ ){{0,2}}"
        rf"{COMPANY_WORDS})",
        0.7,
        True,
    ),
    ("role person", r"(?P<d>(?:its|the|their|his|her|(?:the |its ){OWN}) )?{M}{R} (?:, )?{P}", 0.7, True),
)


def role_patterns() -> tuple[Pattern, ...]:
    """The patterns in the order in which they may claim a role; each role phrase serves one pattern only.

    Appointments and departures come first: they hold the plain appositions inside them.
    """
    events = (
        Pattern(n, _compile(source), sort, base, score, bare)
        for n, source, sort, base, score, bare in _EVENTS
    )
    holders = (
        Pattern(n, _compile(source), "holder", "state", score, bare) for n, source, score, bare in _HOLDERS
    )
    return (*events, *holders)


def _compile(source: str) -> re.Pattern[str]:
    for slot, regex in _SLOTS.items():
        source = source.replace(slot, regex)
    return re.compile(source)
