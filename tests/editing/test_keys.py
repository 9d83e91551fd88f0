"""Keys and states at a subject's last token."""

from __future__ import annotations

import torch

from agent.editing.keys import SubjectText, key_places, keys_and_states, one_per_key
from agent.lm.hooks import capture
from agent.lm.load import LM

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
