"""Which layers to edit, from what was measured: a pure rule."""

from __future__ import annotations

from collections.abc import Sequence

_AS_GOOD = 0.9
_HIGH = 0.5
_HOPELESS = 0.2
_MOST = 5


def recommended(traced: Sequence[float | None], flips: Sequence[float]) -> tuple[int, ...]:
    """Layers for MEMIT, ascending and contiguous; ROME takes the last of them. Empty where no layer promises anything.

    `traced`: share that comes back with each layer's output at the subject's last token (None: not known); `flips`: share of facts that a
    free vector there flips. Raises ValueError unless there is one of each for every layer.

    The last layer is the deepest that flips at least 0.9 of what the best one flips and whose trace is at least half of its highest:
    values are optimised there, and each layer more below it has one more MLP to share the update with (MEMIT 2210.07229).
    Flips decide, because tracing does not predict where edits succeed (Hase et al. 2301.04213). Tracing is asked as well, because a free
    vector can also shout an answer into a layer behind the one where the fact is read; such a vector holds for that prompt and not for
    the next phrasing. Where no layer has both, it is of the layers that flip the one that tracing likes best.

    The span ends there and holds a third of the stack and one layer more, at most five: 3 of 6 and of 8 layers served the small models
    made here, published spans have five or six of 28 to 48. Below a fifth of flips in the best layer there is nothing to choose.
    """
    if len(traced) != len(flips):
        raise ValueError(
            f"{len(traced)} traced layers, {len(flips)} layers of flips: one of each for every layer"
        )
    best = max(flips, default=0.0)
    if best < _HOPELESS:
        return ()
    shares = [share or 0.0 for share in traced]
    flipping = [layer for layer, share in enumerate(flips) if share >= _AS_GOOD * best]
    both = [layer for layer in flipping if shares[layer] >= _HIGH * max(shares)]
    last = both[-1] if both else max(flipping, key=lambda layer: (shares[layer], layer))
    return tuple(range(max(0, last + 1 - span_length(len(flips))), last + 1))


def span_length(n_layers: int) -> int:
    """How many layers an update is spread over in a model of that depth."""
    return min(_MOST, 1 + n_layers // 3, n_layers)
