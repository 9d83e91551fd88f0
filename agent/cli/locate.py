"""`factd locate`: which layers of a model to edit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import Session, session
from agent.cli.text import out, out_lines, plural
from agent.errors import InputError, UsageError
from agent.whole import write_whole

if TYPE_CHECKING:
    from agent.editing.located import Located
    from agent.editing.trace import TracedFact
    from agent.settings import Settings


def locate(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A checkpoint folder or hub id. It is never written.")
    ],
    facts: Annotated[
        int, typer.Option("--facts", metavar="N", min=8, help="Known facts to trace, at most.")
    ] = 50,
    edits: Annotated[
        Path | None,
        typer.Option("--edits", metavar="FILE", help="Facts of an edit file, in place of the catalogue's."),
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Draw the heat maps (needs matplotlib).")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything measured; - for stdout.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Which facts, and the noise.")] = 0,
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="NAME", help="auto, float32, bfloat16 or float16.")
    ] = None,
) -> None:
    """Find the layers in which a model recalls facts and takes edits of them, and recommend some for editing.layers.

    Facts that the model answers right are traced: their subject is blurred, then one layer's clean state put back. A second table
    does the same with what MLPs write; and a free vector in each layer shows where answers can be turned at all. docs/locate.md says
    how to read it. With a state folder the result is kept there, for the same question and for compilations without editing.layers.
    """
    asked = session(ctx)
    settings = _settings(asked, model, dtype)
    _check_targets(png, json_file)
    candidates = _candidates(settings, edits, seed)
    from agent.editing.located import save_located
    from agent.locate import LocateSettings
    from agent.locate import locate as measure
    from agent.workshop import load_model

    lm = load_model(settings)
    cache = settings.state / "cache" if settings.state.is_dir() else None
    with asked.progress() as line:
        found = measure(
            lm, candidates, LocateSettings(facts, seed, settings.editing), cache=cache, progress=line
        )
    document = json.dumps(found.to_json(), indent=1, allow_nan=False)
    if json_file == Path("-"):
        out_lines(document.splitlines())
    else:
        _show(found, model, settings)
    if cache is not None:
        _kept(cache, lambda: save_located(cache, lm, found))
    if json_file is not None and json_file != Path("-"):
        _kept(json_file, lambda: write_whole(json_file, document + "\n"))
        asked.note(f"wrote {json_file}")
    if png is not None:
        from agent.cli.heatmap import png as drawn

        _kept(png, lambda: write_whole(png, drawn(found)))
        asked.note(f"wrote {png}")


def _settings(asked: Session, model: str, dtype: str | None) -> Settings:
    from dataclasses import replace

    from agent.config import load

    settings = load(asked.config, state=asked.state, model=model)
    # Plain text, also for a chat model: tokens are grouped by their place in the prompt itself.
    return replace(settings, model=replace(settings.model, dtype=dtype or settings.model.dtype, chat="off"))


def _check_targets(png: Path | None, json_file: Path | None) -> None:
    """Before minutes of work: whether the results will have a place, and whether they can be drawn."""
    from importlib.util import find_spec

    for option, file in (("--png", png), ("--json", json_file)):
        if file is not None and file != Path("-") and not file.absolute().parent.is_dir():
            raise UsageError(f"{option} {file}: there is no folder {file.absolute().parent}")
        if file is not None and file.is_dir():
            raise UsageError(f"{option} {file}: is a folder; name a file in it")
    if png is not None and find_spec("matplotlib") is None:
        raise UsageError("--png needs matplotlib, which is not installed; pip install 'factd[plots]'")


def _candidates(settings: Settings, edits: Path | None, seed: int) -> tuple[TracedFact, ...]:
    from agent.locate import from_catalogue, from_edits

    if edits is not None:
        from agent.editfiles import read_edits

        return from_edits(read_edits(edits), seed)
    from agent.catalogue import load_catalogue
    from agent.relations import load_relations

    return from_catalogue(load_catalogue(settings.catalogue), load_relations(settings.relations), seed)


def _show(found: Located, model: str, settings: Settings) -> None:
    from agent.cli.heatmap import shaded, tables

    out(f"{plural(found.facts, 'fact')} that {model} answers right, of {found.asked} asked")
    out(
        f"noise on the subject takes {found.lost:.2f} of {found.clean:.2f}, the mean probability of the answer's first token; "
        "shown is the share of it that comes back"
    )
    out()
    out_lines(tables(found, shades=shaded(sys.stdout)))
    out()
    if not found.layers:
        out(
            f"no layer to recommend: a free vector at the subject's last token turns {max(found.flips):.2f} of the answers in the best "
            "layer, so that edits of its MLPs are not likely to take"
        )
        return
    names = ", ".join(map(str, found.layers))
    out(f"recommended: layers {names} for MEMIT and AlphaEdit; ROME and EMMET take the last of them")
    out_lines(("editing:", f"  layers: [{names}]"))
    if settings.editing.layers and settings.editing.layers != found.layers:
        out(f"the settings say {list(settings.editing.layers)}, and that is what is used")


def _kept(file: Path, write: Callable[[], None]) -> None:
    """Raises InputError when it cannot be written; what is on the screen by then is not lost."""
    try:
        write()
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror or error})") from error
