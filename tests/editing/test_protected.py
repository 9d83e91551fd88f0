"""What polishing looks at of other subjects: all of it, and oftener what was moved."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from agent.editing.compile import Material, compile_delta
from agent.editing.delta import LowRank, module_of
from agent.editing.keys import SubjectText
from agent.editing.own import OwnAnswers
from agent.editing.protected import Protected, diverged, moved, ranked
from agent.lm.arch import as_out_in, down_name
from agent.lm.load import LM
from tests.editing.edits import edit, settings
from tests.models import COUNTRIES, FACTS, FORMS

TEXTS = [SubjectText(f"The chief of place {i} is", f"place {i}") for i in range(3000)]


def test_how_far_a_key_is_moved_is_what_the_updates_write_there() -> None:
    generator = torch.Generator().manual_seed(0)
    updates = {
        layer: LowRank(torch.randn(6, 2, generator=generator), torch.randn(9, 2, generator=generator))
        for layer in (1, 3)
    }
    keys = {layer: torch.randn(4, 9, generator=generator) for layer in (0, 1, 3)}
    wanted = sum((keys[layer] @ update.dense().T for layer, update in updates.items()), torch.zeros(4, 6))
    assert torch.allclose(moved(updates, keys), wanted.norm(dim=1), atol=1e-5)
    assert moved(updates, {}).shape == (0,)


def test_what_the_weights_make_of_an_answer_decides_and_only_the_nearest_are_asked(taught: LM) -> None:
    """One fact: the twelve nearest are asked; the weights write at Bavoria's keys only."""
    texts = [
        SubjectText(form.format(relation=r, subject=s), s) for s in COUNTRIES for form in FORMS for r in FACTS
    ]
    assert len(texts) > 20
    delta = compile_delta(taught, [edit("Bavoria", "Ulmo")], settings(), Material()).delta
    weights = {
        layer: as_out_in(module_of(taught, name)).detach().float() + delta.updates[name].dense()
        for layer in (0, 1)
        if (name := down_name(taught.arch, layer)) in delta.updates
    }
    own = OwnAnswers(taught, 2)
    found = diverged(taught, texts, weights, own)
    mine = torch.tensor([text.subject == "Bavoria" for text in texts])
    assert found.min() >= -1e-5 and found[mine].mean() > 3 * found[~mine].mean()
    assert torch.allclose(diverged(taught, texts[:3], weights, own), found[:3], atol=1e-5)
    # Bavoria's are all among the nearest in the first ranking, none in the second.
    for far in (mine.float(), (~mine).float()):
        order = ranked(taught, texts, far, weights, 1, own)
        assert sorted(order, key=str) == sorted(texts, key=str)
        assert (order[0].subject == "Bavoria") == bool(far[mine].all())


@pytest.mark.parametrize("facts", [1, 10, 100, 1000])
def test_what_was_moved_is_looked_at_oftener_and_nothing_never(facts: int) -> None:
    protected = Protected(TEXTS, facts, seed=0)
    count, steps = min(128, 8 * facts), 1000
    seen: Counter[SubjectText] = Counter()
    for step in range(steps):
        texts = protected.at(step)
        assert len(texts) == len(set(texts)) == count
        seen.update(texts)
    assert set(seen) == set(TEXTS)
    first = TEXTS[: min(4 * facts, 400)]
    assert min(seen[text] for text in first) > 2 * max(seen[text] for text in TEXTS[len(first) :])


@pytest.mark.parametrize("texts", [0, 1, 50, 200, 401])
def test_fewer_texts_than_a_step_looks_at_are_all_looked_at(texts: int) -> None:
    protected = Protected(TEXTS[:texts], 100, seed=1)
    seen = {text for step in range(10) for text in protected.at(step)}
    assert seen == set(TEXTS[:texts])
    assert all(len(protected.at(step)) == len(set(protected.at(step))) <= 128 for step in range(3))
