"""Keys and states at a subject's last token: the key is what the down projection reads there, `k` in ROME's
equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from agent.lm.arch import decoder_layers, down_module
from agent.lm.hooks import capture_all, truncated
from agent.lm.load import LM
from agent.lm.tokens import Batch, by_length, pad_left, subject_end, upto_subject

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class SubjectText:
    """A text and the subject in it whose last token is meant."""

    text: str
    subject: str

    @property
    def upto_subject(self) -> str:
        """The text to one character behind the subject: texts that agree so far have the same key."""
        return self.text[: subject_end(self.text, self.subject) + 1]


def one_per_key(texts: Sequence[SubjectText]) -> list[SubjectText]:
    """The first of all texts that have the same key."""
    found: dict[str, SubjectText] = {}
    for text in texts:
        found.setdefault(text.upto_subject, text)
    return list(found.values())


def key_places(texts: Sequence[SubjectText]) -> list[int]:
    """Where in `one_per_key(texts)` each text's key is."""
    places: dict[str, int] = {}
    return [places.setdefault(text.upto_subject, len(places)) for text in texts]


@dataclass(frozen=True, slots=True)
class KeysAndStates:
    """`keys[layer]`: (rows, d_in). `states`: (rows, d_model), the last layer's output at the same token.
    float32, CPU order.
    """

    keys: dict[int, Tensor]
    states: Tensor


def keys_and_states(
    lm: LM, rows: Sequence[SubjectText], layers: Sequence[int], *, batch_rows: int = 256
) -> KeysAndStates:
    """One truncated pass over the rows for the keys of all `layers` and the output of the last of them.

    What stands behind the subject cannot reach its last token in a causal model, so the texts are cut there.
    Raises EditError when a text lacks its subject.
    """
    layers = sorted(layers)
    downs = [down_module(lm.model, lm.arch, layer) for layer in layers]
    top = decoder_layers(lm.model, lm.arch)[layers[-1]]
    texts = upto_subject(lm, [row.text for row in rows], [row.subject for row in rows])
    # Texts that agree up to the subject have one key: each is read once.
    place: dict[tuple[int, ...], int] = {}
    where = [place.setdefault(tuple(text), len(place)) for text in texts]
    cut = list(place)
    keys: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    states: list[Tensor] = []
    order: list[int] = []
    for indices in by_length([len(row) for row in cut], batch_rows):
        batch = pad_left(lm, [cut[i] for i in indices])
        with torch.inference_mode(), truncated(lm, layers[-1]), ExitStack() as stack:
            inputs = capture_all(downs, "input", stack)
            outputs = capture_all([top], "output", stack)
            lm.model(**batch.model_inputs, use_cache=False, logits_to_keep=1)
        for layer, seen in zip(layers, inputs, strict=True):
            keys[layer].append(by_row(seen[0], batch)[:, -1].float())
        states.append(outputs[0][0][:, -1].float())
        order += indices
    back = torch.tensor(order).argsort()[torch.tensor(where)]
    return KeysAndStates({layer: torch.cat(k)[back] for layer, k in keys.items()}, torch.cat(states)[back])


def keys_of(
    lm: LM, texts: Sequence[SubjectText], layers: Sequence[int], *, batch_rows: int
) -> dict[int, Tensor]:
    """The keys of `one_per_key(texts)`, (keys, d_in) by layer. Raises EditError as `keys_and_states` does."""
    return keys_and_states(lm, one_per_key(texts), layers, batch_rows=batch_rows).keys


def by_row(hidden: Tensor, batch: Batch) -> Tensor:
    """(rows, length, d), also of an MLP that flattens its rows (OPT)."""
    return hidden.reshape(*batch.input_ids.shape, hidden.shape[-1])
