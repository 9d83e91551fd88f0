"""Does what an approved proposal rests on still say so? Pure rules over pages that others have fetched.

    gone       the page answers 404 or 410                                     the publisher loses its voice
    corrected  it carries a notice of correction that the article did not      ... loses its voice
    changed    it is the article, and says so no more, or says that it ended    ... loses its voice
    stands     the sentence is there, or the reader finds the claim again       ... keeps it
    unread     no answer, no leave, no text, or another page altogether        ... keeps it: that proves nothing

For each publisher the newest page that could be read decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from agent.eligible import fold, listed
from agent.types import Article, Claim, Page
from agent.voices import SUPPORT, Evidence, enough

Look = Literal["stands", "gone", "corrected", "changed", "unread"]
PAGES_PER_VOICE = 2
_LOST = {
    "gone": "its page is gone",
    "corrected": "its page carries a correction",
    "changed": "its page does not say so any more",
}
# At the head of a line, or in the words that papers use of themselves: "correction" alone is also what markets do.
_CORRECTION = re.compile(
    r"(?im)^\W{0,3}(?:correction|corrections and clarifications|clarification|retraction)\b\W"
    r"|\b(?:an? (?:earlier|previous|original) version of this (?:article|story|report|page)"
    r"|this (?:article|story|report) (?:has been|was|is being) (?:corrected|retracted|withdrawn|removed))\b"
)
_SAME_TITLE = 0.6  # of the title's words must be on the page, for it to be the article's


def look(claim: Claim, article: Article, page: Page, found: Iterable[Claim]) -> Look:
    """What `page` says today of `claim`, which was read in `article`. `found`: what the reader finds on the
    page about the same subject, relation and object.
    """
    if page.status != "read":
        return page.status
    if _CORRECTION.search(page.text) and not _CORRECTION.search(f"{article.title}\n{article.text}"):
        return "corrected"
    text, kinds = f" {fold(page.text)} ", {other.kind for other in found}
    if "end" in kinds:
        return "changed"
    if kinds & set(SUPPORT) or f" {fold(claim.sentence)} " in text:
        return "stands"
    return "changed" if _is_page_of(article, text) else "unread"


def _is_page_of(article: Article, text: str) -> bool:
    """Whether the page is the article's at all, and not a wall of consent, a login or the front page."""
    words = fold(article.title or article.text[:200]).split()
    there = sum(f" {word} " in text for word in words)
    return bool(words) and there >= _SAME_TITLE * len(words)


def to_look_at(evidence: Iterable[Evidence]) -> tuple[str, ...]:
    """The articles whose pages decide: the newest of each publisher, by id."""
    by_voice: dict[str, list[Evidence]] = {}
    for item in sorted(evidence, key=lambda e: (e.known_at, e.claim.article_id), reverse=True):
        by_voice.setdefault(item.publisher, []).append(item)
    chosen = {
        article_id
        for items in by_voice.values()
        for article_id in list(dict.fromkeys(e.claim.article_id for e in items))[:PAGES_PER_VOICE]
    }
    return tuple(sorted(chosen))


def lost(evidence: Iterable[Evidence], looks: Mapping[str, Look]) -> dict[str, Look]:
    """Publisher -> why it has lost its voice. `looks`: by claim id; a claim that is missing was not looked at."""
    found: dict[str, Look] = {}
    for item in sorted(evidence, key=lambda e: (e.known_at, e.claim.id)):
        seen = looks.get(item.claim.id, "unread")
        if seen != "unread":
            found[item.publisher] = seen
    return {publisher: seen for publisher, seen in found.items() if seen in _LOST}


def objection(evidence: Sequence[Evidence], gone: Mapping[str, Look], needed: int) -> str:
    """Why the proposal must go back to the reviewer, "" where it need not: nobody was lost, or enough remain."""
    remaining = [item for item in evidence if item.publisher not in gone]
    if not gone or enough(remaining, needed):
        return ""
    told = "; ".join(f"{publisher}: {_LOST[seen]}" for publisher, seen in sorted(gone.items()))
    others = sorted({item.publisher for item in remaining})
    left = f"only {listed(others)} of {needed} needed remain" if others else "nobody else says so"
    return f"read again before it was applied: {told}; {left}"
