"""What the unedited model itself goes on with behind a prompt: the answer that an edit has to leave alone.

An answer is held token by token. Of its first one alone little can be held: "Ġm" begins mining and media, "ĠPeter" two founders.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.editing.tails import budget, kept_by_row
from agent.lm.generate import end_tokens, greedy
from agent.lm.load import LM

# Prompts of one pass, at most.
_ROWS = 256
# Behind these a name is over, and what follows is no answer any more.
_ENDS = frozenset(".!?;\n")


class OwnAnswers:
    """The first tokens, `tokens` at most and one at least, of the model's greedy answers; each prompt is asked once."""

    def __init__(self, lm: LM, tokens: int) -> None:
        self._lm, self._tokens = lm, tokens
        self._together = max(1, min(_ROWS, int(budget(lm) / kept_by_row(lm, 1))))
        self._ends = end_tokens(lm)
        self._known: dict[str, tuple[int, ...]] = {}

    def to(self, prompts: Sequence[str]) -> list[tuple[int, ...]]:
        """Token ids, the one that ends an answer included. Asks the model as it is now."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        found = greedy(self._lm, missing, max_new_tokens=self._tokens, batch_size=self._together)
        self._known.update((p, self._answer(ids)) for p, ids in zip(missing, found, strict=True))
        return [self._known[prompt] for prompt in prompts]

    def _answer(self, ids: Sequence[int]) -> tuple[int, ...]:
        for count, token in enumerate(ids, 1):
            if token in self._ends or not _ENDS.isdisjoint(self._lm.tokenizer.decode([token])):
                return tuple(ids[:count])
        return tuple(ids)
