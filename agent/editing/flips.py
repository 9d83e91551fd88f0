"""Where does a free value vector flip an answer? A direct measure of where edits can take, beside causal tracing.

Causal tracing says where a fact is recalled, and that does not predict where an edit succeeds (Hase et al. 2301.04213). A solve writes
value vectors at the subject's last token, and falls short of them: where a free one, found for each fact alone and put there by hand, does
not bring about another answer, an edit of that layer's MLP hardly will.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from agent.editing.losses import labelled, labels_at_end
from agent.editing.objective import LayerOutput
from agent.editing.settings import EditSettings
from agent.editing.tails import tails
from agent.editing.trace import TracedFact
from agent.editing.values import optimise_at
from agent.lm.load import LM
from agent.lm.tokens import encode_targets, subject_rows
from agent.types import EditRequest

Tensor = torch.Tensor
Progress = Callable[[int, int], None]
# An answer that flips does so in the first few steps; the rest only make it surer.
_STEPS = 12


def free_settings(settings: EditSettings) -> EditSettings:
    """Nothing but the new answer counts, for a few steps; how far and how fast a vector may go stays the user's choice. What the
    optimisation of a value does not read is left out, so that two users of one model have one result.
    """
    return EditSettings(
        steps=min(settings.steps, _STEPS), lr=settings.lr, clamp=settings.clamp, kl=0.0, decay=0.0,
        stop_loss=max(settings.stop_loss, 0.1), chunk=settings.chunk, batch_rows=settings.batch_rows,
    )  # fmt: skip


def flip_shares(
    lm: LM, facts: Sequence[TracedFact], settings: EditSettings, progress: Progress | None = None
) -> tuple[float, ...]:
    """By layer: the share of facts after whose prompt the model says `other`, all of it, with a free vector at the subject's last token.

    `progress(done, total)` counts facts times layers. The model is as before afterwards.
    """
    requests = [EditRequest(f.subject, (f.prompt,), f.other, f.answer) for f in facts]
    alone = [[index] for index in range(len(requests))]
    wanted = free_settings(settings)
    shares = []
    for layer in range(lm.n_layers):
        tell = _shifted(progress, layer, lm.n_layers)
        (pushes,) = optimise_at(lm, requests, alone, ("",), layer, LayerOutput(layer), wanted, tell)
        said = [
            flipped(lm, facts[start : start + wanted.chunk], pushes[start : start + wanted.chunk], layer)
            for start in range(0, len(facts), wanted.chunk)
        ]
        shares.append(float(torch.cat(said).double().mean()))
    return tuple(shares)


def flipped(lm: LM, facts: Sequence[TracedFact], pushes: Tensor, layer: int) -> Tensor:
    """(facts,) bool: whether greedy generation says `other` with `pushes` (facts, d) added to the output of `layer` at the subject's last
    token.

    Asked in one pass: it does just when every token of `other` is the likeliest one behind those before it.
    """
    targets = encode_targets(lm, [fact.other for fact in facts])
    batch = subject_rows(lm, [f.prompt for f in facts], [f.subject for f in facts], [t[:-1] for t in targets])
    labels = labels_at_end(targets, lm.device)
    places = labelled(labels)
    with torch.inference_mode():
        likeliest = tails(lm, batch, layer).logp(lm, pushes.to(lm.device), places).argmax(-1)
    missed = torch.zeros_like(places)
    missed[places] = likeliest != labels[places]
    return (~missed.any(-1)).cpu()


def _shifted(progress: Progress | None, layer: int, n_layers: int) -> Progress | None:
    """`progress` of one layer as that of all."""
    if progress is None:
        return None
    return lambda done, total: progress(layer * total + done, n_layers * total)
