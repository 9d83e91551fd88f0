"""Look at, or change, what flows through a module, for the length of a `with` block. Nothing stays behind.

with capture(down, "input") as seen:  model(...)      # seen[-1] is the tensor
with edit_input(head, fn):            model(...)      # the module gets fn(input)
with edit_output(down, fn):           model(...)      # the module's output is fn(output)
with truncated(lm, 3):                model(...)      # layers after 3 do no work
with mlp_at_end(lm, 3):               model(...)      # in layer 3 only the last column is right
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.functional import pad

from agent.lm.arch import decoder_layers
from agent.lm.load import LM

Tensor = torch.Tensor


@contextmanager
def capture(module: nn.Module, what: Literal["input", "output"]) -> Iterator[list[Tensor]]:
    """Collect the first positional input, or the output, of every call of `module` (of tuples their first
    element).
    """
    seen: list[Tensor] = []

    def hook(_module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen.append(args[0] if what == "input" else first(output))

    handle = module.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def edit_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the module's first positional input by `change(input)`."""

    def hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (change(args[0]), *args[1:])

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def edit_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the module's output by `change(output)`."""

    def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        changed = change(first(output))
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replaced_forward(modules: Sequence[nn.Module], forwards: Sequence[Callable[..., Any]]) -> Iterator[None]:
    """Give each module another `forward`; the one it had comes back afterwards.

    That is its class's, or one of its own: accelerate puts one on a module that it moves between devices.
    """
    own = [module.__dict__.get("forward") for module in modules]
    for module, forward in zip(modules, forwards, strict=True):
        module.forward = forward
    try:
        yield
    finally:
        for module, before in zip(modules, own, strict=True):
            if before is None:
                del module.forward
            else:
                module.forward = before


@contextmanager
def truncated(lm: LM, layer: int) -> Iterator[None]:
    """Layers after `layer` pass their input on untouched: for passes that only want keys or states up to
    there.
    """
    after = decoder_layers(lm.model, lm.arch)[layer + 1 :]
    with replaced_forward(after, [_pass_on(lm) for _ in after]):
        yield


@contextmanager
def resumed_at(lm: LM, layer: int, states: Callable[[], Tensor]) -> Iterator[None]:
    """Layers up to `layer` do no work; `layer` returns `states()`: the layers above run on cached hidden
    states.
    """
    upto = decoder_layers(lm.model, lm.arch)[: layer + 1]
    forwards = [_pass_on(lm) for _ in upto[:-1]]
    with replaced_forward(upto, [*forwards, _pass_on(lm, states)]):
        yield


@contextmanager
def mlp_at_end(lm: LM, layer: int) -> Iterator[None]:
    """The layer's MLP works on the last column only: behind it, the output of that layer means nothing elsewhere.

    An MLP works token by token, so the last one is as ever. One that is no module of its own (OPT's), or is not called with (rows,
    length, d_model) alone, runs whole.
    """
    path = lm.arch.down.rpartition(".")[0]
    if not path:
        yield
        return
    mlp = decoder_layers(lm.model, lm.arch)[layer].get_submodule(path)
    own = mlp.forward

    def forward(*hidden: Tensor, **named: Any) -> Any:
        if named or any(part.ndim != 3 for part in hidden):
            return own(*hidden, **named)  # called in a way of its own
        # BLOOM hands in the residual stream as well.
        out = own(*(part[:, -1:] for part in hidden))
        return pad(out, (0, 0, hidden[0].shape[1] - 1, 0))

    with replaced_forward([mlp], [forward]):
        yield


def capture_all(
    modules: Sequence[nn.Module], what: Literal["input", "output"], stack: ExitStack
) -> list[list[Tensor]]:
    """`capture` for several modules inside one ExitStack; one list per module."""
    return [stack.enter_context(capture(module, what)) for module in modules]


def first(output: Any) -> Tensor:
    """Decoder layers return a tensor in some families and a tuple in others (transformers 5)."""
    return output[0] if isinstance(output, tuple) else output


def _pass_on(lm: LM, states: Callable[[], Tensor] | None = None) -> Callable[..., Any]:
    def forward(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Any:
        out = hidden_states if states is None else states()
        return (out,) if lm.tuple_layers else out

    return forward
