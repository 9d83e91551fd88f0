"""`factd stats`: the key statistics of a model, prepared ahead of its first edit."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import Session, session
from agent.cli.text import emit, err, out, out_lines, table
from agent.errors import UsageError
from agent.private import make_folder
from agent.store.lock import worker_lock

if TYPE_CHECKING:
    from agent.editing.settings import EditSettings
    from agent.editing.statfile import KeyStatistics


@dataclass(frozen=True, slots=True)
class _Measured:
    """`seconds` is None where they were there already; `ranks` by layer: d_in and the effective rank."""

    found: KeyStatistics
    seconds: float | None
    ranks: dict[int, tuple[int, float]]


def stats(
    ctx: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="A checkpoint folder or hub id; else the settings'."),
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", metavar="4-8", help="Also 4,5,6. Else those that are edited.")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option("--corpus", metavar="DIR", help="Local texts (.txt, .md, .jsonl), else own samples."),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option("--tokens", metavar="N", min=1, help="So many, else until they are steady."),
    ] = None,
    out_: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to keep them, else the state's cache.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Measure the inputs of the layers that are edited, ahead of the first edit, which finds them in the
    state.

    It finds them if its settings are these: model, editing.layers, editing.corpus,
    editing.statistics_tokens. Interrupted, it goes on where it stood.
    """
    asked = replace(session(ctx), model=model or session(ctx).model)
    wanted = _layers(layers)
    measured = _measure(asked, wanted, corpus, tokens, out_)
    if json:
        emit(_record(measured))
    else:
        _show(measured)
    if measured.found.warning:
        err(f"warning: {measured.found.warning}")


def _measure(
    asked: Session, layers: tuple[int, ...], corpus: Path | None, tokens: int | None, folder: Path | None
) -> _Measured:
    settings = asked.settings()
    editing = _changed(settings.editing, corpus, tokens)
    from agent.editing.covariance import statistics_for
    from agent.editing.moments import effective_rank
    from agent.workshop import editing_for, load_model

    with _place(settings.state, folder) as kept, asked.progress() as line:
        lm = load_model(settings)
        layers = layers or editing_for(settings, lm, settings.state / "cache").layers
        told: list[int] = []

        def tell(done: int, total: int) -> None:
            told.append(done)
            line("covariance", done, total)

        started = time.perf_counter()
        found = statistics_for(lm, layers, editing, folder=kept, progress=tell)
        seconds = time.perf_counter() - started if told else None
        ranks = {}
        for number, layer in enumerate(found.matrices, 1):
            matrix = found.matrices[layer]
            ranks[layer] = (len(matrix), effective_rank(matrix))
            line("effective rank", number, len(found.matrices))
    return _Measured(found, seconds, ranks)


def _changed(editing: EditSettings, corpus: Path | None, tokens: int | None) -> EditSettings:
    """A corpus named here goes before statistics that the settings name."""
    if corpus is not None:
        editing = replace(editing, corpus=corpus, statistics=None)
    return replace(editing, statistics_tokens=tokens) if tokens is not None else editing


@contextmanager
def _place(state: Path, folder: Path | None) -> Iterator[Path]:
    """The folder for the file. The state's own is for one worker at a time: another one would write the same."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    kept = state / "cache"
    make_folder(kept)
    with worker_lock(state):
        yield kept


def _layers(text: str | None) -> tuple[int, ...]:
    """`4-8`, `4,6` or both. Raises UsageError."""
    found: set[int] = set()
    for part in (text or "").split(",") if text is not None else ():
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        numbers = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not numbers:
            raise UsageError(f"--layers {text!r}: give layer numbers like 4-8 or 4,5,6")
        found |= set(numbers)
    return tuple(sorted(found))


def _record(measured: _Measured) -> dict[str, object]:
    found = measured.found
    return {
        "key": found.key,
        "file": str(found.file) if found.file else None,
        "tokens": found.tokens,
        "seconds": None if measured.seconds is None else round(measured.seconds, 3),
        "change": found.change,
        "warning": found.warning,
        "layers": [
            {"layer": layer, "d_in": d_in, "effective_rank": round(rank, 1)}
            for layer, (d_in, rank) in measured.ranks.items()
        ],
    }


def _show(measured: _Measured) -> None:
    found, seconds = measured.found, measured.seconds
    if seconds is None:
        out(f"{found.tokens} tokens, measured before")
    else:
        out(f"{found.tokens} tokens in {seconds:.1f} s, {found.tokens / max(seconds, 1e-9):.0f} a second")
    if found.change is not None:
        out(f"the norm of unseen keys moved by {found.change:.1%} since half as many tokens")
    rows = [(layer, d_in, f"{rank:.0f}") for layer, (d_in, rank) in measured.ranks.items()]
    out_lines(table(("layer", "dimensions", "effective rank"), rows))
    out(found.file)
