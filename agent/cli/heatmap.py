"""What `factd locate` measured as a picture: shaded cells on a terminal, plain numbers elsewhere, or a PNG."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, TextIO

from agent.cli.text import table

if TYPE_CHECKING:
    from agent.editing.located import Located

_SHADES = " ░▒▓█"
_COLOURS = "Purples"
# With more layers than this the cells of the picture are too small for numbers.
_NUMBERED = 24
Row = Sequence[float | None]


def shaded(stream: TextIO) -> bool:
    """Whether blocks may be drawn: a terminal that has them, whose user did not ask for plain text (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    try:
        _SHADES.encode(stream.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def tables(found: Located, *, shades: bool) -> list[str]:
    """The lines of both tables, the last layer at the bottom."""
    from agent.editing.trace import GROUPS

    states = [(*row, flips) for row, flips in zip(found.states, found.flips, strict=True)]
    mlp = f"what {_mlps(found)} wrote" if found.window > 1 else "what the layer's MLP wrote"
    return [
        "put back: the layer's output; flips: facts that a free vector at the subject's last token turns",
        *_lines((*GROUPS, "flips"), states, shades),
        "",
        f"put back: {mlp}",
        *_lines(GROUPS, found.mlp, shades),
    ]


def _mlps(found: Located) -> str:
    return f"the MLPs of {found.window} layers around it"


def _lines(headers: Sequence[str], rows: Sequence[Row], shades: bool) -> list[str]:
    cells = [
        (str(layer).rjust(5), *(_cell(share, shades) for share in row)) for layer, row in enumerate(rows)
    ]
    return table(("layer", *headers), cells)


def _cell(share: float | None, shades: bool) -> str:
    number = "-" if share is None else f"{share + 0.0:.2f}".replace("-0.00", "0.00")
    if not shades:
        return number
    level = min(max(share or 0.0, 0.0), 1.0) * (len(_SHADES) - 1)
    return f"{_SHADES[round(level)] * 3} {number}"


def png(found: Located) -> bytes:
    """Three panels over the layers: both traces, and the flips; the recommended layers are framed. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from agent.editing.trace import GROUPS

    n_layers = len(found.flips)
    figure, panels = pyplot.subplots(
        3, 1, figsize=(min(3.6 + 0.55 * n_layers, 16.0), 5.4), sharex=True, constrained_layout=True,
        gridspec_kw={"height_ratios": [len(GROUPS), len(GROUPS), 1]},
    )  # fmt: skip
    mlp = _mlps(found) if found.window > 1 else "the layer's MLP"
    titles = (
        "clean output of one layer put back",
        f"clean output of {mlp} put back",
        "a free vector at the subject's last token: facts that flip",
    )
    drawn = (found.states, found.mlp, [[share] for share in found.flips])
    for axes, title, rows, names in zip(panels, titles, drawn, (GROUPS, GROUPS, ("flips",)), strict=True):
        image = _panel(axes, rows, names)
        axes.set_title(title, fontsize=9)
    _framed(panels, found.layers)
    panels[-1].set_xlabel("layer (recommended between the dashed lines)" if found.layers else "layer")
    figure.colorbar(image, ax=panels, label="share", fraction=0.05)
    figure.suptitle(
        f"Where {found.facts} known facts are recalled: share of the lost probability that comes back",
        fontsize=10,
    )
    content = BytesIO()
    figure.savefig(content, format="png", dpi=150)
    pyplot.close(figure)
    return content.getvalue()


def _panel(axes: Any, rows: Sequence[Row], names: Sequence[str]) -> Any:
    """Draws one heat map, layers from left to right, and returns its image."""
    columns = [[float("nan") if share is None else share for share in row] for row in zip(*rows, strict=True)]
    image = axes.imshow(columns, cmap=_COLOURS, vmin=0, vmax=1, aspect="auto")
    step = 1 + (len(rows) - 1) // _NUMBERED
    axes.set_xticks(range(0, len(rows), step))
    axes.set_yticks(range(len(names)), names)
    if len(rows) <= _NUMBERED:
        for group, shares in enumerate(columns):
            for layer, share in enumerate(shares):
                colour = "white" if share > 0.5 else "black"
                axes.text(layer, group, _cell(share, False) if share == share else "-", ha="center", va="center",
                          fontsize=7, color=colour)  # fmt: skip
    return image


def _framed(panels: Sequence[Any], layers: Sequence[int]) -> None:
    """Dashed lines through all panels at both ends of the recommended layers."""
    for axes in panels:
        for edge in (layers[0] - 0.5, layers[-1] + 0.5) if layers else ():
            axes.axvline(edge, color="black", linewidth=1.2, linestyle="--")
