"""A run of training: model, optimizer and step; one step of it, and the checkpoint from which it goes on."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM

from agent.demo.recipe import Recipe, model_config
from agent.errors import InputError

CHECKPOINT = "checkpoint.pt"


@dataclass(slots=True)
class Run:
    """What a run changes: model, optimizer, the next step, seconds spent, and the last mean loss."""

    model: Any
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    loss: float = math.nan


def begin(recipe: Recipe, tokenizer: Any, device: str) -> Run:
    """A model of random weights, by torch's seed, before its first step."""
    config = model_config(recipe, recipe.vocab, tokenizer.eos_token_id, tokenizer.pad_token_id)
    # sdpa's backward halves the speed on a CPU.
    attention = "eager" if device == "cpu" else "sdpa"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention).to(
        device
    )
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.95), fused=device != "cpu")
    return Run(model, optimizer)


def take_step(run: Run, recipe: Recipe, forward: Any, ids: Tensor) -> Tensor:
    """One optimizer step; the loss, a detached scalar left on the device so that nobody waits for it."""
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, run.step)
    if recipe.value_noise or recipe.mlp_dropout:
        torch.manual_seed(recipe.seed * 1_000_003 + run.step)
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=bf16_pays(ids.device)):
        logits = forward(input_ids=ids, use_cache=False).logits[:, :-1]
    flat = logits.flatten(0, 1).float()
    loss = functional.cross_entropy(flat, ids[:, 1:].flatten(), label_smoothing=recipe.label_smoothing)
    whole = loss + recipe.z_loss * flat.logsumexp(-1).square().mean() if recipe.z_loss else loss
    run.optimizer.zero_grad(set_to_none=True)
    whole.backward()
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip)
    run.optimizer.step()
    return loss.detach()


def bf16_pays(device: torch.device) -> bool:
    """Whether bfloat16 products are fast there: on a CPU without instructions for them they are 20 to 60
    times slower.
    """
    if device.type != "cpu":
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine to zero at the last step."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    share = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * share))


def save(run: Run, recipe: Recipe, out: Path) -> None:
    """Leave a checkpoint in `out`, in place of the one before."""
    state = {
        "recipe": dataclasses.asdict(recipe),
        "step": run.step,
        "seconds": run.seconds,
        "loss": run.loss,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
    }
    partial = out / f"{CHECKPOINT}.partial"
    torch.save(state, partial)
    partial.replace(out / CHECKPOINT)


def restore(run: Run, recipe: Recipe, out: Path, device: str) -> None:
    """Go on from the checkpoint in `out`. Raises InputError when there is none, or it belongs to another recipe."""
    path = out / CHECKPOINT
    if not path.is_file():
        raise InputError(f"{path}: no checkpoint to resume; leave --resume away to begin anew")
    state = torch.load(path, map_location=device, weights_only=True)
    if state["recipe"] != dataclasses.asdict(recipe):
        raise InputError(
            f"{path}: belongs to another recipe; pass the same --set options or choose another --out"
        )
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.seconds, run.loss = state["step"], state["seconds"], state["loss"]
