"""The JSON of OpenAI's API, with what is ours beside it: the revision in `system_fingerprint`, and `factd`, which other servers lack."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from agent.errors import RequestRefused
from agent.serve.order import Kind, Order
from agent.serve.served import Current
from agent.serve.ticket import Started, Text
from agent.types import Fact

_KINDS = {401: "authentication_error", 429: "rate_limit_error"}
_OBJECTS: Mapping[tuple[Kind, bool], str] = {
    ("chat", False): "chat.completion", ("chat", True): "chat.completion.chunk",
    ("text", False): "text_completion", ("text", True): "text_completion",
}  # fmt: skip
# The rest of the body is not read.
_UNREAD = (408, 413)
DONE = b"data: [DONE]\n\n"
Record = dict[str, Any]


def fact_record(fact: Fact) -> Record:
    return {"subject": fact.subject, "relation": fact.relation, "object": fact.object}


def error_record(error: RequestRefused) -> Record:
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": str(error),
            "type": _KINDS.get(error.status, kind),
            "param": error.param or None,
            "code": error.code or None,
        }
    }


def error_headers(error: RequestRefused) -> dict[str, str]:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    if error.status in _UNREAD:
        headers["Connection"] = "close"
    return headers | ({"WWW-Authenticate": "Bearer"} if error.status == 401 else {})


def headers_of(started: Started) -> dict[str, str]:
    """Names may be in any script, headers may not: they are percent-encoded."""
    told = ", ".join(f"{quote(f.subject, safe='')}/{quote(f.relation, safe='')}" for f in started.told)
    return {"X-Factd-Revision": str(started.current.id)} | ({"X-Factd-Overlay": told} if told else {})


def event(record: Record) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(record, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def revision_record(current: Current) -> Record:
    return {
        "object": "factd.revision",
        "revision": current.id,
        "system_fingerprint": current.fingerprint,
        "facts": current.facts,
        "overlay": [fact_record(fact) for fact in current.beside],
    }


@dataclass(frozen=True, slots=True)
class Reply:
    """What all records of one answer have in common. `created_at_s`: seconds since 1970."""

    order: Order
    model: str
    started: Started
    created_at_s: int
    id: str = field(default_factory=lambda: secrets.token_hex(12))

    def whole(self, texts: Sequence[str], ends: Sequence[Text]) -> Record:
        """The answer in one piece: `texts[i]` is choice i, `ends[i]` its last event."""
        choices = [self._choice(i, text, ends[i].finish) for i, text in enumerate(texts)]
        return self._record(choices, stream=False) | {
            "usage": self._usage(ends),
            "factd": self._factd(),
        }

    def opening(self) -> list[Record]:
        """The first chunks of a stream, one a choice."""
        choices = [self._delta(i, {"role": "assistant", "content": ""}, "") for i in range(self.order.rows)]
        first, *rest = [self._chunk([choice]) for choice in choices]
        return [first | {"factd": self._factd()}, *rest]

    def chunk(self, text: Text) -> Record:
        return self._chunk([self._delta(text.choice, {"content": text.text}, text.text)])

    def ending(self, text: Text) -> Record:
        return self._chunk([self._delta(text.choice, {}, "", text.finish)])

    def usage(self, ends: Sequence[Text]) -> Record:
        """The last chunk, of a stream that is to tell what it used."""
        return self._record([], stream=True) | {"usage": self._usage(ends)}

    def _choice(self, index: int, text: str, finish: str | None) -> Record:
        if self.order.kind == "chat":
            message = {"role": "assistant", "content": text, "refusal": None}
            return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}

    def _delta(self, index: int, delta: Record, text: str, finish: str | None = None) -> Record:
        said: Record = {"delta": delta} if self.order.kind == "chat" else {"text": text}
        return {"index": index, **said, "logprobs": None, "finish_reason": finish}

    def _chunk(self, choices: list[Record]) -> Record:
        return self._record(choices, stream=True) | ({"usage": None} if self.order.include_usage else {})

    def _record(self, choices: list[Record], *, stream: bool) -> Record:
        return {
            "id": f"{'chatcmpl' if self.order.kind == 'chat' else 'cmpl'}-{self.id}",
            "object": _OBJECTS[self.order.kind, stream],
            "created": self.created_at_s,
            "model": self.model,
            "system_fingerprint": self.started.current.fingerprint,
            "choices": choices,
        }

    def _usage(self, ends: Sequence[Text]) -> Record:
        written = sum(end.tokens for end in ends)
        read = self.started.prompt_tokens
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def _factd(self) -> Record:
        told = [fact_record(fact) for fact in self.started.told]
        return {"revision": self.started.current.id, "overlay": told}
