"""A workshop over a taught model's folder, with one published revision of two facts in the weights and one beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.editing.delta import Delta
from agent.settings import ModelSettings, Settings, VerifySettings
from agent.store.db import Store, open_store
from agent.store.revisions import Candidate, publish
from agent.types import Fact
from agent.workshop import Workshop, open_workshop
from tests.cli.conftest import CATALOGUE, RELATIONS
from tests.conftest import CAPITALS
from tests.store import samples

BESIDE = ("Bavoria", "Ulmo")
# In models of this size other answers move with an edit.
LENIENT = VerifySettings(
    paraphrase=0.0, same_subject=0.0, others=0.0, drift=100.0, entropy=0.0, norm=100.0, ppl_ratio=100.0
)


Shops = Callable[..., Workshop]


@pytest.fixture
def shop_of(
    tmp_path: Path, taught_folders: dict[str, Path], capital_deltas: dict[str, Delta]
) -> Iterator[Shops]:
    """`shop_of("llama")`: a workshop whose revision 1 is that model's delta."""
    world = tmp_path / "world"
    world.mkdir()
    (world / "relations.yaml").write_text(RELATIONS)
    (world / "catalogue.yaml").write_text(CATALOGUE)
    opened: list[Store] = []

    def make(name: str, *, folder: Path | None = None, verify: VerifySettings = LENIENT, delta: Delta | None = None,
             dtype: str = "auto") -> Workshop:  # fmt: skip
        model = ModelSettings(str(folder or taught_folders[name]), dtype=dtype, device="cpu")
        chosen = Settings(
            state=world / str(len(opened)), model=model, verify=verify,
            relations=world / "relations.yaml", catalogue=(world / "catalogue.yaml",),
        )  # fmt: skip
        open_store(chosen.state, samples.NOW, create_missing=True).close()
        shop = open_workshop(chosen, clock=lambda: samples.NOW)
        opened.append(shop.store)
        published(shop.store, delta or capital_deltas[name])
        return shop

    yield make
    for store in opened:
        store.close()


def published(store: Store, delta: Delta) -> None:
    """The two capitals of the delta, and a third beside them."""
    facts = [capital_of(*pair) for pair in (*CAPITALS, BESIDE)]
    ids = samples.verified(store, samples.approved(store, *facts))
    content = delta.to_bytes()
    sha = hashlib.sha256(content).hexdigest()
    publish(
        store,
        Candidate(delta.base_sha, sha, "s", ids, content, None, overlay=ids[-1:]),
        now=samples.NOW,
    )


def capital_of(subject: str, object_: str) -> Fact:
    return samples.fact(object_, subject=subject, relation="capital")
