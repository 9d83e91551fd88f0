"""A language model behind an OpenAI-compatible endpoint: one question, one answer, in JSON by a schema.

llama.cpp, Ollama, vLLM and others speak `/v1/chat/completions`. Whether a server honours `response_format` cannot
be told from its answer, so the answer is parsed here the same way in any case; a server that refuses the
parameter (400, 422) is asked once more without it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from agent.errors import InputError, SourceError
from agent.sources.http import Client, Response, shown

ResponseFormat = Literal["json_schema", "json_object", "none"]
MAX_ANSWER_BYTES = 1 << 20
_MAX_TOKENS = 2_000
_UNSUPPORTED = (400, 422)
# An answer may have words around its JSON, and thinking aloud before them.
_THOUGHT = re.compile(r"(?s)^\s*<think>.*?</think>")
_BEGINNING = re.compile(r"[{\[]")
_MAX_BEGINNINGS = 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, and how. `url` ends before `/chat/completions`; `key` is kept out of every message."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    allow_private: bool = True
    response_format: ResponseFormat = "json_schema"


@dataclass(frozen=True, slots=True)
class Chat:
    """`Chat(endpoint, client).ask(...)`; the client's `timeout_s` and `max_bytes` bound each answer."""

    endpoint: Endpoint
    client: Client

    def ask(self, system: str, user: str, schema: Mapping[str, Any]) -> Any:
        """The model's answer as parsed JSON, at temperature 0. It need not follow `schema`: check it.

        Raises:
            SourceError: the server is away, too slow, fails, refuses us, or sends without end.
            InputError: it answered, and what it said is a refusal, cut off, or no JSON.
        """
        answer = self._post(system, user, schema, self.endpoint.response_format)
        if answer.status in _UNSUPPORTED and self.endpoint.response_format != "none":
            answer = self._post(system, user, schema, "none")
        if answer.status != 200:
            raise SourceError(f"{self._name()} answers {answer.status}: {self._excerpt(answer.body)}")
        return self._parsed(_content(self._envelope(answer.body), self._name()))

    def _post(
        self, system: str, user: str, schema: Mapping[str, Any], response_format: ResponseFormat
    ) -> Response:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": 0,
            "max_tokens": _MAX_TOKENS,
            "stream": False,
        }
        if response_format == "json_schema":
            named = {"name": "claims", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif response_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.endpoint.key:
            headers["Authorization"] = f"Bearer {self.endpoint.key}"
        parts = urlsplit(self.endpoint.url)
        host = parts.hostname or ""
        return self.client.post(
            f"{self.endpoint.url.rstrip('/')}/chat/completions",
            json.dumps(body).encode(),
            headers,
            private_host=host if self.endpoint.allow_private else "",
            private_only=bool(self.endpoint.key) and parts.scheme == "http",
        )

    def _envelope(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as problem:
            raise InputError(f"{self._name()} answers with no JSON: {self._excerpt(body)}") from problem

    def _parsed(self, content: str) -> Any:
        found = _longest_json(_THOUGHT.sub("", content))
        if found is not None:
            return found
        raise InputError(
            f"the model at {self._name()} answers with no JSON: {self._excerpt(content.encode('utf-8', 'replace'))}"
        )

    def _excerpt(self, body: bytes) -> str:
        """The beginning of what a server said, in ASCII; servers may quote the key that they were sent."""
        text = body.decode("utf-8", "replace")
        if self.endpoint.key:
            text = text.replace(self.endpoint.key, "***")
        return ascii(" ".join(text.split())[:160])[1:-1] or "nothing"

    def _name(self) -> str:
        return shown(self.endpoint.url)


def _longest_json(text: str) -> Any:
    """The longest object or list that stands in `text`, None if there is none."""
    decoder, best, longest, at = json.JSONDecoder(), None, 0, 0
    for _ in range(_MAX_BEGINNINGS):
        start = _BEGINNING.search(text, at)
        if start is None:
            break
        try:
            value, at = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            at = start.end()
            continue
        if at - start.start() > longest:
            best, longest = value, at - start.start()
    return best


def _content(envelope: Any, name: str) -> str:
    """The words of the first choice. Raises InputError where there are none, or not all of them."""
    try:
        choice = envelope["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError) as problem:
        raise InputError(
            f"{name} answers without choices[0].message; is it an OpenAI-compatible endpoint?"
        ) from problem
    if not isinstance(message, dict):
        raise InputError(f"{name} answers with a message that is no object")
    if message.get("refusal"):
        raise InputError(f"the model at {name} refuses to answer")
    if finish == "length":
        raise InputError(
            f"the answer of the model at {name} is cut off after {_MAX_TOKENS} tokens, or its context is full"
        )
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise InputError(f"the model at {name} answers with nothing (finish_reason {ascii(finish)[:40]})")
    return content
