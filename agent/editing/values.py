"""The value vectors: for each fact the smallest push at its subject's last token after which the model says
the new target.

For request i, minimise over delta_i (ROME 2202.05262 eq. 4, MEMIT 2210.07229 eq. 16, with the KL over the
same subject's *other* relations instead of "{subject} is a"):

    mean over prompts and contexts of NLL(target | h + delta_i)  +  kl * KL(keep prompts | h + delta_i)  +
    decay * |delta_i|² / |h|²

All requests run together, one row per prompt and context. Hidden states up to the edited layer are computed
once and every step runs only the layers above. Every step looks at all edit rows and at one in `settings.turns` of the keep rows,
by turns. A request whose loss is low enough stops and its rows leave the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from agent.editing.keys import at_subject
from agent.editing.losses import divergence, labels_at_end, last_logp, target_nll
from agent.editing.settings import EditSettings
from agent.lm.arch import decoder_layers
from agent.lm.hooks import capture, resumed_at, truncated
from agent.lm.load import LM
from agent.lm.tokens import SubjectRows, encode_target, subject_rows
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Rows:
    """One row per (request, prompt, context), and per (request, keep prompt).

    `owner` (rows,): the request. `labels` (rows, width): the token wanted at each of the last `width`
    columns, -100 elsewhere; a keep row has none. `states` (rows, length, d): output of the edited layer on
    the unedited model. `keep_logp` (rows, vocab): what a keep row's last column said before. `turn` (rows,): when a keep row is
    looked at, -1 for an edit row; `weight` (rows,): its share in its request's mean.
    """

    batch: SubjectRows
    owner: Tensor
    labels: Tensor
    states: Tensor
    keep_logp: Tensor
    turn: Tensor
    weight: Tensor

    @property
    def is_keep(self) -> Tensor:
        return self.turn >= 0

    def at(self, turn: int) -> _Rows:
        return self.pick((self.turn < 0) | (self.turn == turn))

    def pick(self, mask: Tensor) -> _Rows:
        batch = SubjectRows(
            self.batch.input_ids[mask], self.batch.attention_mask[mask], self.batch.positions[mask]
        )
        rest = (self.owner, self.labels, self.states, self.keep_logp, self.turn, self.weight)
        return _Rows(batch, *(tensor[mask] for tensor in rest))


def optimise_values(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, settings: EditSettings,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """delta (requests, d_model) float32 on the CPU, to be added to the output of `layer` at each subject's
    last token; NaN for a request that was given up.

    Requests are taken in chunks of `settings.chunk`, in the order given, so that a value depends on its chunk
    only.
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
    rows = _build_rows(lm, requests, contexts, layer, settings.turns)
    norms = _mean_norms(rows, len(requests))
    width = rows.states.shape[-1]
    # Adam moves every coordinate by about lr a step, whatever the scale of the states: so it works in units
    # of |h| / sqrt(d), and one step is lr * |h| long on every model.
    unit = (norms / width**0.5)[:, None]
    push = torch.zeros(len(requests), width, device=lm.device, requires_grad=True)
    optimiser = torch.optim.Adam([push], lr=settings.lr)
    active = torch.ones(len(requests), dtype=torch.bool, device=lm.device)
    loss = torch.zeros(len(requests), device=lm.device)
    kls = torch.full((settings.turns, len(requests)), math.inf, device=lm.device)
    for step in range(settings.steps):
        turn = step % settings.turns
        optimiser.zero_grad()
        nll, kl = _losses(lm, rows.at(turn), push * unit, layer, len(requests))
        kls[turn] = kl.detach()
        loss = torch.where(active, nll.detach(), loss)
        penalty = settings.decay * push.square().mean(-1)
        (nll + settings.kl * kl + penalty)[active].sum().backward()
        done = active & (nll.detach() < settings.stop_loss) & (kls.mean(0) < max(settings.stop_loss, 0.05))
        _step(optimiser, push, active & ~done, settings.clamp * width**0.5)
        if bool(done.any()):
            active = active & ~done
            if not bool(active.any()):
                break
            rows = rows.pick(active[rows.owner])
    # What the model cannot be made to say would only push it about, and the facts solved with it.
    hopeless = loss > settings.give_up if settings.give_up else torch.zeros_like(active)
    return torch.where(hopeless[:, None], math.nan, push.detach() * unit).cpu()


def _step(optimiser: torch.optim.Optimizer, push: Tensor, active: Tensor, largest: float) -> None:
    """One Adam step of the active requests and the projection onto |push| <= largest; the others stay."""
    frozen = push.detach().clone()
    optimiser.step()
    with torch.no_grad():
        norms = push.norm(dim=-1)
        push.mul_((largest / norms.clamp(min=1e-12)).clamp(max=1.0)[:, None])
        push[~active] = frozen[~active]


def _build_rows(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, turns: int
) -> _Rows:
    texts, subjects, tails, labels, owner, turn, weight = [], [], [], [], [], [], []
    for i, request in enumerate(requests):
        target = encode_target(lm, request.target_new)
        edits = [(context + prompt, target) for prompt in request.prompts for context in contexts]
        keeps: list[tuple[str, list[int]]] = [(prompt, []) for prompt in request.keep]
        for text, wanted in [*edits, *keeps]:
            texts.append(text)
            subjects.append(request.subject)
            tails.append(wanted[:-1])
            labels.append(wanted)
            owner.append(i)
        turn += [*(-1 for _ in edits), *(k % turns for k in range(len(keeps)))]
        weight += [*(1 / len(edits) for _ in edits), *(turns / len(keeps) for _ in keeps)]
    batch = subject_rows(lm, texts, subjects, tails)
    states = _states(lm, batch, layer)
    owners, turned, weights = (torch.tensor(column, device=lm.device) for column in (owner, turn, weight))
    keep_logp = _keep_logp(lm, batch, states, layer, turned >= 0)
    return _Rows(batch, owners, labels_at_end(labels, lm.device), states, keep_logp, turned, weights)


def _states(lm: LM, batch: SubjectRows, layer: int) -> Tensor:
    top = decoder_layers(lm.model, lm.arch)[layer]
    with torch.no_grad(), truncated(lm, layer), capture(top, "output") as seen:
        lm.model(**batch.model_inputs, use_cache=False, logits_to_keep=1)
    return seen[0]


def _keep_logp(lm: LM, batch: SubjectRows, states: Tensor, layer: int, keep: Tensor) -> Tensor:
    """(rows, vocab) log-probabilities of the last column; zero-width when no request has keep prompts."""
    if not bool(keep.any()):
        return torch.zeros(len(keep), 0, device=states.device)
    with torch.no_grad(), resumed_at(lm, layer, lambda: states):
        return last_logp(lm, batch, 1)[:, -1]


def _mean_norms(rows: _Rows, count: int) -> Tensor:
    """(requests,): mean |h| at the subject over a request's edit rows."""
    norms = at_subject(rows.states, rows.batch).norm(dim=-1)
    edit = ~rows.is_keep
    return _mean(norms[edit], rows, edit, count)


def _mean(values: Tensor, rows: _Rows, chosen: Tensor, count: int) -> Tensor:
    """(requests,): weighted sum of `values`, one for each chosen row, by request; 0 for a request without any."""
    weighted = values * rows.weight[chosen]
    return torch.zeros(count, device=values.device).index_add_(0, rows.owner[chosen], weighted)


def _losses(lm: LM, rows: _Rows, delta: Tensor, layer: int, count: int) -> tuple[Tensor, Tensor]:
    """(requests,) mean NLL per target token over the edit rows, and mean KL over the keep rows."""
    every = torch.arange(len(rows.owner), device=delta.device)

    def states() -> Tensor:
        push = delta[rows.owner].to(rows.states.dtype)
        return rows.states.index_put((every, rows.batch.positions), push, accumulate=True)

    with resumed_at(lm, layer, states):
        logp = last_logp(lm, rows.batch, rows.labels.shape[1])
    edit, keep = ~rows.is_keep, rows.is_keep
    nll = _mean(target_nll(logp[edit], rows.labels[edit]), rows, edit, count)
    if not bool(keep.any()):
        return nll, torch.zeros_like(nll)
    return nll, _mean(divergence(rows.keep_logp[keep], logp[keep, -1]), rows, keep, count)
