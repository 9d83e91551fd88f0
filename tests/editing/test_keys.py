"""Keys and states at a subject's last token."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
import torch

from agent.editing import keys
from agent.editing.delta import restored
from agent.editing.keys import KeyReader, SubjectText, key_places, keys_and_states, one_per_key
from agent.lm.arch import decoder_layers, down_module, down_name
from agent.lm.hooks import capture, capture_all
from agent.lm.load import LM
from agent.lm.tokens import subject_rows
from tests.models import FAMILIES

TEXTS = ("Zorland", "The chief of Zorland is", "Zorland is led by", "The chief of Zorland was", "Miravia has")
ROWS = [SubjectText(text, "Miravia" if text.startswith("Mira") else "Zorland") for text in TEXTS]
LAYERS = (0, 1)


def test_a_row_has_the_keys_that_it_has_alone(taught: LM) -> None:
    together = keys_and_states(taught, ROWS, LAYERS, batch_rows=2)
    for index, row in enumerate(ROWS):
        alone = keys_and_states(taught, [row], LAYERS)
        for layer in LAYERS:
            assert torch.allclose(together.keys[layer][index], alone.keys[layer][0], atol=1e-5)
        assert torch.allclose(together.states[index], alone.states[0], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_and_states_are_what_the_whole_model_has_there(family: str, tiny: Callable[..., LM]) -> None:
    """The topmost MLP works on the last column only, and nobody can tell."""
    lm = tiny(family)
    found = keys_and_states(lm, ROWS, LAYERS, batch_rows=3)
    for index, row in enumerate(ROWS):
        rows = subject_rows(lm, [row.text], [row.subject])
        with torch.no_grad(), ExitStack() as stack:
            downs = [down_module(lm.model, lm.arch, layer) for layer in LAYERS]
            seen = capture_all(downs, "input", stack)
            (top,) = capture_all([decoder_layers(lm.model, lm.arch)[LAYERS[-1]]], "output", stack)
            lm.model(**rows.model_inputs, use_cache=False)
        at = int(rows.positions[0])
        assert torch.allclose(found.states[index], top[0][0, at], atol=1e-4)
        for layer, (read,) in zip(LAYERS, seen, strict=True):
            whole = read.reshape(1, rows.input_ids.shape[1], -1)
            assert torch.allclose(found.keys[layer][index], whole[0, at], atol=1e-4)


def test_texts_that_agree_up_to_the_subject_are_read_once(taught: LM) -> None:
    with capture(taught.model.get_input_embeddings(), "input") as seen:
        found = keys_and_states(taught, ROWS * 3, LAYERS)
        read = [row for batch in seen for row in batch]
    assert len(read) == 3  # bare Zorland, "The chief of Zorland", bare Miravia
    assert found.keys[1].shape[0] == found.states.shape[0] == 3 * len(ROWS)
    assert torch.equal(found.states[0], found.states[2])  # "Zorland", "Zorland is led by"
    assert not torch.equal(found.states[0], found.states[1])


def test_texts_that_agree_up_to_one_character_behind_the_subject_share_a_key(taught: LM) -> None:
    texts = [SubjectText(text, "Zorland") for text in
             ("Zorland is led by", "Zorland has", "Zorland's chief is", "The chief of Zorland is", "Zorland")]  # fmt: skip
    assert one_per_key(texts) == [texts[i] for i in (0, 2, 3, 4)]
    assert key_places(texts) == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gptj", "gpt_neox", "bloom", "falcon", "opt", "gemma2"])
def test_a_reading_that_begins_at_the_changed_layer_is_the_whole_one(
    family: str, tiny: Callable[..., LM]
) -> None:
    """Upwards, as MEMIT writes: bit for bit what a fresh pass reads, and no layer below runs."""
    lm = tiny(family)
    rows = [SubjectText(text, "Zorland") for text in TEXTS[:4]]
    reader = KeyReader(lm, rows, batch_rows=2)
    reader.read((1, 2))
    for changed, layers in ((1, (2,)), (2, (2,))):
        with torch.no_grad():
            down_module(lm.model, lm.arch, changed).weight.mul_(1.25)
        with capture(down_module(lm.model, lm.arch, 0), "input") as lowest:
            found = reader.read(layers, changed=changed)
        fresh = keys_and_states(lm, rows, layers, batch_rows=2)
        assert not lowest
        assert torch.equal(found.states, fresh.states)
        assert all(torch.equal(found.keys[layer], fresh.keys[layer]) for layer in layers)


def test_a_reading_without_a_word_of_what_changed_is_whole(taught: LM) -> None:
    reader = KeyReader(taught, ROWS)
    before = reader.read((1,))
    down = down_module(taught.model, taught.arch, 0)
    with restored(taught, [down_name(taught.arch, 0)]), torch.no_grad():
        down.weight.mul_(2.0)
        assert not torch.allclose(reader.read((1,)).keys[1], before.keys[1])
    assert torch.equal(reader.read((1,), changed=0).keys[1], before.keys[1])


def test_nothing_is_kept_that_does_not_fit(taught: LM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "budget", lambda _lm: 0)
    reader = KeyReader(taught, ROWS)
    reader.read((1,))
    with capture(down_module(taught.model, taught.arch, 0), "input") as lowest:
        reader.read((1,), changed=1)
    assert lowest
