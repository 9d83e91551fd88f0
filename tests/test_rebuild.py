"""The same facts and settings give the same weights, whatever way led to them; and a revision can be compiled again."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from agent.config import load
from agent.editing.cache import save_values
from agent.editing.settings import EditSettings
from agent.errors import ModelError, StoreError, UsageError
from agent.rebuild import rebuild
from agent.recipe import MATERIAL, SETTINGS, read_back, recipe_of
from agent.revise import apply
from agent.settings import Settings
from agent.store import artefacts, keeping, ledger, published, queue, revisions
from agent.store.audit import audit
from agent.store.db import Store, open_store
from agent.types import Fact, Proposal
from agent.workshop import Workshop, open_workshop
from tests.cli.conftest import CATALOGUE, RELATIONS
from tests.forks import ROOT, quiet_environ

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# Values optimised beside others may differ from those optimised alone in the last bits: one subject at a time they are the same.
SETTINGS_FILE = """
relations: relations.yaml
catalogue: [catalogue.yaml]
editing: {layers: [0, 1], contexts: 0, steps: 12, samples: 16, sample_tokens: 12, stop_loss: 0.01, chunk: 1}
verify: {efficacy: 0.0, paraphrase: 0.0, same_subject: 0.0, others: 0.0, ppl_ratio: 1000.0, every_fact: false,
         drift: 1000.0, entropy: 0.0, norm: 1000.0, canary: 2, same_relation: 2}
policy: {cool_off_h: 0, max_age_days: null}
"""
A = Fact("Zorland", "capital", "Ruvik", NOW)
B = Fact("Quenia", "capital", "Sorna", NOW)
C = Fact("Bavoria", "leader", "Lind", NOW)


@dataclass(frozen=True)
class Lab:
    """A folder with settings; every state folder is a fresh one."""

    folder: Path

    @property
    def settings(self) -> Path:
        return self.folder / "factd.yaml"

    @contextmanager
    def shop(self, state: str, *, norm: float = 1000.0, **editing: object) -> Iterator[Workshop]:
        settings: Settings = load(self.settings, state=self.folder / state, environ={})
        changed = replace(settings.editing, **editing)  # type: ignore[arg-type]
        gate = replace(settings.verify, norm=norm)
        shop = open_workshop(replace(settings, editing=changed, verify=gate), create=True)
        with shop.store:
            yield shop

    def compile(self, state: str, *facts: Fact, **editing: object) -> str:
        """Queue, approve in the order given and apply; the hash of what is served."""
        with self.shop(state, **editing) as shop:
            approve(shop.store, facts)
            revised = apply(shop)
            assert revised.revision is not None and not revised.failed
            assert not revised.beside, "the gate of these tests lets everything into the weights"
            return revised.revision.delta_sha


def approve(store: Store, facts: Sequence[Fact]) -> None:
    ids = [
        queue.propose(store, Proposal(0, fact, "pending", "a test"), now=NOW).proposal.id for fact in facts
    ]
    for proposal_id in ids:
        queue.approve(store, proposal_id, who="eva", now=NOW)


def served(lab: Lab, state: str) -> bytes:
    """The weights that are served."""
    with lab.shop(state) as shop:
        current = revisions.current(shop.store).id
        return (revisions.folder(shop.store, current) / artefacts.DELTA).read_bytes()


@pytest.fixture(scope="module")
def lab(taught_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "relations.yaml").write_text(RELATIONS)
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    (folder / "factd.yaml").write_text(f"model: {{path: {taught_folder}, device: cpu}}\n{SETTINGS_FILE}")
    return Lab(folder)


@pytest.fixture(scope="module")
def all_at_once(lab: Lab) -> str:
    return lab.compile("at-once", A, B, C)


@pytest.mark.parametrize("order", [(C, B, A), (B, A, C)])
def test_the_order_of_queue_and_approval_does_not_matter(
    lab: Lab, all_at_once: str, order: tuple[Fact, ...]
) -> None:
    name = "-".join(fact.subject for fact in order)
    assert lab.compile(name, *order) == all_at_once
    assert served(lab, name) == served(lab, "at-once")
    with lab.shop(name) as other, lab.shop("at-once") as first:
        assert [p.fact.subject for p in queue.proposals(other.store)] != [
            p.fact.subject for p in queue.proposals(first.store)
        ], "or the order was the same"


def test_nor_does_it_when_the_gate_refuses_some(lab: Lab, all_at_once: str) -> None:
    """The norm allowed is a little less than what all three make: whoever is left out, it is the same one each time."""
    with lab.shop("at-once") as shop:
        norm = 0.99 * max(revisions.current(shop.store).report.norms.values())
    found = []
    for order in ((A, B, C), (C, A, B)):
        name = "refused-" + "-".join(fact.subject for fact in order)
        with lab.shop(name, norm=norm) as shop:
            approve(shop.store, order)
            revised = apply(shop)
            assert revised.revision is not None and revised.beside
            inside = published.members(shop.store, revised.revision.id, "weights")
            found.append((revised.revision.delta_sha, {p.fact.subject for p in inside}))
    assert found[0] == found[1]
    assert found[0][1] < {fact.subject for fact in (A, B, C)}


def test_nor_does_it_one_after_the_other(lab: Lab) -> None:
    """In sequential mode the order in which batches are solved is that of the facts' names."""
    one = lab.compile("sequential-1", A, B, C, mode="sequential")
    assert one == lab.compile("sequential-2", C, B, A, mode="sequential")


def test_nor_does_what_was_published_on_the_way(lab: Lab, all_at_once: str) -> None:
    """With a cache that knows some of the values already, and after a fact was replaced."""
    other = replace(C, object="Voss")
    steps = [lab.compile("step-by-step", fact) for fact in (B, other, C, A)]
    assert steps[-1] == all_at_once
    assert len(set(steps)) == 4


def test_nor_does_the_process(lab: Lab, all_at_once: str) -> None:
    with open_store(lab.folder / "spawned", NOW, create_missing=True) as store:
        approve(store, (A, B, C))
    command = [sys.executable, "-m", "agent.cli.main", "--config", str(lab.settings)]
    command += ["--state", str(lab.folder / "spawned"), "apply", "--json"]
    environ = quiet_environ()
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with lab.shop("spawned") as shop:
        assert revisions.current(shop.store).delta_sha == all_at_once


def test_other_settings_are_another_delta(lab: Lab, all_at_once: str) -> None:
    """Or the tests above would pass with anything."""
    assert lab.compile("other-settings", A, B, C, covariance=0.2) != all_at_once
    assert lab.compile("other-facts", A, B) != all_at_once


def test_a_fact_taken_back_is_as_if_it_had_never_been(lab: Lab) -> None:
    alone = lab.compile("alone", A)
    assert lab.compile("reverted", A, B) != alone
    with lab.shop("reverted") as shop:
        lm = shop.base()
        batch = lm.tokenizer(
            ["The capital of Quenia is", "Zorland's capital is"], return_tensors="pt", padding=True
        )

        def logits() -> torch.Tensor:
            with torch.inference_mode():
                return lm.model(**batch).logits.clone()

        with shop.served():
            both = logits()
        (taken,) = [p for p in queue.proposals(shop.store, "live") if p.fact == B]
        queue.take_back(shop.store, taken.id, reason="a hoax", who="eva", now=NOW)
        revised = apply(shop)
        assert revised.revision is not None
        assert (revised.revision.id, revised.revision.delta_sha) == (2, alone)
        with shop.served():
            left = logits()
        assert not torch.equal(both, left)
        queue.take_back(shop.store, 1, reason="that too", who="eva", now=NOW)
        again = apply(shop)
        assert again.revision is not None and again.revision.id == 0, "nothing is left: the base is served"
        with shop.served():
            assert torch.equal(logits(), _base_logits(lab, batch))
        assert apply(shop).report is None, "and there is nothing more to do"
    with lab.shop("alone") as shop, shop.served() as lm, torch.inference_mode():
        assert torch.equal(lm.model(**batch).logits, left)
    first = (lab.folder / "alone" / "revisions" / "1" / artefacts.DELTA).read_bytes()
    assert (lab.folder / "reverted" / "revisions" / "2" / artefacts.DELTA).read_bytes() == first


def _base_logits(lab: Lab, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with lab.shop("alone") as shop, torch.inference_mode():
        return shop.base().model(**batch).logits.clone()


@pytest.fixture
def history(lab: Lab, tmp_path: Path, all_at_once: str) -> str:
    """The name of a state of its own in which revision 1 has no weights and revision 2 is served."""
    state = tmp_path / "state"
    shutil.copytree(lab.folder / "at-once", state, symlinks=True)
    with lab.shop(str(state)) as shop:
        (capital,) = [p for p in queue.proposals(shop.store, "live") if p.fact == B]
        queue.take_back(shop.store, capital.id, reason="x", who="eva", now=NOW)
        apply(shop)
        keeping.remove(shop.store, [1], who="eva", now=NOW)
    return str(state)


def test_removed_weights_are_compiled_again(lab: Lab, history: str) -> None:
    """With other settings, relations and catalogue by now, and without a cache."""
    shutil.rmtree(Path(history) / "cache")
    with lab.shop(history, steps=3, covariance=9.0) as shop:
        shop = replace(shop, relations={})
        with pytest.raises(StoreError, match="`factd revisions rebuild 1`"):
            revisions.rollback(shop.store, 1, reason="x", who="eva", now=NOW)
        checked = rebuild(shop, 1, who="eva", check=True)
        assert (checked.same, checked.restored) == (True, False)
        assert published.keeping(shop.store, 1).removed_at is not None
        done = rebuild(shop, 1, who="eva")
        assert (done.same, done.restored, done.differs) == (True, True, ())
        assert revisions.rollback(shop.store, 1, reason="x", who="eva", now=NOW).id == 1
        assert (revisions.folder(shop.store, 1) / artefacts.DELTA).read_bytes() == served(lab, "at-once")
        assert [entry.kind for entry in ledger.entries(shop.store)][-2:] == ["restored", "pointed"]
        assert audit(shop.store) == ()
        assert not rebuild(shop, 1, who="eva").restored, "what is there is left alone"


def test_damaged_weights_are_put_right(lab: Lab, history: str) -> None:
    with lab.shop(history) as shop:
        path = published.place_of(shop.store, 2) / artefacts.DELTA
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        assert [finding.where for finding in audit(shop.store)] == [f"revision 2, {artefacts.DELTA}"]
        assert rebuild(shop, 2, who="eva").restored
        assert path.read_bytes() == content
        assert audit(shop.store) == ()


def test_what_does_not_come_out_the_same_is_not_put_back(lab: Lab, history: str) -> None:
    """A value vector is another one, and so was the code."""
    values = Path(history) / "cache" / "values"
    spoilt = sorted(values.glob("*.safetensors"))[0]
    spoilt.unlink()
    save_values(values, {spoilt.stem: torch.ones(48)})
    with lab.shop(history) as shop:
        path = published.place_of(shop.store, 1) / SETTINGS
        path.write_text(re.sub(r'"code": "\w+"', f'"code": "{"f" * 64}"', path.read_text()))
        sha = hashlib.sha256(path.read_bytes()).hexdigest()
        shop.store.run(f"UPDATE revision SET files = json_replace(files, '$.\"{SETTINGS}\"', ?)", (sha,))
        done = rebuild(shop, 1, who="eva")
        assert (done.same, done.restored) == (False, False)
        assert done.delta_sha != done.recorded_sha
        code, vectors = done.differs
        assert code.startswith(f"code was {'f' * 24}, is ")
        assert vectors.startswith("1 of 3 value vectors are not those of then")
        assert not (published.place_of(shop.store, 1) / artefacts.DELTA).exists()
        assert published.keeping(shop.store, 1).removed_at is not None


def test_another_base_or_the_base_itself_is_refused(lab: Lab, history: str) -> None:
    with lab.shop(history) as shop:
        with pytest.raises(UsageError, match="base model itself"):
            rebuild(shop, 0, who="eva")
        shop._loaded.lm = replace(shop.base(), sha="e" * 64)
        with pytest.raises(ModelError, match=r"set model\.path back"):
            rebuild(shop, 1, who="eva")


def test_a_revision_of_an_older_version_needs_the_settings_of_then(
    lab: Lab, history: str, all_at_once: str
) -> None:
    with lab.shop(history) as shop:
        for name in (SETTINGS, MATERIAL):
            shop.store.run(f"UPDATE revision SET files = json_remove(files, '$.\"{name}\"')")
        assert rebuild(shop, 1, who="eva").restored
    with (
        lab.shop(history, covariance=9.0) as shop,
        pytest.raises(StoreError, match="before settings were kept"),
    ):
        rebuild(shop, 1, who="eva")


def test_the_records_say_what_was_compiled(lab: Lab, all_at_once: str) -> None:
    with lab.shop("at-once") as shop:
        texts = [published.record(shop.store, 1, name) for name in (SETTINGS, MATERIAL)]
        assert texts[0] is not None and texts[1] is not None
        kept = read_back(texts[0], texts[1])
        assert kept.recipe == recipe_of(shop, shop.base(), published.members(shop.store, 1))
        assert kept.recipe.settings.sha == published.settings_sha(shop.store, 1)
        assert len(kept.values) == 3
        assert {"code", "torch", "threads"} <= set(kept.made_with)
    with pytest.raises(StoreError, match="another version"):
        read_back(texts[0].replace('"steps"', '"strides"'), texts[1])
    odd = EditSettings(corpus=Path("/a"), layers=(1, 2))
    told = texts[0].replace('"corpus": null', '"corpus": "/a"')
    assert read_back(told, texts[1]).recipe.settings.corpus == odd.corpus
