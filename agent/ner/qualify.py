"""How a sentence says something: it holds, has changed, will, has ended, is for the time being, or is only
said to be so.

Everything here reads the lower-case symbol line of `symbols.py`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from agent.ner.names import COMPANY_WORDS
from agent.types import ClaimKind

END_WORDS = (
    "former|ex-?|fmr\\.?|late|then-?|former-|one-?time|ousted|deposed|disgraced|toppled|sacked|fired|"
    "outgoing|previous|previously|formerly|once|past|departing|dismissed|erstwhile|retiring|exiled|impeached|overthrown|predecessor|"
    "slain|assassinated"
)
ACTING_WORDS = "acting|interim|caretaker|temporary|provisional|stand-in"
FUTURE_WORDS = "incoming|next|prospective|nominated|soon-to-be"
HEDGED_WORDS = (
    "would-be|possible|potential|self-proclaimed|self-declared|presumptive|likely|alleged|rumou?red|aspiring"
)
_NEUTRAL = (
    "new|newly|elected|re-elected|appointed|installed|named|current|long-?time|long-serving|"
    "longest-serving|veteran|billionaire|embattled|popular|right-wing|left-wing|far-right|far-left|"
    "centre-left|centre-right|center-left|center-right|centrist|conservative|liberal|socialist|leftist|"
    "hard-?line|populist|nationalist|pro-european|reformist|authoritarian|group|global|first|female|"
    "sitting|powerful|influential|youthful|young|first-ever|jailed|imprisoned|detained|besieged|"
    "scandal-hit|reclusive|outspoken|charismatic|flamboyant|beleaguered|national|federal|republican|"
    "democratic|then-serving|freshman|co-|latest|overall|head"
)
MODIFIERS = f"(?:{END_WORDS}|{ACTING_WORDS}|{FUTURE_WORDS}|{HEDGED_WORDS}|{_NEUTRAL}|now-?)"
_SUFFIX_FUTURE = re.compile(r"-?(?:elect|designate|nominee|in-waiting)\b")
_SUFFIX_HEDGED = re.compile(r"(?:candidate|hopeful|contender|aspirant)")
_WORDS: tuple[tuple[ClaimKind, re.Pattern[str]], ...] = (
    ("end", re.compile(rf"(?<![\w-])(?:{END_WORDS})(?![\w-])")),
    ("acting", re.compile(rf"\b(?:{ACTING_WORDS})\b")),
    ("future", re.compile(rf"(?<![\w-])(?:{FUTURE_WORDS})(?![\w-])")),
    ("hedged", re.compile(rf"(?<![\w-])(?:{HEDGED_WORDS})(?![\w-])")),
)
_HEDGE = re.compile(
    r"\b(?:may|might|could|should|can|reportedly|expected|likely|unlikely|consider(?:s|ed|ing)?|weigh(?:s|"
    r"ed|ing)?|mull(?:s|ed|ing)?|eye(?:s|d|ing)?|talks?|candidates?|contenders?|favou?rites?|"
    r"front-?runners?|tipped|poised|rumou?r(?:s|ed)?|speculation|deny|den(?:ies|ied|ying)|if|whether|"
    r"unless|want(?:s|ed|ing)?|urge[sd]?|urging|seek(?:s|ing)?|sought|bid(?:s|ding)?|hop(?:e|es|ed|ing)|"
    r"aim(?:s|ed|ing)?|vow(?:s|ed)?|allegedly|possibly|perhaps|maybe|suggest(?:s|ed|ing)?|think(?:s|ing)?|"
    r"believes?|would like|called (?:for|on)|calls? (?:for|on)|push(?:es|ing)? (?:for|to)|decline[sd]?|"
    r"interview(?:ed|ing)?|shortlist(?:ed)?|linked with|trying|try to|fail(?:s|ed)? to|not|n't|never|"
    r"refus(?:e|es|ed|ing)|reject(?:s|ed|ing)?|rule[sd]? out|wrongly|falsely|running|run for|runs for|race|"
    r"campaign|vote on|ask(?:s|ed|ing)?|propos(?:es|ed|al)|doubts?|no longer|pretend(?:s|ed)?|fake|"
    r"satirical|hoax|who will)\b"
)
_FUTURE = re.compile(
    r"\b(?:plan(?:s|ned|ning)? to|will|would|shall|set to|due to|going to|to (?:appoint|name|nominate|"
    r"hire)|nominate[sd]?|nominating|nomination|designate[sd]?|agreed to|next (?:month|year|week)|"
    r"effective|from (?:january|february|march|april|may|june|july|august|september|october|november|"
    r"december))\b"
)
_INFINITIVE = re.compile(r"\bto (?:become|be|take|succeed|replace|lead|run|head|serve|start|join)\b")
_LEAVES = re.compile(
    r"^(?: ,| \( \d+ \))?(?: (?:to|will|would|is|was|were|has|had|have|been|be|being|set|due|plans|"
    r"planning|on \w+|announced he|announced she|said he|said she|said|announces|suddenly|abruptly|"
    r"unexpectedly|formally|officially|also)){0,6} (?:step(?:s|ped|ping)? (?:down|aside|back)|stand(?:s|"
    r"ing)? down|stood down|resign(?:s|ed|ing)?(?! (?:him|her|them)sel)|quit(?:s|ting)?|retire[sd]?|"
    r"retiring|depart(?:s|ed|ing)?|dies|died|dead|relinquish(?:es|ed)?|hand(?:s|ed|ing)? over(?= to| the|,)|(?:leave[s]?|left|leaving|exit(?:s|"
    r"ed|ing)?) (?:the (?:post|role|job|office|club|(?:<[DG]\d+> )?(?:-based |-headquartered )?(?:[a-z-]+ ){0,2}"
    rf"(?:unit|{COMPANY_WORDS}))|(?:his|her|their) (?:post|"
    r"role|job|position|office)|after|by mutual|in|as|at the end))\b|^(?: ,)?(?: (?:is|was|were|has been|"
    r"had been|have been|to be|being|be|will be))* (?:ousted|fired|sacked|dismissed|removed|toppled|axed|"
    r"replaced|succeeded|followed|killed|assassinated|impeached)(?= (?:as|by|next|this|after|over|in|from|on|with|amid)\b| ?[.,;]|$)|"
    r"^(?: ,)? (?:will|would|is to|was to) go (?:in|at|on|next|after|by)\b|"
    r"^ 's (?:abrupt |sudden |surprise )?(?:departure|exit|resignation|retirement|ouster|dismissal|removal|"
    r"firing|sacking|death|successor)\b"
)
_NO_NEW_TERM = re.compile(
    r"^(?: (?:will|would|does|do|did|has said|said))* (?:not|n't) (?:seek|run for|stand for|be standing for|be seeking) "
    r"(?:a |another )?(?:new |second |third |fourth |further )?(?:term|mandate|re-?election|contract)\b"
)
# "CFO from 2021 to 2024", "was mayor until last year".
_TERM_OVER = re.compile(
    r"^(?: ,)? (?:(?:from|between) (?:[a-z]+ )?\d{4} (?:to|until|and|-) (?:[a-z]+ )?\d{4}|until (?:last|earlier|recently|\d{4} ,)|"
    r"in the \d{4}s)"
)
_ARRIVES = re.compile(
    r"^ 's (?:\w+ )?(?:arrival|appointment|start|nomination|confirmation|inauguration|swearing)\b"
)
_STAYS = re.compile(
    r"\b(?:may|might|could|should|must|not|n't|never|no plans|refuse[sd]?|urge[sd]?|call(?:s|ed)? (?:on|"
    r"for)|asked|expected|reportedly|likely|considering|pressure|seek(?:s|ing)?|bid|vote|weigh(?:s|ing)?|"
    r"discuss(?:es|ing)?|reject(?:s|ed)?|attempts?|tr(?:y|ies|ying)|threat(?:en(?:s|ed)?)?|vow(?:s|ed)?|effort|motion|"
    r"petition|want(?:s|ed)?|calling (?:on|for)|demand(?:s|ed)?)\b"
)
_FIRES = re.compile(
    r"\b(?:fire[sd]?|firing|sack(?:s|ed|ing)?|oust(?:s|ed|ing)?|dismiss(?:es|ed|ing)?|remove[sd]?|removing|"
    r"axe[sd]?|toppl(?:es|ed)|parted (?:ways|company) with|part(?:s)? (?:ways|company) with|unseat(?:s|"
    r"ed)?|defeat(?:s|ed)?|beat|replac(?:es|ed|ing)|succeed(?:s|ed|ing)?|taking over from|takes over from|"
    r"took over from|drop(?:s|ped)?|depos(?:es|ed)|overthrew|overthrown|"
    r"(?:resignation|departure|dismissal|ouster|retirement|removal) (?:of|by))(?: (?:its|the|his|her|their|as|"
    r"long-?time))*\s*$"
)
_YEAR = re.compile(
    r"\b(?:in|since|during|back in|until|from)(?: (?:early|late|mid))?(?: [a-z]+)? ((?:19|20)\d\d)\b"
)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    "(?:january|february|march|april|may|june|july|august|september|october|november|december|"
    "(?:jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\\b\\.?)"
)
_DAY = r"(?P<{}>[0-3]?\d)(?:st|nd|rd|th)?"
_OF_YEAR = r"(?: ,)?(?: of)? (?P<{}>(?:19|20)\d\d)"
_WHEN = (
    rf"(?:(?:in|since|back in)(?: (?:early|late|mid|mid -))? (?:early-|late-|mid-)?(?P<m1>{_MONTH})(?:{_OF_YEAR.format('y1')})?"
    rf"|(?:on|since) {_DAY.format('d2')}(?: of)? (?P<m2>{_MONTH})(?:{_OF_YEAR.format('y2')})?"
    rf"|(?:on|since) (?P<m3>{_MONTH}) {_DAY.format('d3')}(?:{_OF_YEAR.format('y3')})?"
    r"|(?P<last>last (?:year|month))"
    r"|(?P<count>a|one|two|three|four|five|six|seven|eight|nine|ten|\d\d?) (?P<unit>week|month|year)s? ago)(?![\w-])"
)
_COUNTS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_UNIT_DAYS = {"week": 7, "month": 30, "year": 365}
# The date must stand with the taking of the office, in one clause: "took office in May", not "took office and
# said that sales fell in May".
_TAKES = (
    "appointed|named|installed|elected|hired|promoted|inaugurated|sworn in|became|took (?:office|over|charge|up|the)|"
    "assumed|joined|succeeded|replaced|started|in (?:office|charge|power|post)|moved|been"
)
_BREAK = (
    r"(?:[,;:()]|who|which|that|and|but|after|before|when|while|said|says|to|"
    r"as(?! (?:its |the |his |her )?(?:new |first )?<))(?![\w-])"
)
_TAKEN_WHEN = re.compile(rf"\b(?:{_TAKES})(?: (?!{_BREAK})\S+){{0,12}}? {_WHEN}")
_OPENS_WHEN = re.compile(rf"^{_WHEN}(?= ,| <)")
_NEAR = timedelta(days=31)  # of a date without a year so close ahead nobody knows which year is meant


def worse(a: ClaimKind, b: ClaimKind) -> ClaimKind:
    """Of two kinds, the one that says less about today."""
    order: tuple[ClaimKind, ...] = ("end", "hedged", "future", "acting", "change", "state")
    return a if order.index(a) <= order.index(b) else b


def from_modifiers(words: str, suffix: str = "") -> ClaimKind:
    """Kind from the words before a role (`former`, `acting`) and after it (`-elect`)."""
    if suffix and _SUFFIX_FUTURE.search(suffix):
        return "future"
    if suffix and _SUFFIX_HEDGED.search(suffix):
        return "hedged"
    for kind, pattern in _WORDS:
        if pattern.search(words):
            return kind
    return "state"


def of_holder(before: str, after: str) -> ClaimKind:
    """Kind of "<office> <person>" from the line before and after it: `end` where the sentence says the person
    goes."""
    if (
        _TERM_OVER.match(after)
        or _NO_NEW_TERM.match(after)
        or (_FIRES.search(before) and not _STAYS.search(before[-60:]))
    ):
        return "end"
    if _ARRIVES.match(after) and re.search(r"\b(?:ahead of|before|until|awaits?|pending)\b[^.;]*$", before):
        return "future"
    leaves = _LEAVES.match(after)
    if leaves and not _STAYS.search(leaves.group()) and not _STAYS.search(before[-25:]):
        return "end"
    return "state"


def of_event(window: str, base: ClaimKind, *, question: bool, appointed: bool = False) -> ClaimKind:
    """Kind of an appointment: `window` is the line from the clause's start to the end of the event. Who has
    been `appointed` "to succeed" somebody has been appointed; who is "to succeed" somebody has not."""
    if question or _HEDGE.search(window):
        return "hedged"
    if base == "change" and (_FUTURE.search(window) or (not appointed and _INFINITIVE.search(window))):
        return "future"
    return base


# What a person announced for an office will do with it one day.
_WILL_START = re.compile(
    r"\b(?:will|would|is to|are to|was to|is due to|was due to|is set to|is expected to|set to|due to|slated to|scheduled to) "
    r"(?:formally |officially |then |also )?(?:take (?:over|up|office|charge|the (?:helm|reins|job|post|role|position|office))|start|begin|join|arrive|assume|succeed|replace|become|"
    r"step into|be sworn|be inaugurated|lead|head|run)\b|"
    r"\b(?:takes?|taking) (?:over|up|office|charge)\b[^.;]{0,40}? (?:on|in|from|at the) (?:<[A-Z]\d+>|next|january|february|march|"
    r"april|may|june|july|august|september|october|november|december|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|the (?:end|start)|"
    r"monday|tuesday|wednesday|thursday|friday|saturday|sunday)|"
    rf"\b(?:starts?|begins?|effective|as of|from|with effect from) (?:on |in |from )?(?:next|{_MONTH}|the start|the beginning|early)\b"
)
_LEAVES_LATER = re.compile(
    r"\b(?:will|would|is to|is due to|was due to|plans to|intends to) (?:leave|step down|retire|depart|stand down|stay on until|"
    r"remain until)\b|\buntil the end of\b|\bat the end of (?:the|this|next) year\b"
)


def starts_later(line: str) -> bool:
    """Whether the line tells when somebody's new office begins, and it has not begun."""
    return _WILL_START.search(line) is not None


def leaves_later(line: str) -> bool:
    """Whether the line says that somebody is still to leave."""
    return _LEAVES_LATER.search(line) is not None


def past_date(line: str, published_at: datetime) -> datetime | None:
    """When the line says that it happened, where that is plain and before the article: the middle of the
    month, year or time that stands with the taking of the office ("took office on 5 May", "appointed in March",
    "two years ago"), else the middle of an earlier year that the line names ("in 2019"). None if it names none.
    """
    found = _OPENS_WHEN.match(line) or _TAKEN_WHEN.search(line)
    if found is not None:
        return _moment(found, published_at)
    years = [int(y) for y in _YEAR.findall(line)]
    if not years or max(years) >= published_at.year:
        return None
    return datetime(max(years), 7, 1, tzinfo=UTC)


def _moment(found: re.Match[str], published_at: datetime) -> datetime | None:
    """The middle of what a match of _WHEN names, None where that is not clearly before `published_at`."""
    if found["last"]:
        return _last(found["last"].endswith("year"), published_at)
    if found["unit"]:
        word = found["count"]
        count = _COUNTS.index(word) + 1 if word in _COUNTS else 1 if word == "a" else int(word)
        return published_at - timedelta(days=count * _UNIT_DAYS[found["unit"]])
    number = next(n for n in "123" if found[f"m{n}"])
    month = _MONTHS.index(found[f"m{number}"][:3]) + 1
    day = int(found[f"d{number}"]) if number != "1" else 0
    year = found[f"y{number}"]
    if year is None:
        return _recent(month, day, published_at)
    at = _day(int(year), month, day)
    return at if at is not None and at < published_at and _settled(at, day, published_at) else None


def _recent(month: int, day: int, published_at: datetime) -> datetime | None:
    """The last such day or month before the article."""
    at = _day(published_at.year, month, day)
    if at is None or not _settled(at, day, published_at):
        return None
    if at <= published_at:
        return at
    return None if at - published_at < _NEAR else _day(published_at.year - 1, month, day)


def _settled(at: datetime, day: int, published_at: datetime) -> bool:
    """A month without a day says nothing about an article of the same month."""
    return bool(day) or (at.year, at.month) != (published_at.year, published_at.month)


def _last(is_year: bool, published_at: datetime) -> datetime | None:
    if is_year:
        return datetime(published_at.year - 1, 7, 1, tzinfo=UTC)
    before = published_at.replace(day=1) - timedelta(days=1)
    return _day(before.year, before.month, 0)


def _day(year: int, month: int, day: int) -> datetime | None:
    """Noon of that day, of the fifteenth where `day` is 0; None for 31 June."""
    try:
        return datetime(year, month, day or 15, 12, tzinfo=UTC)
    except ValueError:
        return None
