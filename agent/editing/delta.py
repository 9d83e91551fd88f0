"""A revision's difference to the base: one low-rank update per edited weight, solved in float64, kept in
float32.

`applied(lm, delta)` puts it into a loaded model for a `with` block and afterwards gives back the saved
originals bit for bit: subtracting would drift in bf16.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from agent.errors import EditError
from agent.lm.arch import is_transposed
from agent.lm.load import LM

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class LowRank:
    """`left @ right.T`, the update of a weight seen as (d_out, d_in): left (d_out, r), right (d_in, r),
    float32.
    """

    left: Tensor
    right: Tensor

    def __post_init__(self) -> None:
        """Raises EditError when the factors do not fit together."""
        if self.left.ndim != 2 or self.right.ndim != 2 or self.left.shape[1] != self.right.shape[1]:
            raise EditError(
                f"low-rank factors must be (d_out, r) and (d_in, r), got {tuple(self.left.shape)} "
                f"and {tuple(self.right.shape)}"
            )

    @property
    def rank(self) -> int:
        return int(self.left.shape[1])

    def dense(self) -> Tensor:
        """(d_out, d_in) float32."""
        return self.left @ self.right.T


def stacked(updates: Sequence[LowRank]) -> LowRank:
    """The sum of several updates of one weight as one of the sum of their ranks; of rank d_out where that would be more, as I dWᵀ."""
    d_out = updates[0].left.shape[0]
    if len(updates) > 1 and sum(update.rank for update in updates) > d_out:
        dense = torch.stack([update.dense() for update in updates]).sum(0)
        return LowRank(torch.eye(d_out), dense.T.contiguous())
    return LowRank(torch.cat([u.left for u in updates], 1), torch.cat([u.right for u in updates], 1))


@dataclass(frozen=True, slots=True)
class Delta:
    """Updates by parameter name (`...down_proj.weight`), against the base whose files hash to `base_sha`."""

    updates: Mapping[str, LowRank]
    base_sha: str

    def to_bytes(self) -> bytes:
        """The safetensors file. Equal deltas give equal bytes."""
        tensors = {}
        for name in sorted(self.updates):
            tensors[f"{name}.left"] = self.updates[name].left.contiguous().cpu()
            tensors[f"{name}.right"] = self.updates[name].right.contiguous().cpu()
        # One entry only: safetensors writes its metadata map in a random order, and equal deltas must be
        # equal bytes.
        return save_tensors(tensors, metadata={"base_sha": self.base_sha})

    @property
    def sha(self) -> str:
        """SHA-256 (hex) of `to_bytes()`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def empty_delta(base_sha: str) -> Delta:
    return Delta({}, base_sha)


def load_delta(path: Path) -> Delta:
    """Read a file written by `to_bytes`. Raises EditError when it cannot be read or is none."""
    try:
        data = path.read_bytes()
        tensors = load_tensors(data)
        base_sha = _metadata(data)["base_sha"]
        names = sorted(name.removesuffix(".left") for name in tensors if name.endswith(".left"))
        updates = {name: LowRank(tensors[f"{name}.left"], tensors[f"{name}.right"]) for name in names}
    except (OSError, ValueError, KeyError, SafetensorError, EditError) as error:
        raise EditError(
            f"{path}: cannot be read as a delta ({error}); roll back to another revision"
        ) from error
    return Delta(updates, base_sha)


def _metadata(data: bytes) -> dict[str, str]:
    size = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return metadata


@contextmanager
def applied(lm: LM, delta: Delta) -> Iterator[LM]:
    """The model with the delta in it. Raises EditError when the delta was compiled against other weights."""
    if delta.base_sha != lm.sha:
        raise EditError(
            f"this delta was compiled against base {delta.base_sha[:12]}, the loaded model is {lm.sha[:12]}; "
            "load the model it belongs to, or compile the facts again"
        )
    with restored(lm, list(delta.updates)):
        for name, update in delta.updates.items():
            add_(module_of(lm, name), update.left, update.right)
        yield lm


@contextmanager
def restored(lm: LM, names: list[str]) -> Iterator[None]:
    """Whatever happens to these parameters inside the block, afterwards they are bit for bit as before."""
    try:
        parameters = {name: lm.model.get_parameter(name) for name in names}
    except AttributeError as error:
        raise EditError(f"the model has no such weight ({error}): another model's delta") from error
    saved = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(saved[name])


def module_of(lm: LM, parameter_name: str) -> nn.Module:
    module: nn.Module = lm.model.get_submodule(parameter_name.removesuffix(".weight"))
    return module


def add_(module: nn.Module, left: Tensor, right: Tensor) -> None:
    """Add `left @ right.T` (d_out, d_in) to the module's weight in place: summed in float32, rounded once."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    update = left.to(weight.device, torch.float32) @ right.to(weight.device, torch.float32).T
    if is_transposed(module):
        update = update.T
    if update.shape != weight.shape:
        raise EditError(
            f"the update is {tuple(update.shape)}, the weight {tuple(weight.shape)}: another model's delta"
        )
    with torch.no_grad():
        weight.copy_((weight.float() + update).to(weight.dtype))
