"""PMET's value vectors (Li et al. 2023, 2308.08742; written from the paper): what the MLP should add is not what the layer should.

For request i, minimise over two pushes at the subject's last token, one on the attention's output a and one on the MLP's output m:

    mean over prompts and contexts of NLL(target | a + alpha_i, m + delta_i)  +  kl * KL(keep prompts | the same)
    +  decay * (|alpha_i|² + |delta_i|²) / |h|²

and keep delta alone: attention carries what holds for many facts, and is not to be written for one. Where attention and MLP follow each
other, alpha also passes through the layer's MLP; where they run side by side (GPT-J, NeoX, Falcon) both pushes see one gradient, and delta
is just half of what they push together. Plainly written: every step runs the whole model on all rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from agent.editing.keys import at_subject, by_row
from agent.editing.losses import divergence, labels_at_end, last_logp, target_nll
from agent.editing.settings import EditSettings
from agent.lm.arch import decoder_layers, down_module
from agent.lm.attention import attention_module
from agent.lm.hooks import capture, edit_output, truncated
from agent.lm.load import LM
from agent.lm.tokens import SubjectRows, encode_target, subject_rows
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Rows:
    """One row per (request, prompt, context), and per (request, keep prompt).

    `owner` (rows,): the request. `labels` (rows, width): the token wanted at each of the last columns, -100 elsewhere; a keep row has
    none. `keep` (rows,) bool. `before` (rows, vocab): log-probabilities of the last column on the model as it is. `weight` (rows,): its
    share in its request's mean.
    """

    batch: SubjectRows
    owner: Tensor
    labels: Tensor
    keep: Tensor
    before: Tensor
    weight: Tensor

    def mean(self, values: Tensor, chosen: Tensor, count: int) -> Tensor:
        """(requests,): mean of `values`, one for each chosen row, by request; 0 for a request without any."""
        weighted = values * self.weight[chosen]
        return torch.zeros(count, device=values.device).index_add_(0, self.owner[chosen], weighted)


def optimise_mlp_values(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, settings: EditSettings,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """delta (requests, d_model) float32 on the CPU, to be added to the output of the down projection of `layer` at each subject's last
    token; NaN for a request that was given up.

    Chunks as in `optimise_values`. Raises EditError when a prompt lacks its subject, ModelError when the family's attention is unknown.
    """
    found = []
    for start in range(0, len(requests), settings.chunk):
        found.append(_optimise_chunk(lm, requests[start : start + settings.chunk], contexts, layer, settings))
        if progress:
            progress(min(start + settings.chunk, len(requests)), len(requests))
    return torch.cat(found) if found else torch.zeros(0, int(lm.model.config.hidden_size))


def _optimise_chunk(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, settings: EditSettings
) -> Tensor:
    count, width = len(requests), int(lm.model.config.hidden_size)
    rows = _build_rows(lm, requests, contexts)
    # In units of |h| / sqrt(d) a step of Adam is about lr * |h| long on every model.
    unit = (_state_norms(lm, rows, layer, count) / width**0.5)[:, None]
    push = torch.zeros(2, count, width, device=lm.device, requires_grad=True)
    optimiser = torch.optim.Adam([push], lr=settings.lr)
    active = torch.ones(count, dtype=torch.bool, device=lm.device)
    loss = torch.zeros(count, device=lm.device)
    for _ in range(settings.steps):
        optimiser.zero_grad()
        nll, kl = _losses(lm, rows, push * unit, layer)
        loss = torch.where(active, nll.detach(), loss)
        penalty = settings.decay * push.square().mean(-1).sum(0)
        (nll + settings.kl * kl + penalty)[active].sum().backward()
        active = active & ~(
            (nll.detach() < settings.stop_loss) & (kl.detach() < max(settings.stop_loss, 0.05))
        )
        if not bool(active.any()):
            break
        _step(optimiser, push, active, settings.clamp * width**0.5)
    hopeless = loss > settings.give_up if settings.give_up else torch.zeros_like(active)
    return torch.where(hopeless[:, None], math.nan, push[1].detach() * unit).cpu()


def _step(optimiser: torch.optim.Optimizer, push: Tensor, active: Tensor, largest: float) -> None:
    """One Adam step of the active requests, either push then no longer than `largest`; the others stay."""
    frozen = push.detach().clone()
    optimiser.step()
    with torch.no_grad():
        push.mul_((largest / push.norm(dim=-1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0))
        push[:, ~active] = frozen[:, ~active]


def _build_rows(lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str]) -> _Rows:
    texts, subjects, targets, owner, keep, weight = [], [], [], [], [], []
    for i, request in enumerate(requests):
        edits = [context + prompt for prompt in request.prompts for context in contexts]
        target = encode_target(lm, request.target_new)
        texts += [*edits, *request.keep]
        targets += [*(target for _ in edits), *([] for _ in request.keep)]
        keep += [*(False for _ in edits), *(True for _ in request.keep)]
        weight += [*(1 / len(edits) for _ in edits), *(1 / len(request.keep) for _ in request.keep)]
        subjects += [request.subject] * (len(edits) + len(request.keep))
        owner += [i] * (len(edits) + len(request.keep))
    batch = subject_rows(lm, texts, subjects, [target[:-1] for target in targets])
    with torch.no_grad():
        before = last_logp(lm, batch, 1)[:, -1]
    owners, kept, weights = (torch.tensor(column, device=lm.device) for column in (owner, keep, weight))
    return _Rows(batch, owners, labels_at_end(targets, lm.device), kept, before, weights)


def _state_norms(lm: LM, rows: _Rows, layer: int, count: int) -> Tensor:
    """(requests,): mean |h| at the subject over a request's edit rows, h the layer's output."""
    top = decoder_layers(lm.model, lm.arch)[layer]
    with torch.no_grad(), truncated(lm, layer), capture(top, "output") as seen:
        lm.model(**rows.batch.model_inputs, use_cache=False, logits_to_keep=1)
    norms = at_subject(seen[0], rows.batch).norm(dim=-1)
    return rows.mean(norms[~rows.keep], ~rows.keep, count)


def _losses(lm: LM, rows: _Rows, pushes: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """(requests,) NLL per target token over the edit rows, and KL over the keep rows. `pushes` (2, requests, d_model): attention, MLP."""
    modules = (attention_module(lm, layer), down_module(lm.model, lm.arch, layer))
    attention, mlp = (_pushed(rows, push) for push in pushes)
    with edit_output(modules[0], attention), edit_output(modules[1], mlp):
        logp = last_logp(lm, rows.batch, rows.labels.shape[1])
    edit, count = ~rows.keep, pushes.shape[1]
    nll = rows.mean(target_nll(logp[edit], rows.labels[edit]), edit, count)
    return nll, rows.mean(divergence(rows.before[rows.keep], logp[rows.keep, -1]), rows.keep, count)


def _pushed(rows: _Rows, push: Tensor) -> Callable[[Tensor], Tensor]:
    """`push` (requests, d_model) added to a module's output at each row's subject."""
    every = torch.arange(len(rows.owner), device=push.device)

    def change(output: Tensor) -> Tensor:
        added = push[rows.owner].to(output.dtype)
        hidden = by_row(output, rows.batch).index_put((every, rows.batch.positions), added, accumulate=True)
        return hidden.reshape(output.shape)

    return change
