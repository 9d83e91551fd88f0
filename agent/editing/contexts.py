"""Prefixes before a prompt, so that a key is the subject's and not one sentence's (ROME, section 3.1: sampled
prefixes).

They are the model's own words, drawn with a seed, and a function of their arguments: nothing is cached
between models.
"""

from __future__ import annotations

import re

from agent.lm.generate import sample
from agent.lm.load import LM

_OPENINGS = ("The", "In", "It", "A", "For", "As", "They", "This")


def prefixes(lm: LM, count: int, tokens: int, seed: int) -> tuple[str, ...]:
    """The empty prefix and `count` sampled ones, each a text of about `tokens` tokens that ends a sentence
    with a space.
    """
    if not count:
        return ("",)
    openings = [_OPENINGS[i % len(_OPENINGS)] for i in range(count)]
    texts = sample(lm, openings, max_new_tokens=tokens, seed=seed)
    return ("", *(_as_sentence(text) for text in texts))


def _as_sentence(text: str) -> str:
    folded = re.sub(r"\s+", " ", text).strip().rstrip(".!?,;:")
    return f"{folded}. "
