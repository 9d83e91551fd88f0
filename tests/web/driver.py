"""A real Chromium for tests, through its WebDriver: as much of the protocol as they need."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_WITHIN_S = 60.0


@dataclass(frozen=True)
class Browser:
    client: httpx.Client
    session: str

    def go(self, url: str) -> None:
        self._do("url", {"url": url})

    def url(self) -> str:
        return str(self._ask("url"))

    def text(self, css: str = "body") -> str:
        """What a person sees of it."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", css))

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a function's body, by the browser's own means (pages' policies do not hold for it)."""
        return self._do("execute/sync", {"script": script, "args": list(arguments)})

    def click(self, css: str) -> None:
        self._do(f"element/{self._find(css)}/click", {})

    def type(self, css: str, text: str) -> None:
        self._do(f"element/{self._find(css)}/value", {"text": text})

    def press(self, key: str) -> None:
        """A key to whatever has the focus."""
        steps = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._do("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": steps}]})

    def until(self, condition: str, *arguments: object) -> Any:
        """Wait until an expression of JavaScript holds; its value."""
        deadline = time.monotonic() + _WITHIN_S
        while time.monotonic() < deadline:
            with suppress(AssertionError):  # between two pages there is no document
                if found := self.run(f"return {condition}", *arguments):
                    return found
            time.sleep(0.05)
        raise AssertionError(f"{condition} never came about on {self.url()}:\n{self.text()}")

    def cdp(self, command: str, **parameters: object) -> Any:
        return self._do("goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width: int, height: int = 900) -> None:
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name: str) -> None:
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def javascript(self, on: bool) -> None:
        self.cdp("Emulation.setScriptExecutionDisabled", value=not on)

    def complaints(self) -> list[str]:
        """What the console said since it was asked last: blocked scripts, errors of ours."""
        return [str(entry["message"]) for entry in self._do("se/log", {"type": "browser"})]

    def shot(self, path: Path, whole: bool = False) -> None:
        taken = self.cdp("Page.captureScreenshot", captureBeyondViewport=whole, format="png")
        path.write_bytes(base64.b64decode(taken["data"]))

    def _find(self, css: str) -> str:
        return str(self._do("element", {"using": "css selector", "value": css})[_ELEMENT])

    def _ask(self, what: str) -> Any:
        return _value(self.client.get(f"/session/{self.session}/{what}"))

    def _do(self, what: str, body: dict[str, Any]) -> Any:
        return _value(self.client.post(f"/session/{self.session}/{what}", json=body))


def _value(answer: httpx.Response) -> Any:
    value = answer.json()["value"]
    assert answer.status_code == 200, value
    return value


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`."""
    port = _free_port()
    process = subprocess.Popen(
        [str(DRIVER), f"--port={port}", "--log-level=OFF"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_WITHIN_S, trust_env=False) as client:
            _wait_for(client)
            options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={folder / 'profile'}"]}
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            made = _value(client.post("/session", json={"capabilities": {"alwaysMatch": wanted}}))
            try:
                yield Browser(client, made["sessionId"])
            finally:
                client.delete(f"/session/{made['sessionId']}")
    finally:
        process.terminate()
        process.wait(_WITHIN_S)


def _wait_for(client: httpx.Client) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while True:
        try:
            client.get("/status")
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline, "chromedriver did not start"
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
