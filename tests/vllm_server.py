"""A real HTTP server on loopback with vLLM's routes for adapters, which really loads them with PEFT into a tiny taught model.

What vLLM answers, and with which status, follows its `entrypoints/openai/models/serving.py` of 2026: errors are `{"error": {"message",
"type", "param", "code"}}`, success is a sentence as text. vLLM itself does not run on the machines of these tests. `faults` are failures
to come: `{"route": ["drop", ...]}`, taken one by one.

    refuse   answers 500, does nothing
    drop     closes the connection and does nothing
    lost     does it, and closes the connection without an answer
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agent.lm.generate import generate
from agent.lm.load import LM, load_lm

BASE = "base-model"
Answer = tuple[int, bytes]


@dataclass
class VllmServer:
    """`loaded`: name -> path. `calls`: (route, name) in order. `cached`: keep answers by name and prompt, as vLLM's prefix cache goes by
    the adapter's name; `dev_mode` has the route that empties it. `lies`: names whose answers are wrong. `adapters`: path -> PEFT's name."""

    lm: LM
    url: str = ""
    key: str = ""
    max_lora_rank: int = 16
    updating: bool = True
    old_errors: bool = False
    cached: bool = False
    dev_mode: bool = False
    loaded: dict[str, str] = field(default_factory=dict)
    adapters: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    lies: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _model: Any = None
    remembered: dict[tuple[str, str], str] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        routes = {"/v1/models": self._models, "/v1/completions": self._complete}
        if self.updating:
            routes |= {"/v1/load_lora_adapter": self._load, "/v1/unload_lora_adapter": self._unload}
        if self.dev_mode:
            routes["/reset_prefix_cache"] = self._reset
        if path not in routes:
            return 404, b'{"detail":"Not Found"}'
        return routes[path](body)

    def _models(self, _body: dict[str, Any]) -> Answer:
        cards: list[dict[str, Any]] = [
            {"id": BASE, "object": "model", "root": "/models/base", "parent": None}
        ]
        cards += [
            {"id": n, "object": "model", "root": root, "parent": BASE} for n, root in self.loaded.items()
        ]
        return 200, json.dumps({"object": "list", "data": cards}).encode()

    def _load(self, body: dict[str, Any]) -> Answer:
        name, path = body.get("lora_name", ""), body.get("lora_path", "")
        if not name or not path:
            return self._error(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.")
        if name in self.loaded and not body.get("load_inplace"):
            return self._error(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded. If you want to load the "
                               "adapter in place, set 'load_inplace' to True.")  # fmt: skip
        if not (Path(path) / "adapter_config.json").is_file():
            return self._error(
                404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}"
            )
        rank = json.loads((Path(path) / "adapter_config.json").read_text())["r"]
        if rank > self.max_lora_rank:
            why = f"LoRA rank {rank} is greater than max_lora_rank {self.max_lora_rank}."
            return self._error(500, "InternalServerError", why)
        if path not in self.adapters:
            self._put_on(path, f"a{len(self.adapters)}")
        self.loaded[name] = path
        return 200, f"Success: LoRA adapter '{name}' added successfully.".encode()

    def _put_on(self, path: str, adapter: str) -> None:
        from peft import PeftModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            if self._model is None:
                self._model = PeftModel.from_pretrained(self.lm.model, path, adapter_name=adapter).eval()
            else:
                self._model.load_adapter(path, adapter_name=adapter)
        self.adapters[path] = adapter

    def _unload(self, body: dict[str, Any]) -> Answer:
        name = body.get("lora_name", "")
        if name not in self.loaded:
            return self._error(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        del self.loaded[name]
        return 200, f"Success: LoRA adapter '{name}' removed successfully.".encode()

    def _reset(self, _body: dict[str, Any]) -> Answer:
        self.remembered.clear()
        return 200, b""

    def _complete(self, body: dict[str, Any]) -> Answer:
        name, prompt = body["model"], body["prompt"]
        if name != BASE and name not in self.loaded:
            return self._error(404, "NotFoundError", f"The model `{name}` does not exist.", "model")
        if name in self.lies:
            said = " nonsense"
        elif self.cached and (name, prompt) in self.remembered:
            said = self.remembered[name, prompt]
        else:
            said = self.remembered[name, prompt] = self.say(name, prompt, body["max_tokens"])
        return 200, json.dumps(
            {"object": "text_completion", "choices": [{"index": 0, "text": said}]}
        ).encode()

    def say(self, name: str, prompt: str, tokens: int = 12) -> str:
        if name == BASE:
            if self._model is None:
                return generate(self.lm, [prompt], max_new_tokens=tokens)[0]
            with self._model.disable_adapter():
                return generate(self.lm, [prompt], max_new_tokens=tokens)[0]
        self._model.set_adapter(self.adapters[self.loaded[name]])
        return generate(self.lm, [prompt], max_new_tokens=tokens)[0]

    def _error(self, status: int, kind: str, message: str, param: str | None = None) -> Answer:
        inner = {"message": message, "type": kind, "param": param, "code": status}
        return status, json.dumps(
            {"object": "error", **inner} if self.old_errors else {"error": inner}
        ).encode()


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[VllmServer]:
    here = VllmServer(load_lm(str(folder), device="cpu"), **settings)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve("GET", {})

        def do_POST(self) -> None:
            self._serve("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _serve(self, method: str, body: dict[str, Any]) -> None:
            route = self.path.rpartition("/")[2]
            with here.lock:
                here.calls.append((route, body.get("lora_name", body.get("model", ""))))
                here.bodies.append(body)
                planned = here.faults.get(f"{route} {here.calls[-1][1]}") or here.faults.get(route) or [""]
                fault = planned.pop(0)
                if fault == "drop":
                    self.close_connection = True
                    return
                if here.key and self.headers.get("Authorization") != f"Bearer {here.key}":
                    status, said = 401, b'{"error": "Unauthorized"}'
                elif fault == "refuse":
                    status, said = here._error(500, "InternalServerError", "out of memory \x1b[2J")
                elif fault.startswith("to "):
                    self.send_response(307)
                    self.send_header("Location", fault[3:])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                else:
                    status, said = here.answer(method, self.path, body)
            if fault == "lost":
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
