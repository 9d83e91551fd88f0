"""`factd ask`: what the served model says."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.session import session
from agent.cli.text import emit, out
from agent.errors import UsageError


def ask(
    ctx: typer.Context,
    question: Annotated[
        str, typer.Argument(help='A question, or the beginning of a sentence: "Who leads Japan?"')
    ],
    revision: Annotated[
        int | None, typer.Option("--revision", metavar="N", help="Ask this revision.")
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Ask the base model.")] = False,
    both: Annotated[
        bool, typer.Option("--both", help="Ask the base model too, and show both answers.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="The whole continuation, not only its first clause.")
    ] = False,
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=1, max=1000, help="Tokens to generate.")
    ] = 24,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Ask the model that is served, by greedy free generation: the same question, the same answer."""
    if base and (both or revision is not None):
        raise UsageError("--base goes with neither --both nor --revision")
    if not question.strip():
        raise UsageError("ask something")
    from agent.answering import answers as say
    from agent.editing.delta import applied
    from agent.overlaid import overlay_in
    from agent.store import revisions
    from agent.verify.answers import clause
    from agent.workshop import delta_of

    with session(ctx).looking() as shop:
        served = revisions.current(shop.store).id
        chosen = 0 if base else served if revision is None else revisions.get(shop.store, revision).id
        lm = shop.base()
        answers: dict[int, str] = {}
        for number_ in dict.fromkeys((0, chosen) if both else (chosen,)):
            with applied(lm, delta_of(shop.store, number_, lm)):
                beside = overlay_in(shop, number_)
                mode = shop.settings.serve.overlay
                answers[number_] = say(lm, beside, [question], max_new_tokens=tokens, mode=mode)[0]
    shown = {n: said if raw else clause(said) for n, said in answers.items()}
    if json:
        emit(
            {
                "question": question,
                "answers": [{"revision": n, "answer": shown[n], "raw": answers[n]} for n in answers],
            }
        )
    elif not both:
        out(shown[chosen] or "(nothing)")
    else:
        for n, said in shown.items():
            out(f"{'base' if n == 0 else f'revision {n}'}: {said or '(nothing)'}")
