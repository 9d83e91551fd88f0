"""`factd config`: the settings in force, and where each comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.session import session
from agent.cli.text import emit, out_lines, table

app = typer.Typer(help="The settings in force.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """The settings in force."""


@app.command()
def show(
    ctx: typer.Context,
    origin: Annotated[bool, typer.Option("--origin", help="Also where each value comes from.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show every setting: defaults, settings file, FACTD_* variables and flags put together."""
    from agent.config import flat, load_with_origin

    asked = session(ctx)
    settings, origins = load_with_origin(asked.config, state=asked.state, model=asked.model)
    values = flat(settings)
    origins = {key: _origin(key, origins) for key in values}
    if json:
        emit({"settings": values, **({"origins": origins} if origin else {})})
        return
    rows = [(key, _shown(value), *([origins[key]] if origin else [])) for key, value in values.items()]
    out_lines(table(("setting", "value", *(["from"] if origin else [])), rows))


def _origin(key: str, origins: dict[str, str]) -> str:
    """That of the key itself, else of a section above it that was set as a whole."""
    parts = key.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((origins[name] for name in names if name in origins), "default")


def _shown(value: object) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value) or "(empty)"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items() if item is not None) + "}"
        )
    return str(value).lower() if isinstance(value, bool) else str(value)
