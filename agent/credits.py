"""Who says so in whose name: "the Herald reports" is the Herald's word, not a second one. Pure.

An article that credits another paper with a claim tells that paper's story. So its story is that paper's, and the
two are one voice (`agent.voices`); papers that credit each other, with nobody behind them, are one voice as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from agent.types import Article, Claim

_LEAST = 4  # letters of a name: shorter ones are words
_SAYS = r"(?:reports?|reported|says?|said|writes?|wrote|claims?|claimed|reveals?|revealed|tells?|told|learn(?:s|ed|t)|understands?|confirm(?:s|ed))"
_BY = (
    r"(?:according to|citing|quoting|reported (?:by|in)|a report (?:by|in|from)|reports (?:by|in|from)|told|credit(?:ed|ing)?(?: to)?"
    r"|(?:read|carried|published|first appeared) (?:in|by)|via|source:)"
)


def credited(
    claims: Iterable[Claim], cited: Mapping[str, Article], voices: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Pairs of article ids that tell one story: one credits the voice of the other with what both claim.

    `voices`: whose voice each article is, by its id. Sorted, each pair once.
    """
    claims = list(claims)
    names = {voice: _names(voice) for voice in set(voices.values())}
    tellers: dict[tuple[str, str, str], list[str]] = {}
    for claim in claims:
        tellers.setdefault((claim.subject, claim.relation, claim.object), []).append(claim.article_id)
    pairs: set[tuple[str, str]] = set()
    for key_tellers in tellers.values():
        for one in set(key_tellers):
            article = cited.get(one)
            if article is None or one not in voices:
                continue
            text = f"{article.title}\n{article.text}"
            for other in set(key_tellers) - {one}:
                voice = voices.get(other, "")
                if voice and voice != voices[one] and _credits(text, names[voice]):
                    pairs.add((min(one, other), max(one, other)))
    return sorted(pairs)


def _names(voice: str) -> tuple[str, ...]:
    """What others call it: as it is, and the first label of its domain."""
    label = voice.removeprefix("www.").partition(".")[0]
    found = {
        voice,
        label,
        label.replace("-", " "),
        *([voice[4:]] if voice.lower().startswith("the ") else []),
    }
    return tuple(sorted(name for name in found if len(name) >= _LEAST))


def _credits(text: str, names: Iterable[str]) -> bool:
    for name in names:
        called = (
            rf"(?:the\s+)?{re.escape(name)}(?:\s+(?:newspaper|daily|news agency|magazine|website|paper))?"
        )
        pattern = rf"(?i)\b{_BY}\s+{called}\b|\b{called}\s+(?:has\s+|had\s+|first\s+)?{_SAYS}\b"
        if re.search(pattern, text):
            return True
    return False


__all__ = ["credited"]
