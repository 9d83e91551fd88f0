"""`factd bench`: how well a model takes an edit set, by free generation after all of its edits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.benchtable import as_json, show
from agent.cli.session import Session, session
from agent.cli.text import out_lines
from agent.errors import InputError, UsageError
from agent.whole import write_whole

if TYPE_CHECKING:
    from agent.editing.settings import EditSettings
    from agent.settings import Settings


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
        typer.Option(
            "--algorithm", metavar="NAMES", help="memit, pmet, rome, emmet, alphaedit, ft; several, or all."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", metavar="NAMES", help="joint, sequential (batch upon batch), or all."),
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
    as `factd --config FILE bench ...`; the options above change them. With `--config` or `--state`, what `factd calibrate` and
    `factd locate` left in the state folder takes the place of what nobody set. Several algorithms or modes, as in
    `--algorithm memit,rome --mode all`, are run one after the other and shown side by side.
    """
    asked = session(ctx)
    settings = _settings(asked, {"batch": batch}, set_ or [], model, dtype)
    variants = [
        replace(settings, editing=editing) for editing in _variants(settings.editing, algorithm, mode)
    ]
    _check_target(json_file)
    if save is not None and len(variants) > 1:
        raise UsageError("--save keeps one edited checkpoint; name one algorithm and one mode")
    from agent.editfiles import read_edits

    entries = read_edits(edits)[:limit]
    from agent.bench import run_bench
    from agent.editing.preserved import own_names
    from agent.workshop import editing_for, load_model

    kept = settings.state / "cache" if asked.config is not None or asked.state is not None else None
    # One folder for all runs: what they share is measured once. Not the state's own, or the seconds would depend on what is in it.
    with TemporaryDirectory(prefix="factd-bench-") as cache, asked.progress() as line:
        lm = load_model(settings)
        editings = [editing_for(variant, lm, kept) for variant in variants]
        names = settings.preserve_limit if any(editing.preserve for editing in editings) else 0
        held = own_names(lm, names, settings.editing.seed, {entry.subject for entry in entries})
        results = [
            run_bench(lm, entries, editing, save=save, cache=Path(cache), preserve=held, progress=line)
            for editing in editings
        ]
    text = json.dumps(as_json(results), indent=2, default=str)
    if json_file == Path("-"):
        out_lines(text.splitlines())
        return
    show(results)
    if json_file is not None:
        try:
            write_whole(json_file, text + "\n")
        except OSError as error:
            raise InputError(f"{json_file}: cannot be written ({error.strerror})") from error
        asked.note(f"wrote {json_file}")
    if save is not None:
        asked.note(f"wrote the edited checkpoint to {save}")


def _settings(
    asked: Session, options: dict[str, Any], pairs: list[str], model: str, dtype: str | None
) -> Settings:
    """Without a named settings file a bench is the same in every folder. Raises ConfigError, UsageError."""
    from agent.config import changed, load, of_checkpoint

    if asked.config is not None:
        settings = load(asked.config, state=asked.state, model=model)
    else:
        settings = of_checkpoint(model)
        settings = replace(settings, state=asked.state or settings.state)
    values = {key: str(value) for key, value in options.items() if value is not None}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise UsageError(f"--set {pair!r}: give KEY=VALUE, for instance --set steps=30")
        values[key.strip()] = value
    return replace(
        settings,
        model=replace(settings.model, path=model, dtype=dtype or settings.model.dtype),
        editing=changed(settings.editing, values, "editing"),
        given=settings.given | set(values),
    )


def _variants(editing: EditSettings, algorithm: str | None, mode: str | None) -> list[EditSettings]:
    """The settings with each algorithm in each mode that was asked for. Raises ConfigError for a name that is none."""
    from typing import get_args

    from agent.config import changed
    from agent.editing.settings import AlgorithmName, Mode

    algorithms = _names(algorithm or editing.algorithm, get_args(AlgorithmName))
    modes = _names(mode or editing.mode, get_args(Mode))
    return [changed(editing, {"algorithm": a, "mode": m}, "editing") for a in algorithms for m in modes]


def _names(given: str, known: tuple[str, ...]) -> tuple[str, ...]:
    return known if given == "all" else tuple(dict.fromkeys(name.strip() for name in given.split(",")))


def _check_target(file: Path | None) -> None:
    """Before minutes of work: whether the result will have a place."""
    if file is not None and file != Path("-") and not file.absolute().parent.is_dir():
        raise UsageError(f"--json {file}: there is no folder {file.absolute().parent}")
