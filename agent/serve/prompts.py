"""From a client's request to token ids, with what the overlay adds: a sentence in the context, and the beginning of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent.answering import OverlayMode, lead_of, told
from agent.errors import ModelError, RequestRefused
from agent.lm.chat import conversation
from agent.lm.load import LM
from agent.lm.sampling import Sampling
from agent.lm.stream import Wanted, context_of
from agent.lm.tokens import continuation
from agent.overlay import Match, Overlay
from agent.serve.order import Message, Order, Role
from agent.settings import ServeSettings
from agent.types import Fact

_TURNS: Mapping[Role, str] = {"user": "User: ", "assistant": "Assistant: ", "system": ""}
_TOO_LONG = "context_length_exceeded"
_NEXT_TURN, _ANSWER = "\nUser:", "\nAssistant:"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The answers to be written, in the order of their choices. `prompt_tokens`: of all prompts. `told`: facts of the overlay."""

    wanted: tuple[Wanted, ...]
    prompt_tokens: int
    told: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class _Text:
    """A rendered prompt; `rendered` ones hold their special tokens as text. `lead`: what the answer begins with."""

    text: str
    lead: str = ""
    rendered: bool = False
    stops: tuple[str, ...] = ()


def prepare(lm: LM, order: Order, overlay: Overlay | None, settings: ServeSettings) -> Prepared:
    """Raises RequestRefused when a prompt does not fit into the model's context, or its template refuses the conversation.

    What fits only without the overlay's sentences goes without them.
    """
    if overlay is None or settings.overlay == "off":
        return _prepared(lm, order, None, settings)
    try:
        return _prepared(lm, order, overlay, settings)
    except RequestRefused as error:
        if error.code != _TOO_LONG:
            raise
        return _prepared(lm, order, None, settings)


def _prepared(lm: LM, order: Order, overlay: Overlay | None, settings: ServeSettings) -> Prepared:
    wanted: list[Wanted] = []
    tokens, used = 0, []
    for text, match in _texts(lm, order, overlay, settings.overlay):
        ids = _encoded(lm, text)
        limit = _limit(len(ids), order, context_of(lm), settings.max_tokens)
        begin = tuple(continuation(lm, text.text, text.lead)) if text.lead else ()
        one = Wanted(
            ids, limit, stops=(*order.stops, *text.stops), begin=begin, stripped=order.kind == "chat"
        )
        tokens += len(ids)
        used += [match.fact] if match else []
        for _ in range(order.n):
            wanted.append(replace(one, sampling=_seeded(order.sampling, len(wanted))))
    return Prepared(tuple(wanted), tokens, tuple(used))


def _texts(
    lm: LM, order: Order, overlay: Overlay | None, mode: OverlayMode
) -> list[tuple[_Text, Match | None]]:
    if order.kind == "text":
        matches = [overlay.match(prompt) if overlay else None for prompt in order.prompts]
        return [
            (_completion(told(match, prompt), lead_of(match, mode)), match)
            for prompt, match in zip(order.prompts, matches, strict=True)
        ]
    asked = next((m.content for m in reversed(order.messages) if m.role == "user"), "")
    match = overlay.match(asked) if overlay and asked else None
    if lm.chat is not None:
        return [(_templated(lm, order.messages, match, lead_of(match, mode)), match)]
    return [(_plain(_with_system(order.messages, match), lead_of(match, mode)), match)]


def _completion(text: str, lead: str) -> _Text:
    return _Text(text, _spaced(text, lead))


def _plain(messages: Sequence[Message], lead: str) -> _Text:
    """For a model without a chat template. One question is the prompt itself; a conversation is written out."""
    system = [m.content for m in messages if m.role == "system"]
    said = [m for m in messages if m.role != "system"]
    if len(said) == 1 and said[0].role == "user":
        return _completion("\n".join([*system, said[0].content]), lead)
    turns = [f"{_TURNS[m.role]}{m.content}" for m in said]
    text = "\n".join([*system, *turns]) + _ANSWER
    return _Text(text, _spaced(text, lead), stops=(_NEXT_TURN,))


def _spaced(text: str, lead: str) -> str:
    return f" {lead}" if lead and text and not text[-1].isspace() else lead


def _templated(lm: LM, messages: Sequence[Message], match: Match | None, lead: str) -> _Text:
    """Through the chat template. A template that knows no system message gets the fact in front of the user's words."""
    assert lm.chat is not None
    lead = lm.chat.lead + lead if lead else ""
    try:
        return _Text(_conversation(lm, _with_system(messages, match)), lead, rendered=True)
    except ModelError as error:
        if match is None or any(m.role == "system" for m in messages):
            raise RequestRefused(
                f"the model's chat template refuses these messages: {error.__cause__ or error}",
                param="messages",
            ) from error
    return _templated(lm, _with_user(messages, match), None, lead.removeprefix(lm.chat.lead))


def _conversation(lm: LM, messages: Sequence[Message]) -> str:
    return conversation(lm.tokenizer, [{"role": m.role, "content": m.content} for m in messages])


def _with_system(messages: Sequence[Message], match: Match | None) -> list[Message]:
    """The fact in a system message in front, or at the end of the one that is there."""
    if match is None:
        return list(messages)
    first, rest = messages[0], list(messages[1:])
    if first.role != "system":
        return [Message("system", match.sentence), *messages]
    return [Message("system", f"{first.content}\n{match.sentence}".lstrip("\n")), *rest]


def _with_user(messages: Sequence[Message], match: Match) -> list[Message]:
    last = max(index for index, m in enumerate(messages) if m.role == "user")
    asked = Message("user", told(match, messages[last].content))
    return [*messages[:last], asked, *messages[last + 1 :]]


def _encoded(lm: LM, text: _Text) -> tuple[int, ...]:
    options = {"add_special_tokens": False} if text.rendered else {}
    ids = tuple(lm.tokenizer(text.text, **options)["input_ids"])
    if ids:
        return ids
    # Nothing to begin behind: the token that begins or ends a text does.
    start = lm.tokenizer.bos_token_id
    start = lm.tokenizer.eos_token_id if start is None else start
    if start is None:
        raise RequestRefused("the prompt is empty, and this model cannot begin without one", param="prompt")
    return (int(start),)


def _limit(prompt_tokens: int, order: Order, context: int, most: int) -> int:
    """How many tokens may be written. Raises RequestRefused when what was asked for does not fit."""
    room = context - prompt_tokens
    asked = order.max_tokens
    if room < (asked or 1):
        what = f"{prompt_tokens} in the prompt" + (f", {asked} for the answer" if asked else "")
        raise RequestRefused(
            f"This model's maximum context length is {context} tokens. However, you requested"
            f" {prompt_tokens + (asked or 1)} tokens ({what}). Please shorten the prompt or the answer.",
            code=_TOO_LONG,
            param="messages" if order.kind == "chat" else "prompt",
        )
    return asked or min(room, most)


def _seeded(sampling: Sampling, choice: int) -> Sampling:
    """Each choice draws for itself."""
    return replace(sampling, seed=sampling.seed + choice)
