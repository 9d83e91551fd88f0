"""`factd bench`: how well a model takes an edit set, by free generation after all of its edits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.session import Session, session
from agent.cli.text import out, out_lines, plural, table
from agent.errors import InputError, UsageError

if TYPE_CHECKING:
    from agent.bench import BenchResult
    from agent.config import Settings

_METRICS = {
    "efficacy": "edit prompts answered with the new fact",
    "paraphrase": "other phrasings answered with it",
    "locality": "answers that must not change, unchanged",
    "locality_truth": "answers that must not change, as the file has them",
    "portability": "what follows from the new fact",
}


def bench(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A checkpoint folder or hub id. It is never written.")
    ],
    edits: Annotated[
        Path, typer.Argument(metavar="EDITS.json", help="EasyEdit's, FastEdit's or CounterFact's form.")
    ],
    algorithm: Annotated[
        str | None,
        typer.Option("--algorithm", metavar="NAME", help="memit, pmet, rome, emmet, alphaedit or ft."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="NAME", help="joint, or sequential: batch upon batch.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", metavar="N", min=1, help="Edits of a sequential step.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of `editing`: layers=[3,4]. Repeatable."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N edits.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="NAME", help="auto, float32, bfloat16 or float16.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything measured; - for stdout.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Write the edited checkpoint into a new folder."),
    ] = None,
) -> None:
    """Apply an edit set to a model and measure efficacy, paraphrase, locality, seconds and memory.

    Scored by free generation after all edits. Edit settings are the built-in ones and the checkpoint's own
    (factd-editing.yaml), or those of the file given
    as `factd --config FILE bench ...`; the options above change them.
    """
    asked = session(ctx)
    settings = _settings(
        asked, {"algorithm": algorithm, "mode": mode, "batch": batch}, set_ or [], model, dtype
    )
    _check_target(json_file)
    from agent.editfiles import read_edits

    entries = read_edits(edits)[:limit]
    from agent.bench import run_bench
    from agent.workshop import load_model

    with asked.progress() as line:
        result = run_bench(load_model(settings), entries, settings.editing, save=save, progress=line)
    text = json.dumps(result.to_json(), indent=2, default=str)
    if json_file == Path("-"):
        out_lines(text.splitlines())
        return
    _show(result)
    if json_file is not None:
        try:
            json_file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{json_file}: cannot be written ({error.strerror})") from error
        asked.note(f"wrote {json_file}")
    if save is not None:
        asked.note(f"wrote the edited checkpoint to {save}")


def _settings(
    asked: Session, options: dict[str, Any], pairs: list[str], model: str, dtype: str | None
) -> Settings:
    """Without a named settings file a bench is the same in every folder. Raises ConfigError, UsageError."""
    from dataclasses import replace

    from agent.config import Settings, changed, load, model_editing

    settings = load(asked.config) if asked.config is not None else Settings()
    if asked.config is None:
        own = {key: json.dumps(value) for key, value in model_editing(model).items()}
        settings = replace(settings, editing=changed(settings.editing, own, "editing"))
    values = {key: str(value) for key, value in options.items() if value is not None}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise UsageError(f"--set {pair!r}: give KEY=VALUE, for instance --set steps=30")
        values[key.strip()] = value
    chosen = replace(settings.model, path=model, dtype=dtype or settings.model.dtype)
    return replace(settings, model=chosen, editing=changed(settings.editing, values, "editing"))


def _check_target(file: Path | None) -> None:
    """Before minutes of work: whether the result will have a place."""
    if file is not None and file != Path("-") and not file.absolute().parent.is_dir():
        raise UsageError(f"--json {file}: there is no folder {file.absolute().parent}")


def _show(result: BenchResult) -> None:
    chosen = result.settings
    how = f"{chosen['algorithm']}, {chosen['mode']}" + (
        f" by {chosen['batch']}" if chosen["mode"] == "sequential" else ""
    )
    layers = ", ".join(map(str, chosen["layers"]))
    out(f"{plural(result.edits, 'edit')} on {result.model} ({how}, layers {layers})")
    out()
    rows = [
        (name.replace("_", " "), _percent(result.before, name), _percent(result.metrics, name),
         result.counts.get("locality" if name == "locality_truth" else name, 0), what)
        for name, what in _METRICS.items()
        if name in result.metrics
    ]  # fmt: skip
    out_lines(table(("", "before", "after", "n", ""), rows))
    out()
    seconds, memory = result.seconds, result.memory_mib
    compiling = f"{seconds['compile']:.1f} s to compile, {seconds['per_edit']:.2f} s an edit"
    out(f"{compiling}, {seconds['total']:.1f} s in all")
    out(", ".join(f"{name.replace('_', ' ')} {value:.0f} MiB" for name, value in memory.items()))


def _percent(shares: Any, name: str) -> str:
    return f"{shares[name]:.1%}" if name in shares else "-"
