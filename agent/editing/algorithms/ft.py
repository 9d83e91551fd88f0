"""Constrained fine-tuning, the baseline every editing method is measured against (Zhu et al. 2020, 2012.00363; FT+L in ROME's paper,
FT-M in EasyEdit's terms): no key, no value, no closed form.

The down projection of one layer is moved by Adam on the targets' NLL alone, each entry by at most epsilon. What else the layer stores is
protected by that bound only: expect the subject's other answers, and other subjects', to suffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from agent.editing.algorithms.base import Problem
from agent.editing.delta import LowRank
from agent.editing.losses import labelled, labels_at_end, target_nll
from agent.editing.written import written
from agent.lm.arch import as_out_in, down_module
from agent.lm.load import LM
from agent.lm.tokens import SubjectRows, by_length, encode_targets, subject_rows
from agent.types import EditRequest

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one forward pass, one per request and prompt. `labels` (rows, width): the token wanted at each of the last columns,
    -100 elsewhere. `owner` (rows,): the request; `weight` (rows,): one over its number of prompts.
    """

    batch: SubjectRows
    labels: Tensor
    owner: Tensor
    weight: Tensor


def fine_tune(lm: LM, problem: Problem) -> dict[int, LowRank]:
    """argmin over dW of the sum over requests of the mean NLL of their targets, |dW| <= epsilon entry by entry, at the last of `layers`
    (2012.00363 eq. 3 with the L-infinity norm).

    epsilon = `settings.ft_eps` * rms(W) / sqrt(d_in): no output moves by more than `ft_eps` times |k| rms(W), its usual size. A step moves
    an entry by about `settings.lr` of epsilon. Stops when every request's loss is below `settings.stop_loss`. Rows are the bare prompts.
    Raises EditError when a prompt lacks its subject: such a request is wrong, although nothing here needs the place.
    """
    settings, layer = problem.settings, problem.layers[-1]
    module = down_module(lm.model, lm.arch, layer)
    weight = as_out_in(module).detach().float()
    epsilon = settings.ft_eps * weight.square().mean().sqrt() / weight.shape[1] ** 0.5
    parts = _parts(lm, problem.requests, settings.batch_rows)
    move = torch.zeros_like(weight, requires_grad=True)
    optimiser = torch.optim.Adam([move], lr=settings.lr)
    for _ in range(settings.steps):
        optimiser.zero_grad()
        loss = torch.zeros(len(problem.requests), device=lm.device)
        for part in parts:
            with written(lm, {layer: weight + move * epsilon}):
                nll = target_nll(_last_logp(lm, part)[labelled(part.labels)], part.labels) * part.weight
            nll.sum().backward(inputs=[move])
            loss.index_add_(0, part.owner, nll.detach())
        if bool((loss < settings.stop_loss).all()):
            break
        optimiser.step()
        with torch.no_grad():
            move.clamp_(-1.0, 1.0)
    return {layer: _dense((move.detach() * epsilon).cpu())}


def _dense(update: Tensor) -> LowRank:
    """dW (d_out, d_in) as I dWᵀ. Adam divides each entry by its own scale and the bound cuts entries: nothing of low rank is left, so
    a singular value decomposition would store as much (d_out is the smaller side) and be exact no more. d_out (d_out + d_in) numbers:
    0.3 GB for 4,096 x 14,336, whatever the number of facts.
    """
    return LowRank(torch.eye(update.shape[0]), update.T.contiguous())


def _last_logp(lm: LM, part: _Part) -> Tensor:
    """(rows, width, vocab) float32 log-probabilities at the labels' columns. Whole prompts: every token feels another weight."""
    width = part.labels.shape[1]
    logits: Tensor = lm.model(**part.batch.model_inputs, use_cache=False, logits_to_keep=width).logits
    return logits.float().log_softmax(-1)


def _parts(lm: LM, requests: Sequence[EditRequest], batch_rows: int) -> list[_Part]:
    rows = [(i, request, prompt) for i, request in enumerate(requests) for prompt in request.prompts]
    targets = encode_targets(lm, [request.target_new for request in requests])
    return [
        _part(lm, [rows[i] for i in indices], targets)
        for indices in by_length([len(prompt) for _, _, prompt in rows], batch_rows)
    ]


def _part(lm: LM, rows: Sequence[tuple[int, EditRequest, str]], targets: Sequence[Sequence[int]]) -> _Part:
    wanted = [targets[i] for i, _, _ in rows]
    batch = subject_rows(
        lm,
        [prompt for *_, prompt in rows],
        [r.subject for _, r, _ in rows],
        [target[:-1] for target in wanted],
    )
    owner = torch.tensor([i for i, _, _ in rows], device=lm.device)
    weight = torch.tensor([1 / len(request.prompts) for _, request, _ in rows], device=lm.device)
    return _Part(batch, labels_at_end(wanted, lm.device), owner, weight)
