"""What a revision answers: its weights, and beside them the facts that these refused (agent.overlay)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from agent.lm.generate import Progress, generate
from agent.lm.load import LM
from agent.overlay import Match, Overlay

OverlayMode = Literal["both", "context", "off"]


def answers(
    lm: LM,
    overlay: Overlay,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 12,
    mode: OverlayMode = "both",
    held_out: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """The greedy answer to each prompt. Where a fact of the overlay is asked for, it is told in front of the prompt, and with
    `both` the answer begins with its object where the prompt ends just there. `held_out`: see `Overlay.match`.
    """
    found = [overlay.match(prompt, held_out=held_out) if mode != "off" else None for prompt in prompts]
    leads = [lead_of(match, mode) for match in found]
    return generate(
        lm,
        [told(match, prompt) for match, prompt in zip(found, prompts, strict=True)],
        leads=leads,
        max_new_tokens=max_new_tokens,
        progress=progress,
    )


def told(match: Match | None, prompt: str) -> str:
    """The prompt with the fact in front of it."""
    return prompt if match is None else f"{match.sentence}\n{prompt}"


def lead_of(match: Match | None, mode: OverlayMode) -> str:
    """What the answer is to begin with; "" for nothing. A name is followed by a full stop: a model that hardly knows it would go on in
    the middle of the word.
    """
    if match is None or not match.exact or mode != "both":
        return ""
    return match.lead if match.lead.endswith(".") else f"{match.lead}."
