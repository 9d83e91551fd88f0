"""`factd calibrate`: layers, clamp, covariance and preserve of a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.session import Session, session
from agent.cli.text import out, out_lines, plural, table
from agent.errors import InputError, UsageError
from agent.private import make_folder
from agent.whole import write_whole

if TYPE_CHECKING:
    from agent.calibrate import Calibration
    from agent.editing.calibrated import Setting
    from agent.settings import Settings
    from agent.swapped import Tried
    from agent.swaps import Swaps

_KINDS = ("efficacy", "paraphrase", "same_subject", "others")
_SETTING = ("layers", "clamp", "covariance", "preserve")


def calibrate(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A checkpoint folder or hub id. It is never written.")
    ],
    facts: Annotated[
        int, typer.Option("--facts", metavar="N", min=4, help="Known facts to swap at a time, at most.")
    ] = 24,
    edits: Annotated[
        Path | None,
        typer.Option("--edits", metavar="FILE", help="Facts of an edit file, in place of the catalogue's."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything measured; - for stdout.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Which facts.")] = 0,
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="NAME", help="auto, float32, bfloat16 or float16.")
    ] = None,
) -> None:
    """Choose layers, clamp, covariance and preserve for a model by editing facts that it knows.

    Known facts get another object of the same kind; the edited model is asked for them, for other facts of their subjects and for those of
    other subjects. A search looks for the setting in which all of that is good, and facts that it has not seen decide whether it is kept.
    docs/calibrate.md says how. With a state folder the result is kept there and used for what nobody set.
    """
    asked = session(ctx)
    settings = _settings(asked, model, dtype)
    _check_target(json_file)
    swaps = _swaps(settings, edits, seed)
    from agent.calibrate import CalibrateSettings
    from agent.calibrate import calibrate as measure
    from agent.editing.calibrated import save_calibrated
    from agent.workshop import load_model

    lm = load_model(settings)
    cache = settings.state / "cache" if settings.state.is_dir() else None
    wanted = CalibrateSettings(facts, seed, settings.editing, settings.preserve_limit)
    with TemporaryDirectory(prefix="factd-calibrate-", dir=_roomy(cache)) as work, asked.progress() as line:
        found = measure(lm, swaps, wanted, cache=cache, work=Path(work), progress=line)
    document = json.dumps(found.to_json(), indent=1, allow_nan=False)
    if json_file == Path("-"):
        out_lines(document.splitlines())
    else:
        _show(found, model, settings)
    try:
        if cache is not None:
            save_calibrated(cache, lm, found.to_json())
        if json_file is not None and json_file != Path("-"):
            write_whole(json_file, document + "\n")
            asked.note(f"wrote {json_file}")
    except OSError as error:
        raise InputError(
            f"{error.filename or json_file or cache}: cannot be written ({error.strerror or error})"
        ) from error


def _settings(asked: Session, model: str, dtype: str | None) -> Settings:
    from dataclasses import replace

    from agent.config import load

    settings = load(asked.config, state=asked.state, model=model)
    return replace(settings, model=replace(settings.model, dtype=dtype or settings.model.dtype))


def _check_target(file: Path | None) -> None:
    """Before minutes of work: whether the result will have a place."""
    if file is not None and file != Path("-") and not file.absolute().parent.is_dir():
        raise UsageError(f"--json {file}: there is no folder {file.absolute().parent}")
    if file is not None and file.is_dir():
        raise UsageError(f"--json {file}: is a folder; name a file in it")


def _swaps(settings: Settings, edits: Path | None, seed: int) -> Swaps:
    from agent.swaps import of_catalogue, of_edits

    if edits is not None:
        from agent.editfiles import read_edits

        return of_edits(read_edits(edits), seed)
    from agent.catalogue import load_catalogue
    from agent.relations import load_relations

    relations = load_relations(settings.relations)
    return of_catalogue(load_catalogue(settings.catalogue), relations, seed, settings.preserve_limit)


def _roomy(cache: Path | None) -> Path | None:
    """Where factors of a large model's statistics fit: beside the state's own, else wherever temporary files go."""
    if cache is not None:
        make_folder(cache)
    return cache


def _show(found: Calibration, model: str, settings: Settings) -> None:
    swapped = " and ".join(map(str, found.facts))
    out(
        f"{swapped} facts that {model} answers right, of {found.asked} asked, with another object in the place of theirs"
    )
    out(
        ", ".join(f"{kind.replace('_', ' ')} {plural(n, 'question')}" for kind, n in found.counts.items())
        + f"; {found.algorithm}, all facts at once, without polishing"
    )
    out()
    _table(found.tried)
    out()
    if found.best == found.start:
        out("nothing better than what is in force was found")
        return
    out("on other facts, what is in force and the best of the above:")
    _table((found.start_again, found.best_again))
    out()
    if not found.kept:
        out("the best is worse there: nothing better than what is in force was found")
        return
    out_lines(("editing:", *(f"  {name}: {value}" for name, value in _values(found.best).items())))
    if given := [name for name in _SETTING if name in settings.given]:
        out(f"the settings say {', '.join(given)} themselves, and that is what is used")


def _table(rows: Sequence[Tried]) -> None:
    titles = (*_SETTING, *(kind.replace("_", " ") for kind in _KINDS), "score", "s")
    cells = []
    for row in rows:
        shares = (f"{row.shares[kind]:.1%}" if kind in row.shares else "-" for kind in _KINDS)
        reached = f"{'<' if row.dropped else ''}{row.score:.3f}"
        cells.append((*_values(row.setting).values(), *shares, reached, f"{row.seconds:.1f}"))
    out_lines(table(titles, cells))


def _values(setting: Setting) -> dict[str, Any]:
    """As YAML has them."""
    return {name: list(value) if name == "layers" else value for name, value in asdict(setting).items()}
