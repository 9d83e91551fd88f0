"""A state folder with two published revisions of the taught Llama, and a server over it.

base         The capital of Zorland is Mipa, The leader of Quenia is Lind
revision 1   Zorland's capital is Sorna: in the weights
revision 2   Zorland's capital is Tebbin: in the weights; Quenia's leader is Ilic: beside them
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from openai import OpenAI

from agent.catalogue import load_catalogue
from agent.editing.compile import compile_delta
from agent.editing.delta import Delta
from agent.lm.load import LM, load_lm
from agent.relations import load_relations
from agent.serve.engine import Engine
from agent.serve.guard import Guard
from agent.serve.listen import Listener, bound
from agent.serve.served import Choice, Served
from agent.settings import ServeSettings
from agent.store.db import open_store
from agent.store.revisions import Candidate, publish, rollback
from agent.types import Fact
from tests.cli.conftest import CATALOGUE, RELATIONS
from tests.editing.edits import edit, material, settings
from tests.store import samples

CAPITAL = "The capital of Zorland is"
LEADER = "The leader of Quenia is"
ANSWERS = {0: "Mipa", 1: "Sorna", 2: "Tebbin"}
BESIDE = samples.fact("Ilic", subject="Quenia", relation="leader")


@pytest.fixture(scope="session")
def lm(taught_folder: Path) -> LM:
    """The taught Llama from its folder, so that its sha is that of its files. Whoever serves it gives it back as it was."""
    return load_lm(str(taught_folder), device="cpu")


@pytest.fixture(scope="session")
def deltas(taught_llama: LM, lm: LM) -> dict[int, Delta]:
    """Small real deltas by revision, each of which changes one answer."""
    quick = settings(steps=25, samples=40, contexts=0)
    return {
        number: Delta(
            compile_delta(taught_llama, [edit("Zorland", target)], quick, material("Zorland")).delta.updates,
            lm.sha,
        )
        for number, target in ANSWERS.items()
        if number
    }


@pytest.fixture(scope="session")
def published(deltas: dict[int, Delta], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder; revision 2 is current. Copied by whoever changes it."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "relations.yaml").write_text(RELATIONS)
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    with open_store(folder / "state", samples.NOW, create_missing=True) as store:
        for number, delta in deltas.items():
            told: list[Fact] = [samples.fact(ANSWERS[number], subject="Zorland", relation="capital")]
            told += [BESIDE] if number == 2 else []
            ids = samples.verified(store, samples.approved(store, *told))
            wanted = Candidate(
                delta.base_sha, delta.sha, "settings", ids, delta.to_bytes(), samples.report(), ids[1:]
            )
            assert publish(store, wanted, now=samples.day(number)).id == number
    return folder


@dataclass
class Site:
    """A server in this process, and its state folder. `told`: what it said to its operator."""

    folder: Path
    engine: Engine
    listener: Listener
    told: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.listener.url

    def point_at(self, revision: int) -> None:
        """What `factd rollback` does, forwards too."""
        with open_store(self.folder / "state", samples.NOW) as store:
            rollback(store, revision, reason="test", who="eva", now=samples.NOW)

    def client(self, **options: object) -> OpenAI:
        given = {"base_url": self.url, "api_key": "none", "max_retries": 0, "timeout": 60.0, **options}
        return OpenAI(**given)  # type: ignore[arg-type]


Serving = Callable[..., "contextmanager[Site]"]


@contextmanager
def serving(
    lm: LM,
    folder: Path,
    *,
    fixed: int | None = None,
    key: str | None = None,
    start: bool = True,
    **changes: object,
) -> Iterator[Site]:
    """A server over the state in `folder`, stopped at the end; then the model is the base again."""
    changed = ServeSettings(**{"poll_s": 0.02, **changes})  # type: ignore[arg-type]
    told: list[str] = []
    relations, catalogue = (
        load_relations(folder / "relations.yaml"),
        load_catalogue([folder / "catalogue.yaml"]),
    )
    served = Served(lm, Choice(folder / "state", fixed), relations, catalogue, told.append)
    engine = Engine(served, changed, told.append)
    with bound("127.0.0.1", 0) as socket:
        guard = Guard("127.0.0.1", key, changed.body_kb * 1024)
        listener = Listener(engine, guard, "taught", socket)
        engine.start()
        listener.start()
        try:
            yield Site(folder, engine, listener, told)
        finally:
            listener.stop()
            engine.finish()


@pytest.fixture
def state(published: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(published, tmp_path / "copy", symlinks=True))


@pytest.fixture(scope="module")
def site(lm: LM, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for a module's tests; whoever moves the pointer moves it back."""
    folder = Path(shutil.copytree(published, tmp_path_factory.mktemp("site") / "copy", symlinks=True))
    with serving(lm, folder) as running:
        yield running


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[OpenAI]:
    with site.client() as made:
        yield made
