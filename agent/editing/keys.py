"""Keys and states at a subject's last token: the key is what the down projection reads there, `k` in ROME's
equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from agent.editing.tails import budget
from agent.lm.arch import decoder_layers, down_module
from agent.lm.guess import width_of
from agent.lm.hooks import capture_all, mlp_at_end, resumed_at, truncated
from agent.lm.load import LM
from agent.lm.tokens import Batch, by_length, pad_left, subject_end, upto_subject

Tensor = torch.Tensor
# Rows of one pass on a CPU: more leave its caches, and the more there are the less alike in length.
_CPU_ROWS = 128


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


class KeyReader:
    """Rows whose keys are read again and again while the layers below are changed, one after the other, upwards.

    What stands behind the subject cannot reach its last token in a causal model, so the texts are cut there. What comes into the lowest
    layer of a reading is kept, as long as memory allows: the next reading begins there. MEMIT's own code runs every layer each time.
    """

    def __init__(
        self, lm: LM, rows: Sequence[SubjectText], *, batch_rows: int = 256, again: bool = True
    ) -> None:
        """`again`: more than one reading is to come. Raises EditError when a text lacks its subject."""
        self._lm, self._again = lm, again
        texts = upto_subject(lm, [row.text for row in rows], [row.subject for row in rows])
        # Texts that agree up to the subject have one key: each is read once.
        place: dict[tuple[int, ...], int] = {}
        where = [place.setdefault(tuple(text), len(place)) for text in texts]
        cut = list(place)
        together = min(batch_rows, _CPU_ROWS) if lm.device.type == "cpu" else batch_rows
        groups = list(by_length([len(text) for text in cut], together))
        self._batches = [pad_left(lm, [cut[i] for i in group]) for group in groups]
        order = [i for group in groups for i in group]
        self._back = torch.tensor(order).argsort()[torch.tensor(where)] if rows else torch.zeros(0).long()
        self._kept: dict[int, list[Tensor]] = {}

    def read(self, layers: Sequence[int], changed: int | None = None) -> KeysAndStates:
        """The keys of all `layers` and the output of the last of them, from one truncated pass.

        `changed`: no weight below this layer was changed since the last reading whose lowest layer it was. None: all may have been.
        """
        layers = sorted(layers)
        start = None if changed is None else changed - 1
        if start not in self._kept:
            start = None
        keep = self._room(layers[0] - 1)
        keys: dict[int, list[Tensor]] = {layer: [] for layer in layers}
        states: list[Tensor] = []
        below: list[Tensor] = []
        for number, batch in enumerate(self._batches):
            begun = None if start is None else (start, self._kept[start][number])
            seen = self._pass(batch, layers, begun, keep)
            for layer in layers:
                keys[layer].append(_at_end(seen.keys[layer], len(batch.input_ids)))
            states.append(seen.states[:, -1].float())
            below += [] if seen.below is None else [seen.below]
        if keep:
            self._kept[layers[0] - 1] = below
        return KeysAndStates(
            {layer: torch.cat(k)[self._back] for layer, k in keys.items()}, torch.cat(states)[self._back]
        )

    def _pass(
        self, batch: Batch, layers: Sequence[int], begun: tuple[int, Tensor] | None, keep: bool
    ) -> _Seen:
        """What comes into the layers' down projections, out of the last layer, and into the first: of the last layer only the last
        column is right.
        """
        lm = self._lm
        downs = [down_module(lm.model, lm.arch, layer) for layer in layers]
        stages = decoder_layers(lm.model, lm.arch)
        top = layers[-1]
        with torch.inference_mode(), truncated(lm, top), mlp_at_end(lm, top), ExitStack() as stack:
            inputs = capture_all(downs, "input", stack)
            (states_of_top,) = capture_all([stages[top]], "output", stack)
            below = capture_all([stages[layers[0] - 1]], "output", stack) if keep else []
            if begun is not None:
                start, states = begun
                stack.enter_context(resumed_at(lm, start, lambda: states))
            # Without the head: nobody reads logits here.
            lm.model.base_model(**batch.model_inputs, use_cache=False)
        read = {layer: seen[0] for layer, seen in zip(layers, inputs, strict=True)}
        return _Seen(read, states_of_top[0], below[0][0] if below else None)

    def _room(self, layer: int) -> bool:
        """Whether the outputs of a layer may be kept, besides those that are."""
        if layer < 0 or not self._again:
            return False
        tokens = sum(batch.input_ids.numel() for batch in self._batches)
        size = next(self._lm.model.parameters()).element_size() * width_of(self._lm.model)
        others = len(self._kept.keys() - {layer})
        return (others + 1) * tokens * size <= budget(self._lm)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of one pass, (rows, length, d) or flattened as the module has them."""

    keys: dict[int, Tensor]
    states: Tensor
    below: Tensor | None


def keys_and_states(
    lm: LM, rows: Sequence[SubjectText], layers: Sequence[int], *, batch_rows: int = 256
) -> KeysAndStates:
    """One reading of a `KeyReader`: the keys of all `layers` and the output of the last of them. Raises EditError when a text lacks its
    subject.
    """
    return KeyReader(lm, rows, batch_rows=batch_rows, again=False).read(layers)


def keys_of(
    lm: LM, texts: Sequence[SubjectText], layers: Sequence[int], *, batch_rows: int
) -> dict[int, Tensor]:
    """The keys of `one_per_key(texts)`, (keys, d_in) by layer. Raises EditError as `keys_and_states` does."""
    return keys_and_states(lm, one_per_key(texts), layers, batch_rows=batch_rows).keys


def _at_end(hidden: Tensor, rows: int) -> Tensor:
    """(rows, d) float32: the last column, also of an MLP that flattens its rows (OPT) and of one that saw nothing else."""
    return hidden.reshape(rows, -1, hidden.shape[-1])[:, -1].float()
