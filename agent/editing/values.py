"""The value vectors: for each fact the smallest push at its subject's last token after which the model says
the new target.

For request i, minimise over delta_i (ROME 2202.05262 eq. 4, MEMIT 2210.07229 eq. 16, with the KL over the
same subject's *other* relations instead of "{subject} is a"):

    mean over prompts and contexts of NLL(target | h + delta_i)  +  kl * KL(keep prompts | h + delta_i)  +
    decay * |delta_i|² / |h|²

Facts of one subject have one delta, and their NLLs are added (`agent.editing.subjects`). All requests run together, one row per prompt and context, each from its subject's last token on (`agent.editing.tails`). Every step
looks at some edit rows of each and at one in `settings.turns` of the keep rows, by turns. A push whose losses are low enough stops and its
rows leave the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import torch

from agent.editing.keys import SubjectText, keys_and_states
from agent.editing.objective import Group, LayerOutput, Rows, Site, build_rows
from agent.editing.settings import EditSettings
from agent.editing.subjects import by_subject, one_push
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
    """delta (requests, d_model) float32 on the CPU, to be added to the output of `layer` at each subject's last token: one for all
    requests of a subject; NaN for a request that was given up.
    """
    site = LayerOutput(layer)
    return optimise_at(lm, requests, by_subject(requests), contexts, layer, site, settings, progress)[0]


def optimise_at(
    lm: LM, requests: Sequence[EditRequest], groups: Sequence[Sequence[int]], contexts: Sequence[str], layer: int,
    site: Site, settings: EditSettings, progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """(pushes, requests, d_model) float32 on the CPU for the pushes of `site`, in units and bounds of |h|, h the output of `layer`;
    NaN for a request that was given up.

    `groups`: indices of requests that have one push, all of one subject. Groups are taken in chunks, in the order given, so that a push
    depends on its chunk only: of `settings.chunk`, or of fewer where the memory asks for it.
    """
    requests = [replace(request, prompts=request.prompts[: settings.prompts or None]) for request in requests]
    found = torch.full((site.pushes, len(requests), width_of(lm.model)), math.nan)
    waiting, settled = [list(group) for group in groups], 0
    while waiting:
        again = []
        for chunk in _chunks(lm, requests, waiting, len(contexts), settings):
            members = [one_push([requests[i] for i in group]) for group in chunk]
            pushes, hopeless = _optimise_chunk(lm, members, contexts, layer, site, settings)
            failed = {index for index, fails in zip(chain(*chunk), hopeless, strict=True) if fails}
            for number, group in enumerate(chunk):
                said = [index for index in group if index not in failed]
                if 0 < len(said) < len(group):
                    # What the model cannot be made to say has pushed its subject's others about: once more without it.
                    again.append(said)
                    settled += len(group) - len(said)
                else:
                    found[:, said] = pushes[:, number : number + 1]
                    settled += len(group)
            if progress:
                progress(settled, len(requests))
        waiting = again
    return found


def _chunks(
    lm: LM,
    requests: Sequence[EditRequest],
    groups: Sequence[list[int]],
    contexts: int,
    settings: EditSettings,
) -> Iterator[Sequence[list[int]]]:
    """Groups that are optimised together: what is kept of their rows between two steps is to fit the budget."""
    rows = max(
        sum(len(requests[i].prompts) * contexts + len(requests[i].keep) for i in group) for group in groups
    )
    size = max(1, min(settings.chunk, int(budget(lm) / (rows * kept_by_row(lm, settings.keep_tokens)))))
    return (groups[start : start + size] for start in range(0, len(groups), size))


def _optimise_chunk(
    lm: LM, groups: Sequence[Sequence[EditRequest]], contexts: Sequence[str], layer: int, site: Site, settings: EditSettings
) -> tuple[Tensor, list[bool]]:  # fmt: skip
    """(pushes, groups, d_model) on the CPU, and of each request, group by group, whether it is hopeless."""
    requests = [request for group in groups for request in group]
    rows = build_rows(lm, requests, contexts, site, settings)
    owner = torch.tensor([number for number, group in enumerate(groups) for _ in group], device=lm.device)
    norms = _mean_norms(lm, requests, owner, contexts, layer)
    push, loss = _descended(lm, rows, owner, norms, site, settings)
    hopeless = (loss > settings.give_up).tolist() if settings.give_up else [False] * len(requests)
    return push.cpu(), hopeless


def _descended(
    lm: LM, rows: Rows, owner: Tensor, norms: Tensor, site: Site, settings: EditSettings
) -> tuple[Tensor, Tensor]:
    """Pushes (pushes, groups, d_model), and (requests,) each one's NLL, over all turns, when its group stopped. `owner` (requests,): the group."""
    width, count, requests = width_of(lm.model), len(norms), len(owner)
    # Adam moves every coordinate by about lr a step, whatever the scale of the states: so it works in units
    # of |h| / sqrt(d), and one step is lr * |h| long on every model.
    unit = (norms / width**0.5)[:, None]
    push = torch.zeros(site.pushes, count, width, device=lm.device, requires_grad=True)
    optimiser = torch.optim.Adam([push], lr=settings.lr)
    active = torch.ones(count, dtype=torch.bool, device=lm.device)
    # Facts told one by one would each go so far, in directions of their own.
    largest = settings.clamp * (width * torch.bincount(owner)[:, None]) ** 0.5
    nlls, kls = (torch.full((settings.turns, requests), math.inf, device=lm.device) for _ in range(2))
    for step in range(settings.steps):
        turn = step % settings.turns
        nll, kl = _descend(lm, rows.turns[turn], site, push, unit, owner, settings)
        nlls[turn] = torch.where(active[owner], nll, nlls[turn])
        kls[turn] = kl
        good = (nlls.mean(0) < settings.stop_loss) & (kls.mean(0) < max(settings.stop_loss, 0.05))
        bad = torch.zeros(count, device=lm.device).index_add_(0, owner, (~good).float())
        done = active & (bad == 0)
        _step(optimiser, push, active & ~done, largest)
        if bool(done.any()):
            active = active & ~done
            if not bool(active.any()):
                break
            rows = rows.of(active[owner])
    return push.detach() * unit, nlls[: settings.steps].mean(0)


def _descend(
    lm: LM, parts: Sequence[Group], site: Site, push: Tensor, unit: Tensor, owner: Tensor, settings: EditSettings
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Sets the gradient of `push` to that of the whole objective; (requests,) each one's mean NLL and KL.

    One backward pass for each part: no more is kept in memory than one of them needs.
    """
    push.grad = None
    nll, kl = (torch.zeros(len(owner), device=push.device) for _ in range(2))
    for part in parts:
        found = part.losses(lm, site, (push * unit)[:, owner], settings.kl)
        penalty = settings.decay * push.square().mean(-1).sum() / len(parts)
        (found.total + penalty).backward()
        nll, kl = nll + found.nll, kl + found.kl
    return nll, kl


def _step(optimiser: torch.optim.Optimizer, push: Tensor, active: Tensor, largest: Tensor) -> None:
    """One Adam step of the active pushes and the projection onto |push| <= `largest` (groups, 1); the others stay."""
    frozen = push.detach().clone()
    optimiser.step()
    with torch.no_grad():
        norms = push.norm(dim=-1, keepdim=True)
        push.mul_((largest / norms.clamp(min=1e-12)).clamp(max=1.0))
        push[:, ~active] = frozen[:, ~active]


def _mean_norms(
    lm: LM, requests: Sequence[EditRequest], owner: Tensor, contexts: Sequence[str], layer: int
) -> Tensor:
    """(groups,): mean |h| at the subject over a group's edit rows. `owner` (requests,): the group."""
    texts = [
        (SubjectText(context + prompt, request.subject), group)
        for request, group in zip(requests, owner.tolist(), strict=True)
        for prompt in request.prompts
        for context in contexts
    ]
    rows, groups = zip(*texts, strict=True)
    norms = keys_and_states(lm, rows, [layer]).states.norm(dim=-1)
    of = torch.tensor(groups, device=norms.device)
    counts = torch.bincount(of)
    return norms.new_zeros(len(counts)).index_add_(0, of, norms) / counts
