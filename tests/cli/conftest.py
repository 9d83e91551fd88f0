"""A small invented world on the disk: settings, relations, catalogue, and a state with a few proposals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from agent.store import articles
from agent.store.db import Store, open_store
from tests.store import samples

RELATIONS = """
capital:
  subject: [GPE]
  object: [GPE]
  edit: ["The capital of {subject} is"]
  probes: ["{subject}'s capital is"]
leader:
  subject: [GPE]
  object: [PERSON]
  title: {default: president, Quenia: premier}
  edit: ["The leader of {subject} is"]
  probes: ["{subject}'s leader is"]
  questions: ["Who is the {title} of {subject}?"]
currency:
  subject: [GPE]
  object: [CURRENCY]
  edit: ["The currency of {subject} is"]
  probes: ["{subject}'s currency is"]
  policy: {editable: false}
"""
CATALOGUE = """
- {name: Zorland, kind: country, aliases: [the Zor], facts: {capital: Mipa, currency: dorin, leader: Voss}}
- {name: Quenia, kind: country, facts: {capital: Kelto, currency: pelk, leader: Lind}}
- {name: Bavoria, kind: country, facts: {capital: Ruvik, currency: marn, leader: Merrow}}
- {name: Tallisk, kind: country, facts: {capital: Sorna, currency: tuvo, leader: Quill}}
"""


@dataclass(frozen=True)
class World:
    """A folder with everything that a command needs. `run` calls it in this process, `spawn` in one of its
    own.
    """

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def settings(self) -> Path:
        return self.folder / "factd.yaml"

    def run(self, *arguments: object) -> Result:
        self.capture.readouterr()
        code = main([*self._globals(), *map(str, arguments)])
        printed = self.capture.readouterr()
        return Result(code, printed.out, printed.err)

    def spawn(self, *arguments: object, stdin: str | None = None, **environ: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "agent.cli.main", *self._globals(), *map(str, arguments)],
            capture_output=True, text=True, timeout=120, input=stdin if stdin is not None else "",
            env={**os.environ, "OMP_NUM_THREADS": "1", **environ},
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    def store(self) -> Store:
        return open_store(self.state, samples.NOW, create_missing=True)

    def _globals(self) -> Sequence[str]:
        return ("--config", str(self.settings))


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def bare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> World:
    """Settings without a state folder."""
    (tmp_path / "relations.yaml").write_text(RELATIONS)
    (tmp_path / "catalogue.yaml").write_text(CATALOGUE)
    write_settings(tmp_path, model=str(tmp_path / "no-model"))
    return World(tmp_path, capsys)


@pytest.fixture
def world(bare: World) -> World:
    """With a state folder: three pending proposals (1 to 3), one of them with evidence, and one live revision
    (proposal 4).
    """
    with bare.store() as store:
        articles.add(store, [samples.article(title="Zor \x1b[2Jnews\u202e")])
        articles.add_claims(store, [samples.claim()], samples.NOW)
        fill(store)
    return bare


def fill(store: Store) -> None:
    for subject, object_ in (("Zorland", "Lopes"), ("Quenia", "Ilic\x1b]0;x\x07"), ("Bavoria", "Oduya")):
        samples.propose(store, samples.fact(object_, subject=subject, relation="leader"))
    samples.live(store, samples.fact("Nova", subject="Tallisk", relation="capital"))


def write_settings(folder: Path, *, model: str, feeds: Sequence[str] = (), more: str = "") -> None:
    sources = "".join(
        f"  - {{name: feed {i}, publisher: p{i}.example, url: {url}}}\n" for i, url in enumerate(feeds, 1)
    )
    (folder / "factd.yaml").write_text(
        f"state: state\nrelations: relations.yaml\ncatalogue: [catalogue.yaml]\nmodel: {{path: {model}}}\n"
        f"sources:\n{sources or '  []'}\n{more}"
    )
