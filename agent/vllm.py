"""The few routes of a vLLM server that a push needs: what it serves, adapters in and out, one completion.

vLLM keeps loaded adapters by name. It has the routes for loading only when it was started with `VLLM_ALLOW_RUNTIME_LORA_UPDATING`, and
that for emptying its prefix cache only with `VLLM_SERVER_DEV_MODE`. Errors come as `{"error": {"message": ...}}`, from older versions
as `{"message": ...}`, from its web framework as `{"detail": ...}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agent.errors import InputError, ServerRefused, UsageError
from agent.sources.http import Client, Response, shown

_UNROUTED = "Not Found"
_ENABLE = "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"


@dataclass(frozen=True, slots=True)
class Served:
    """A name that the server answers to: the path it was loaded from, and whose adapter it is ("" for a base model)."""

    root: str
    parent: str


@dataclass(frozen=True, slots=True)
class Server:
    """`url` ends before `/v1`. The key goes out over https, or to this machine and the local network; no redirect is followed."""

    url: str
    client: Client
    key: str = field(default="", repr=False)

    def models(self) -> dict[str, Served]:
        """By name. Raises SourceError, InputError when the answer is none of vLLM's."""
        answer = self.client.get(
            f"{self.url}/v1/models", self._headers(), private_host=self._host, private_only=self._private_only
        )
        if answer.status != 200:
            raise ServerRefused(f"{self._name}/v1/models answers {answer.status}", answer.headers)
        try:
            cards = json.loads(answer.body)["data"]
            return {str(c["id"]): Served(str(c.get("root") or ""), str(c.get("parent") or "")) for c in cards}
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self._name}/v1/models answers with no list of models; is it a vLLM server?"
            ) from error

    def load(self, name: str, path: str) -> None:
        """Raises ServerRefused, SourceError. Without an answer it may be loaded all the same."""
        self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    def unload(self, name: str) -> None:
        """Raises ServerRefused, SourceError. Without an answer it may be unloaded all the same."""
        self._post("/v1/unload_lora_adapter", {"lora_name": name})

    def reset_prefix_cache(self) -> bool:
        """Whether the server has such a route and took the request; it does not tell whether running requests kept it from it."""
        try:
            self._post("/reset_prefix_cache", {})
        except ServerRefused:
            return False
        return True

    def complete(self, model: str, prompt: str, tokens: int, *, plain: bool = True) -> str:
        """The greedy continuation. Not `plain`: the prompt holds its special tokens already. Raises ServerRefused, SourceError, InputError."""
        body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
        answer = self._post("/v1/completions", body if plain else {**body, "add_special_tokens": False})
        try:
            return str(json.loads(answer.body)["choices"][0]["text"])
        except (ValueError, RecursionError, KeyError, IndexError, TypeError) as error:
            raise InputError(f"{self._name}/v1/completions answers without choices[0].text") from error

    def _post(self, route: str, body: Mapping[str, Any]) -> Response:
        answer = self.client.post(
            f"{self.url}{route}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **self._headers()},
            private_host=self._host,
            private_only=self._private_only,
        )
        if answer.status != 200:
            raise ServerRefused(
                f"{self._name}{route} answers {answer.status}: {self._why(answer)}", answer.headers
            )
        return answer

    def _why(self, answer: Response) -> str:
        text = answer.body.decode("utf-8", "replace")
        said = _message(text)
        if self.key:
            said = said.replace(self.key, "***")
        hint = ""
        if answer.status == 404 and said == _UNROUTED:
            hint = f"; {_ENABLE}"
        elif "max_lora_rank" in said:
            hint = "; start vLLM with a larger --max-lora-rank, or push with --max-rank"
        elif answer.status == 401:
            hint = "; name the variable that holds its key with --key-variable"
        return (ascii(" ".join(said.split())[:300])[1:-1] or "nothing") + hint

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def _host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def _private_only(self) -> bool:
        return bool(self.key) and urlsplit(self.url).scheme == "http"

    @property
    def _name(self) -> str:
        return shown(self.url)


def server_at(url: str, client: Client, key: str = "") -> Server:
    """Raises UsageError for what is no address of a server."""
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError("--url must be http(s)://host[:port] without login, query or fragment")
    return Server(url.rstrip("/").removesuffix("/v1"), client, key)


def _message(text: str) -> str:
    """What an error body says, in whatever form."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
            if key == "error" and isinstance(found, dict):
                found = found.get("message", found)
            break
    return found if isinstance(found, str) else json.dumps(found)
