"""The value vectors: for each fact the smallest push at its subject's last token after which the model says
the new target.

For request i, minimise over delta_i (ROME 2202.05262 eq. 4, MEMIT 2210.07229 eq. 16, with the KL over the
same subject's *other* relations instead of "{subject} is a"):

    mean over prompts and contexts of NLL(target | h + delta_i)  +  kl * KL(keep prompts | h + delta_i)  +
    decay * |delta_i|² / |h|²

All requests run together, one row per prompt and context, each from its subject's last token on (`agent.editing.tails`). Every step
looks at all edit rows and at one in `settings.turns` of the keep rows, by turns. A request whose loss is low enough stops and its
rows leave the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from agent.editing.keys import SubjectText, keys_and_states
from agent.editing.objective import Group, LayerOutput, Rows, Site, build_rows
from agent.editing.settings import EditSettings
from agent.editing.tails import budget, kept_by_row
from agent.lm.guess import width_of
from agent.lm.load import LM
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[int, int], None]


def optimise_values(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, settings: EditSettings,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """delta (requests, d_model) float32 on the CPU, to be added to the output of `layer` at each subject's
    last token; NaN for a request that was given up.
    """
    return optimise_at(lm, requests, contexts, layer, LayerOutput(layer), settings, progress)[0]


def optimise_at(
    lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int, site: Site, settings: EditSettings,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """(pushes, requests, d_model) float32 on the CPU for the pushes of `site`, in units and bounds of |h|, h the output of `layer`;
    NaN for a request that was given up.

    Requests are taken in chunks, in the order given, so that a value depends on its chunk only: of `settings.chunk`, or of fewer where
    the memory asks for it.
    """
    found = [torch.zeros(site.pushes, 0, width_of(lm.model))]
    size = _chunk(lm, requests, len(contexts), settings)
    for start in range(0, len(requests), size):
        chunk = requests[start : start + size]
        rows = build_rows(lm, chunk, contexts, site, settings)
        norms = _mean_norms(lm, chunk, contexts, layer)
        found.append(_optimise_chunk(lm, rows, norms, site, settings))
        if progress:
            progress(min(start + size, len(requests)), len(requests))
    return torch.cat(found, 1)


def _chunk(lm: LM, requests: Sequence[EditRequest], contexts: int, settings: EditSettings) -> int:
    """How many requests are optimised together: what is kept of their rows between two steps is to fit the budget."""
    rows = max((len(r.prompts) * contexts + len(r.keep) for r in requests), default=1)
    return max(1, min(settings.chunk, int(budget(lm) / (rows * kept_by_row(lm)))))


def _optimise_chunk(lm: LM, rows: Rows, norms: Tensor, site: Site, settings: EditSettings) -> Tensor:
    width, count = width_of(lm.model), len(norms)
    # Adam moves every coordinate by about lr a step, whatever the scale of the states: so it works in units
    # of |h| / sqrt(d), and one step is lr * |h| long on every model.
    unit = (norms / width**0.5)[:, None]
    push = torch.zeros(site.pushes, count, width, device=lm.device, requires_grad=True)
    optimiser = torch.optim.Adam([push], lr=settings.lr)
    active = torch.ones(count, dtype=torch.bool, device=lm.device)
    loss = torch.zeros(count, device=lm.device)
    kls = torch.full((settings.turns, count), math.inf, device=lm.device)
    for step in range(settings.steps):
        turn = step % settings.turns
        nll, kls[turn] = _descend(lm, rows.turns[turn], site, push, unit, settings)
        loss = torch.where(active, nll, loss)
        done = active & (nll < settings.stop_loss) & (kls.mean(0) < max(settings.stop_loss, 0.05))
        _step(optimiser, push, active & ~done, settings.clamp * width**0.5)
        if bool(done.any()):
            active = active & ~done
            if not bool(active.any()):
                break
            rows = rows.of(active)
    # What the model cannot be made to say would only push it about, and the facts solved with it.
    hopeless = loss > settings.give_up if settings.give_up else torch.zeros_like(active)
    return torch.where(hopeless[:, None], math.nan, push.detach() * unit).cpu()


def _descend(
    lm: LM, groups: Sequence[Group], site: Site, push: Tensor, unit: Tensor, settings: EditSettings
) -> tuple[Tensor, Tensor]:
    """Sets the gradient of `push` to that of the whole objective; (requests,) each one's mean NLL and KL.

    One backward pass for each group: no more is kept in memory than one of them needs.
    """
    push.grad = None
    nll, kl = (torch.zeros(push.shape[1], device=push.device) for _ in range(2))
    for group in groups:
        found = group.losses(lm, site, push * unit, settings.kl)
        penalty = settings.decay * push.square().mean(-1).sum() / len(groups)
        (found.total + penalty).backward()
        nll, kl = nll + found.nll, kl + found.kl
    return nll, kl


def _step(optimiser: torch.optim.Optimizer, push: Tensor, active: Tensor, largest: float) -> None:
    """One Adam step of the active requests and the projection onto |push| <= largest; the others stay."""
    frozen = push.detach().clone()
    optimiser.step()
    with torch.no_grad():
        norms = push.norm(dim=-1, keepdim=True)
        push.mul_((largest / norms.clamp(min=1e-12)).clamp(max=1.0))
        push[:, ~active] = frozen[:, ~active]


def _mean_norms(lm: LM, requests: Sequence[EditRequest], contexts: Sequence[str], layer: int) -> Tensor:
    """(requests,): mean |h| at the subject over a request's edit rows."""
    texts = [
        (SubjectText(context + prompt, request.subject), owner, 1 / len(request.prompts) / len(contexts))
        for owner, request in enumerate(requests)
        for prompt in request.prompts
        for context in contexts
    ]
    rows, owners, weights = zip(*texts, strict=True)
    norms = keys_and_states(lm, rows, [layer]).states.norm(dim=-1)
    owner = torch.tensor(owners, device=norms.device)
    return norms.new_zeros(len(requests)).index_add_(0, owner, norms * norms.new_tensor(weights))
