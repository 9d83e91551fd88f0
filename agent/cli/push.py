"""`factd push`: a revision handed to a server that runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.session import session
from agent.cli.text import emit, out, plural
from agent.errors import UsageError

app = typer.Typer(
    no_args_is_help=True, help="Hand a revision to a server that runs, ask it there, and let it be served."
)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@app.callback()
def push() -> None:
    """A group of its own, so that `vllm` stays a word of the command."""


@app.command("vllm")
def vllm(
    ctx: typer.Context,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="The vLLM server, up to its /v1.")
    ] = "http://127.0.0.1:8000",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The model name that clients use.")
    ] = "factd",
    adapters: Annotated[
        Path | None,
        typer.Option(
            "--adapters", metavar="DIR", help="Where adapters are kept; else adapters in the state folder."
        ),
    ] = None,
    on_server: Annotated[
        str,
        typer.Option(
            "--on-server", metavar="DIR", help="The same folder as the server sees it, if it differs."
        ),
    ] = "",
    revision: Annotated[
        int | None,
        typer.Option("--revision", metavar="N", min=0, help="This revision, not the one that is served."),
    ] = None,
    max_rank: Annotated[
        int | None, typer.Option("--max-rank", metavar="N", min=1, help="Compress the adapter to this rank.")
    ] = None,
    questions: Annotated[
        int, typer.Option("--questions", metavar="N", min=1, help="Questions put to the server, at most.")
    ] = 64,
    no_alias: Annotated[
        bool, typer.Option("--no-alias", help="Load NAME-rN only; leave NAME and older versions alone.")
    ] = False,
    key_variable: Annotated[
        str,
        typer.Option(
            "--key-variable", metavar="VARIABLE", help="The environment variable with the server's API key."
        ),
    ] = "",
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", min=1, help="Seconds for each request.")
    ] = 120.0,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Load the revision into a vLLM server as a LoRA adapter, ask it there, then let NAME point at it.

    The server needs --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True. Exit 4 when it does not say the facts there; the server
    then serves what it did before.
    """
    from dataclasses import asdict

    from agent.export.peft import vllm_note
    from agent.push import Target
    from agent.push import push as pushed_to
    from agent.sources.http import Client
    from agent.store import revisions
    from agent.vllm import server_at

    asked = session(ctx)
    server = server_at(url, Client(timeout_s=timeout, max_redirects=0), _key(key_variable))
    with asked.working() as shop:
        folder = adapters or shop.settings.state / "adapters"
        chosen = revisions.current(shop.store).id if revision is None else revision
        target = Target(server, name, folder, on_server, not no_alias, max_rank, questions)
        if note := vllm_note(shop.base().model.config.model_type):
            asked.note(f"warning: {note}")
        done = pushed_to(shop, chosen, target)
    for note in done.notes:
        asked.note(f"warning: {note}")
    for left in done.left:
        asked.note(f"warning: {left} is still loaded; unload it by hand if it takes room")
    if json:
        emit({"name": name, **asdict(done)})
        return
    out(f"{done.versioned} answers {done.right} of {plural(done.asked, 'question')} with the fact")
    if not no_alias:
        out(f"{name} is revision {done.revision} now, from {done.path}")


def _key(variable: str) -> str:
    """The key; "" where none is wanted. Raises UsageError where the variable holds none."""
    if not variable:
        return ""
    if not _VARIABLE.fullmatch(variable):
        # The value is not shown: somebody may have put the key itself here.
        raise UsageError(
            "--key-variable: give the name of an environment variable, such as VLLM_API_KEY; not the key itself"
        )
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise UsageError(
            f"--key-variable: the environment variable {variable} holds no usable key; export it"
        )
    return key
