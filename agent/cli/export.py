"""`factd export`: a revision written for other programs."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import Session, session
from agent.cli.text import emit, out, out_lines, plural, table
from agent.errors import UsageError, VerificationFailed
from agent.export.place import check_free

if TYPE_CHECKING:
    from agent.export.verified import Checked, Exported
    from agent.store.db import Store

app = typer.Typer(
    no_args_is_help=True,
    help="Write a revision for other programs: a checkpoint, a LoRA adapter, a GGUF file, its facts as text.",
)

Target = Annotated[Path, typer.Argument(metavar="DIR", help="A new folder; it appears whole or not at all.")]
Chosen = Annotated[
    int | None, typer.Option("--revision", metavar="N", min=0, help="This revision, not the one that is served.")
]  # fmt: skip
Unasked = Annotated[
    bool, typer.Option("--no-verify", help="Do not load the artefact and ask it the revision's probes.")
]
Json = Annotated[bool, typer.Option("--json", help="The manifest as JSON on stdout.")]

_SHOWN = (
    "efficacy", "facts", "paraphrase", "question", "same_subject_unchanged", "others_unchanged", "perplexity",
)  # fmt: skip


@app.command("hf")
def hf(
    ctx: typer.Context,
    folder: Target,
    revision: Chosen = None,
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="NAME", help="float32, bfloat16, float16; auto: the base's own.")
    ] = "auto",
    shard_size: Annotated[
        str,
        typer.Option("--shard-size", metavar="SIZE", help="The largest file of weights, as 500MB or 5GB."),
    ] = "5GB",
    no_verify: Unasked = False,
    json: Json = False,
) -> None:
    """Write base and delta as one checkpoint that transformers, vLLM and the like load. Exit 4 when it fails verification."""
    asked = session(ctx)
    check_free(folder)  # before the model is loaded
    from agent.export.hf import export_hf

    with asked.looking() as shop:
        done = export_hf(
            shop, _chosen(shop.store, revision), folder, dtype=dtype, shard_size=shard_size, verify=not no_verify
        )  # fmt: skip
    _show(asked, done, "a checkpoint", json)


@app.command("peft")
def peft(
    ctx: typer.Context,
    folder: Target,
    revision: Chosen = None,
    max_rank: Annotated[
        int | None,
        typer.Option(
            "--max-rank", metavar="N", min=1, help="Compress each update to this rank, and say what is lost."
        ),
    ] = None,
    rank_for_vllm: Annotated[
        bool,
        typer.Option("--rank-for-vllm", help="Round the rank up to one that vLLM's --max-lora-rank takes."),
    ] = False,
    no_verify: Unasked = False,
    json: Json = False,
) -> None:
    """Write the delta as a LoRA adapter in PEFT's form, for use beside the base. Exit 4 when it fails verification."""
    asked = session(ctx)
    check_free(folder)
    from agent.export.peft import export_peft, peft_installed, vllm_note

    with asked.looking() as shop:
        done = export_peft(
            shop, _chosen(shop.store, revision), folder, max_rank=max_rank, rank_for_vllm=rank_for_vllm,
            verify=not no_verify,
        )  # fmt: skip
        note = vllm_note(shop.base().model.config.model_type) if rank_for_vllm else ""
    if note:
        asked.note(f"warning: {note}")
    if done.checked is not None and not peft_installed():
        asked.note(
            "PEFT is not installed, so factd read the adapter back itself; pip install 'factd[peft]' to ask it through PEFT"
        )
    _show(asked, done, f"a LoRA adapter of rank {done.manifest.details['rank']}", json)


@app.command("overlay")
def overlay(
    ctx: typer.Context,
    folder: Target,
    revision: Chosen = None,
    beside: Annotated[
        bool,
        typer.Option("--beside", help="Only the facts that the weights refused and that stand beside them."),
    ] = False,
    json: Json = False,
) -> None:
    """Write the facts as text: facts.jsonl, one a line, for retrieval, and facts.md for a system prompt."""
    asked = session(ctx)
    check_free(folder)
    from agent.export.overlay import export_overlay

    with asked.looking() as shop:
        done = export_overlay(shop, _chosen(shop.store, revision), folder, beside_only=beside)
    _show(asked, done, f"text, {plural(done.manifest.details['written'], 'fact')}", json)


@app.command("gguf")
def gguf(
    ctx: typer.Context,
    folder: Target,
    llama_cpp: Annotated[
        Path,
        typer.Option("--llama-cpp", metavar="DIR", help="Your llama.cpp checkout; its converter is run."),
    ],
    revision: Chosen = None,
    outtype: Annotated[
        str, typer.Option("--outtype", metavar="NAME", help="f32, f16, bf16 or q8_0.")
    ] = "f16",
    no_verify: Unasked = False,
    json: Json = False,
) -> None:
    """Write base and delta as a GGUF file, for llama.cpp, Ollama and the like. Exit 4 when it fails verification."""
    asked = session(ctx)
    check_free(folder)
    from agent.export.gguf import export_gguf

    with asked.looking() as shop:
        done = export_gguf(
            shop, _chosen(shop.store, revision), folder, llama_cpp, outtype=outtype, verify=not no_verify
        )  # fmt: skip
    if why := done.manifest.details.get("not_verified"):
        asked.note(f"not verified: {why}")
    _show(asked, done, f"GGUF in {outtype}", json)


def _chosen(store: Store, revision: int | None) -> int:
    from agent.store import revisions

    served = revisions.current(store).id if revision is None else revision
    if revision is None and served == revisions.BASE:
        raise UsageError(
            "the base is served, and no revision; name one with --revision, 0 for the base itself"
        )
    return served


def _show(asked: Session, done: Exported, what: str, json: bool) -> None:
    """The result; raises VerificationFailed when the artefact was refused."""
    manifest = done.manifest
    if json:
        emit({"folder": str(done.folder), **json_.loads(manifest.to_text())})
    else:
        out(f"{done.folder}: revision {manifest.revision} as {what}")
        for weight, error in manifest.details.get("errors", {}).items():
            if error:
                out(
                    f"{weight}: {error:.2%} of the update left out (rank {manifest.details['ranks'][weight]})"
                )
        if done.checked is not None:
            out_lines(_table(done.checked))
            out("verified: it says what it should" if done.checked.passed else "verification: refused")
            out_lines(f"  - {reason}" for reason in done.checked.artefact.reasons)
    if manifest.overlay and manifest.form != "overlay":
        told = plural(len(manifest.overlay), "fact")
        asked.note(
            f"not in it, since the weights refused them: {told}; `factd export overlay --beside` writes those"
        )
    if done.checked is not None and not done.checked.passed:
        raise VerificationFailed(
            f'{done.folder} fails verification; it is kept, with "verified": false in its factd.json'
        )


def _table(checked: Checked) -> list[str]:
    """Base, revision in memory and artefact beside one another."""
    columns = (checked.memory.before, checked.memory.after, checked.artefact.after)
    rows = []
    for name in _SHOWN:
        if name in checked.artefact.after:
            form = "{:.2f}" if name == "perplexity" else "{:.1%}"
            rows.append((name.replace("_", " "), *(form.format(values[name]) for values in columns)))
    return table(("", "base", "revision", "artefact"), rows)
