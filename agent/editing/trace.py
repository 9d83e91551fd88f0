"""Causal tracing (ROME 2202.05262, section 2): at which layer and which tokens does a model recall a fact?

The subject's embeddings are corrupted with noise, so that the answer's probability falls from p to p*. Then the clean state of one layer
at one group of tokens is put back, and the answer rises to p'. Reported is the average indirect effect over the average total effect,

    share(layer, group) = sum of (p' - p*) / sum of (p - p*)        over all facts and noise samples,

1 where all of the answer comes back. With `mlp` what is put back is only what the MLPs of a window of layers around the layer write (the
output of their down projections), for ROME edits MLPs.

Below the layer where something is put back a row is the corrupted run itself. So the clean and the corrupted states are captured once
and every restoration starts there (`resumed_at`): one pass for each layer over the layers above it, whose rows are all prompts, noise
samples and groups. That is half the work of running every restoration from the bottom, and a batch instead of single rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import torch

from agent.errors import EditError
from agent.lm.arch import decoder_layers, down_module
from agent.lm.hooks import capture_all, edit_output, resumed_at
from agent.lm.load import LM
from agent.lm.tokens import Batch, by_length, encode, encode_targets, subject_end, subject_rows

Tensor = torch.Tensor
Progress = Callable[[int, int], None]
Table = tuple[tuple[float | None, ...], ...]
GROUPS = ("subject, first", "subject, last", "behind the subject", "last token")
SUBJECT_LAST = GROUPS.index("subject, last")


@dataclass(frozen=True, slots=True)
class TracedFact:
    """A prompt that the model goes on with `answer`. It contains `subject`, and ends behind it. `other` is an answer of the same kind
    that is not right here.
    """

    prompt: str
    subject: str
    answer: str
    other: str


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """`samples`: noise samples for each prompt. `noise`: its standard deviation, in units of that of the subjects' embeddings. `window`:
    MLPs put back together, as a share of the depth (the paper: 10 of 48). `batch_rows`: rows of one forward pass. `seed`: of the noise.
    """

    samples: int = 4
    noise: float = 3.0
    window: float = 0.2
    batch_rows: int = 256
    seed: int = 0

    def width(self, n_layers: int) -> int:
        """How many layers' MLPs are put back together."""
        return max(1, round(self.window * n_layers))

    def span(self, layer: int, n_layers: int) -> range:
        """The layers whose MLPs are put back for `layer`: a window around it, cut at the ends of the stack."""
        start = layer - self.width(n_layers) // 2
        return range(max(start, 0), min(start + self.width(n_layers), n_layers))


@dataclass(frozen=True, slots=True)
class Trace:
    """Shares of the lost probability that come back, by layer and group of tokens (`GROUPS`); None where no prompt has such tokens.

    `states`: the layer's output is put back; `mlp`: what the MLPs around it write. `clean`: mean probability of the answer's first
    token, `lost`: what noise takes of it.
    """

    states: Table
    mlp: Table
    clean: float
    lost: float


def trace(
    lm: LM, facts: Sequence[TracedFact], settings: TraceSettings, progress: Progress | None = None
) -> Trace:
    """Both tables over all facts. The model is as before afterwards; a fact's noise depends on the seed and its prompt alone.

    Raises EditError when a prompt lacks its subject, and when the noise takes nothing from the answers: then there is nothing to trace.
    """
    deviation = settings.noise * embedding_spread(lm, facts)
    per_pass = max(1, settings.batch_rows // (settings.samples * len(GROUPS)))
    lengths = [len(row) for row in encode(lm, [fact.prompt for fact in facts])]
    effects = _Effects(lm.n_layers)
    done = 0
    for indices in by_length(lengths, per_pass):
        scene = stage_scene(lm, [facts[i] for i in indices], deviation, settings)
        effects.start(scene)
        for layer in range(lm.n_layers):
            effects.add(0, layer, scene, scene.with_states(lm, layer))
            effects.add(1, layer, scene, scene.with_mlps(lm, settings.span(layer, lm.n_layers)))
            if progress:
                progress(done + len(indices) * (layer + 1) // lm.n_layers, len(facts))
        done += len(indices)
    return effects.result(len(facts))


def embedding_spread(lm: LM, facts: Sequence[TracedFact]) -> float:
    """Standard deviation over all coordinates of the embeddings of the subjects' tokens."""
    batch = subject_rows(lm, [f.prompt for f in facts], [f.subject for f in facts])
    tokens = token_groups(lm, facts, batch)[:, : SUBJECT_LAST + 1].any(1)
    with torch.inference_mode():
        return float(lm.model.get_input_embeddings()(batch.input_ids)[tokens].float().std())


def token_groups(lm: LM, facts: Sequence[TracedFact], batch: Batch) -> Tensor:
    """(prompts, groups, length) bool: which columns of `batch`, the facts' prompts left-padded, belong to which of `GROUPS`.

    A subject of one token has no first tokens, and a prompt may have nothing between its subject and its last token.
    """
    length = batch.input_ids.shape[1]
    groups = torch.zeros(len(facts), len(GROUPS), length, dtype=torch.bool)
    offsets = lm.tokenizer([fact.prompt for fact in facts], return_offsets_mapping=True)["offset_mapping"]
    for row, (fact, spans) in enumerate(zip(facts, offsets, strict=True)):
        end = subject_end(fact.prompt, fact.subject)
        start, pad = end - len(fact.subject), length - len(spans)
        inside = [pad + i for i, (a, b) in enumerate(spans) if b > start and a < end]
        last = inside[-1]
        groups[row, 0, inside[:-1]] = True
        groups[row, 1, last] = True
        groups[row, 2, last + 1 : length - 1] = True
        groups[row, 3, length - 1] = last != length - 1
    return groups.to(lm.device)


def subject_noise(fact: TracedFact, samples: int, tokens: int, width: int, seed: int) -> Tensor:
    """(samples, tokens, width) float32 standard normal: the fact's own, whatever facts it is traced with."""
    digest = hashlib.sha256(f"{seed}\0{fact.prompt}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.randn(samples, tokens, width, generator=generator)


@dataclass(frozen=True, slots=True)
class Scene:
    """P prompts of T columns, their clean run and S corrupted ones, and R restorations: one for each prompt, sample and group of tokens
    that the prompt has.

    Index 0 of the states is the embedding, index l + 1 the output of layer l: `clean` (P, T, d) and `corrupted` (P, S, T, d); `mlp` has by
    layer what the down projection wrote in the clean run, (P, T, d). `before` (P,) and `after` (P, S): probability of the answer's first
    token in either run. `prompt`, `sample`, `group`, `target` (R,) int64: whose restoration it is, and that token; `tokens` (R, T) bool:
    where it takes place; `rows`: its prompt.
    """

    clean: Sequence[Tensor]
    corrupted: Sequence[Tensor]
    mlp: Sequence[Tensor]
    before: Tensor
    after: Tensor
    prompt: Tensor
    sample: Tensor
    group: Tensor
    target: Tensor
    tokens: Tensor
    rows: Batch

    def with_states(self, lm: LM, layer: int) -> Tensor:
        """(R,) float32: the target's probability with the clean output of `layer` (-1: the embedding) put back."""
        with torch.inference_mode():
            states = self._mixed(self._corrupted(layer), self.clean[layer + 1])
            with _from(lm, layer, states):
                return _probability(lm, self.rows, self.target)

    def with_mlps(self, lm: LM, span: range) -> Tensor:
        """(R,) float32: the same with what the down projections of the layers `span` wrote put back."""
        below = span[0] - 1
        with torch.inference_mode(), ExitStack() as stack:
            stack.enter_context(_from(lm, below, self._corrupted(below)))
            for layer in span:
                down = down_module(lm.model, lm.arch, layer)
                stack.enter_context(edit_output(down, self._putting(self.mlp[layer])))
            return _probability(lm, self.rows, self.target)

    def _corrupted(self, layer: int) -> Tensor:
        return self.corrupted[layer + 1][self.prompt, self.sample]

    def _mixed(self, hidden: Tensor, clean: Tensor) -> Tensor:
        """(R, T, d): `hidden` with `clean` (P, T, d) where each restoration takes place."""
        return torch.where(self.tokens[..., None], clean[self.prompt], hidden)

    def _putting(self, clean: Tensor) -> Callable[[Tensor], Tensor]:
        """For a module's output, whose rows and columns may be one dimension (OPT's MLP)."""
        shape = self.tokens.shape
        return lambda hidden: self._mixed(hidden.reshape(*shape, -1), clean).reshape(hidden.shape)


def stage_scene(lm: LM, facts: Sequence[TracedFact], deviation: float, settings: TraceSettings) -> Scene:
    """The clean run of the facts' prompts and their runs with noise of that standard deviation on the subjects' embeddings."""
    prompts = subject_rows(lm, [f.prompt for f in facts], [f.subject for f in facts])
    groups = token_groups(lm, facts, prompts)
    target = torch.tensor([ids[0] for ids in encode_targets(lm, [f.answer for f in facts])], device=lm.device)
    modules = [lm.model.get_input_embeddings(), *decoder_layers(lm.model, lm.arch)]
    downs = [down_module(lm.model, lm.arch, layer) for layer in range(lm.n_layers)]
    runs = torch.arange(len(facts), device=lm.device).repeat_interleave(settings.samples)
    with torch.inference_mode():
        with ExitStack() as stack:
            seen = capture_all(modules, "output", stack)
            wrote = capture_all(downs, "output", stack)
            before = _probability(lm, prompts, target)
        clean = [states[0] for states in seen]
        mlp = [states[0].reshape(*prompts.input_ids.shape, -1) for states in wrote]
        with ExitStack() as stack:
            stack.enter_context(_from(lm, -1, _noisy(facts, clean[0], groups, deviation, settings)))
            # Entered later: these hooks see what the one on the embedding made of its output.
            seen = capture_all(modules, "output", stack)
            after = _probability(lm, _picked(prompts, runs), target[runs])
    corrupted = [states[0].unflatten(0, (len(facts), settings.samples)) for states in seen]
    there = groups.any(-1)[:, None].expand(-1, settings.samples, -1)
    prompt, sample, group = there.nonzero().unbind(-1)
    return Scene(
        clean, corrupted, mlp, before, after.view(len(facts), -1), prompt, sample, group, target[prompt],
        groups[prompt, group], _picked(prompts, prompt),
    )  # fmt: skip


def _noisy(
    facts: Sequence[TracedFact], embedded: Tensor, groups: Tensor, deviation: float, settings: TraceSettings
) -> Tensor:
    """(P * S, T, d): the embeddings (P, T, d) with noise at the subjects' tokens."""
    noisy = embedded[:, None].repeat(1, settings.samples, 1, 1)
    for row, fact in enumerate(facts):
        columns = groups[row, : SUBJECT_LAST + 1].any(0).nonzero()[:, 0]
        noise = subject_noise(fact, settings.samples, len(columns), embedded.shape[-1], settings.seed)
        noisy[row, :, columns] += (deviation * noise).to(noisy)
    return noisy.flatten(0, 1)


def _from(lm: LM, layer: int, states: Tensor) -> AbstractContextManager[None]:
    """The model runs from the output of `layer` on, which is `states`; -1 is the embedding."""
    if layer < 0:
        return edit_output(lm.model.get_input_embeddings(), lambda _embedded: states)
    return resumed_at(lm, layer, lambda: states)


def _picked(batch: Batch, rows: Tensor) -> Batch:
    return Batch(batch.input_ids[rows], batch.attention_mask[rows])


def _probability(lm: LM, batch: Batch, target: Tensor) -> Tensor:
    """(rows,) float32: probability of each row's `target` behind its last column."""
    logits = lm.model(**batch.model_inputs, use_cache=False, logits_to_keep=1).logits[:, -1].float()
    return (logits.gather(-1, target[:, None])[:, 0] - logits.logsumexp(-1)).exp()


class _Effects:
    """Sums of the indirect effects by kind (states, MLPs), layer and group, and of the total effects that they are shares of."""

    def __init__(self, n_layers: int) -> None:
        self.back = torch.zeros(2, n_layers, len(GROUPS), dtype=torch.float64)
        self.lost = torch.zeros(len(GROUPS), dtype=torch.float64)
        self.clean = self.taken = 0.0

    def start(self, scene: Scene) -> None:
        lost = (scene.before[:, None] - scene.after).double()
        self.lost.index_add_(0, scene.group.cpu(), lost[scene.prompt, scene.sample].cpu())
        self.clean += float(scene.before.sum())
        self.taken += float(lost.mean(1).sum())

    def add(self, kind: int, layer: int, scene: Scene, restored: Tensor) -> None:
        """`restored` (R,): the probability with each restoration."""
        back = (restored - scene.after[scene.prompt, scene.sample]).double()
        self.back[kind, layer].index_add_(0, scene.group.cpu(), back.cpu())

    def result(self, facts: int) -> Trace:
        clean, lost = self.clean / max(facts, 1), self.taken / max(facts, 1)
        if lost <= 0.05 * clean:
            raise EditError(
                f"noise on the subjects takes {lost:.3f} of the answers' mean probability of {clean:.3f}: they do not come from the "
                "subjects, so there is nothing to trace; give facts whose answer the prompt alone does not tell"
            )
        states, mlp = (tuple(map(self._shares, self.back[kind].tolist())) for kind in (0, 1))
        return Trace(states, mlp, clean, lost)

    def _shares(self, back: Sequence[float]) -> tuple[float | None, ...]:
        return tuple(b / lost if lost > 0 else None for b, lost in zip(back, self.lost.tolist(), strict=True))
