"""What a client asks for, read from its JSON and checked as far as that goes without the model.

Strict: a key that would change the answer and is not supported is refused by name, and so is one that nobody knows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from agent.errors import RequestRefused
from agent.lm.sampling import GREEDY, Sampling
from agent.settings import ServeSettings

Kind = Literal["chat", "text"]
Role = Literal["system", "user", "assistant"]
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_COMMON = {"model", "max_tokens", "temperature", "top_p", "seed", "n", "stop", "stream", "stream_options"}
_KNOWN: Mapping[Kind, set[str]] = {
    "chat": _COMMON | {"messages", "max_completion_tokens"},
    "text": _COMMON | {"prompt"},
}
# They say something about the client, not about the answer.
_IGNORED = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}  # fmt: skip
# What is not supported, with the values that ask for nothing.
_NOTHING: Mapping[str, Collection[Any]] = {
    "echo": [False], "best_of": [1], "suffix": [""], "logit_bias": [{}], "presence_penalty": [0, 0.0],
    "frequency_penalty": [0, 0.0], "tools": [[]], "tool_choice": ["none", "auto"], "functions": [[]],
    "function_call": ["none", "auto"], "response_format": [{"type": "text"}], "modalities": [["text"]],
    "audio": [], "prediction": [], "reasoning_effort": ["none"], "web_search_options": [], "logprobs": [False],
    "top_logprobs": [0],
}  # fmt: skip
_MOST_STOPS, _LONGEST_STOP = 16, 200
_SHORT_ANSWER = 16
_SEEDS = 1 << 62


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Order:
    """One request: the `messages` of a chat, or `prompts` to be continued; `n` answers to each. `max_tokens` None: as long as it goes."""

    kind: Kind
    model: str
    messages: tuple[Message, ...] = ()
    prompts: tuple[str, ...] = ()
    n: int = 1
    max_tokens: int | None = None
    sampling: Sampling = GREEDY
    stops: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False

    @property
    def rows(self) -> int:
        """How many answers are to be written."""
        return self.n * (len(self.prompts) if self.kind == "text" else 1)


def read_json(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body. Raises RequestRefused."""

    def constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        found = json.loads(body, parse_constant=constant)
        # Half a surrogate pair is in no text, and no tokenizer takes it.
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise RequestRefused(f"the body is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise RequestRefused("the body must be a JSON object")
    return found


def order_of(body: Mapping[str, Any], kind: Kind, settings: ServeSettings, *, seed: int) -> Order:
    """The checked request. `seed` stands in where the client names none. Raises RequestRefused."""
    given = {key: value for key, value in body.items() if value is not None}
    _check_keys(given, kind)
    n = _integer(given, "n", 1, least=1, most=settings.batch)
    order = Order(
        kind=kind,
        model=_string(given, "model"),
        messages=_messages(given.get("messages")) if kind == "chat" else (),
        prompts=_prompts(given.get("prompt")) if kind == "text" else (),
        n=n,
        max_tokens=_max_tokens(given, kind, settings.max_tokens),
        sampling=Sampling(
            _number(given, "temperature", settings.temperature, 0, 2),
            _number(given, "top_p", 1.0, 0, 1),
            _integer(given, "seed", seed) % _SEEDS,
        ),
        stops=_stops(given.get("stop", [])),
        stream=_flag(given, "stream"),
        include_usage=_include_usage(given),
    )
    if order.rows > settings.batch:
        raise RequestRefused(
            f"{order.rows} answers were asked for in one request (prompts times n); at most {settings.batch}",
            param="prompt",
        )
    return order


def _check_keys(given: Mapping[str, Any], kind: Kind) -> None:
    for key, value in given.items():
        if key in _KNOWN[kind] or key in _IGNORED:
            continue
        if key not in _NOTHING:
            raise RequestRefused(f"unknown key {key!r}", code="unknown_parameter", param=key)
        if not any(value == nothing and type(value) is type(nothing) for nothing in _NOTHING[key]):
            raise RequestRefused(
                f"{key!r} is not supported here; leave it out", code="unsupported_parameter", param=key
            )


def _messages(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise RequestRefused("'messages' must be a list of at least one message", param="messages")
    return tuple(_message(entry, f"messages[{index}]") for index, entry in enumerate(value))


def _message(entry: object, where: str) -> Message:
    if not isinstance(entry, dict):
        raise RequestRefused(f"{where} must be an object with role and content", param=where)
    role = entry.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise RequestRefused(
            f"{where}.role must be system, developer, user or assistant; tools are not supported",
            param=f"{where}.role",
        )
    if entry.get("tool_calls") or entry.get("function_call"):
        raise RequestRefused(f"{where}: tool calls are not supported", param=f"{where}.tool_calls")
    content = entry.get("content")
    if content is None and role == "assistant":
        content = ""
    if isinstance(content, list):
        content = "".join(_part(part, f"{where}.content[{i}]") for i, part in enumerate(content))
    if not isinstance(content, str):
        raise RequestRefused(f"{where}.content must be text", param=f"{where}.content")
    return Message(_ROLES[role], content)


def _part(part: object, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return cast(str, part["text"])
    raise RequestRefused(f"{where} is not text; only text is supported", param=where)


def _prompts(value: object) -> tuple[str, ...]:
    prompts = [value] if isinstance(value, str) else value
    if not isinstance(prompts, list) or not prompts or not all(isinstance(p, str) and p for p in prompts):
        raise RequestRefused(
            "'prompt' must be a text or a list of texts; token ids are not supported", param="prompt"
        )
    return tuple(prompts)


def _stops(value: object) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if (
        not isinstance(stops, list)
        or len(stops) > _MOST_STOPS
        or not all(isinstance(stop, str) and 0 < len(stop) <= _LONGEST_STOP for stop in stops)
    ):
        raise RequestRefused(
            f"'stop' must be a text or a list of at most {_MOST_STOPS} texts of 1 to {_LONGEST_STOP} characters",
            param="stop",
        )
    return tuple(stops)


def _max_tokens(given: Mapping[str, Any], kind: Kind, most: int) -> int | None:
    """The newer key before the older; OpenAI's default for completions, none for a chat."""
    name = "max_completion_tokens" if "max_completion_tokens" in given else "max_tokens"
    if name not in given:
        return None if kind == "chat" else min(_SHORT_ANSWER, most)
    return _integer(given, name, 0, least=1, most=most)


def _include_usage(given: Mapping[str, Any]) -> bool:
    options = given.get("stream_options", {})
    if not isinstance(options, dict) or set(options) - {"include_usage", "include_obfuscation"}:
        raise RequestRefused("'stream_options' may hold include_usage only", param="stream_options")
    if options and not given.get("stream"):
        raise RequestRefused("'stream_options' goes with stream: true", param="stream_options")
    return _flag(options, "include_usage")


def _string(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise RequestRefused(f"{name!r} must be a text; GET /v1/models tells the name", param=name)
    return value


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise RequestRefused(f"{name!r} must be true or false", param=name)
    return value


def _number(given: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = given.get(name, default)
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or not low <= value <= high:
        raise RequestRefused(f"{name!r} must be a number from {low:g} to {high:g}", param=name)
    return float(value)


def _integer(
    given: Mapping[str, Any], name: str, default: int, *, least: int | None = None, most: int | None = None
) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestRefused(f"{name!r} must be a whole number", param=name)
    if (least is not None and value < least) or (most is not None and value > most):
        raise RequestRefused(f"{name!r} must be between {least} and {most}, got {value}", param=name)
    return value
