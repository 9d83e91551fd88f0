"""`factd timeline`: who said what about a subject, when, and what that comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.session import session
from agent.cli.text import day, emit, out, out_lines, table, terminal_width
from agent.cli.views import fact_record, proposal_record, skip_record
from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.policy import Policy
    from agent.relations import Relation
    from agent.timeline import Told, Track
    from agent.types import Fact, Proposal, Skip


def timeline(
    ctx: typer.Context,
    subject: Annotated[
        str, typer.Argument(help="A name or an alias, as in the catalogue or as it was read.")
    ],
    relation: Annotated[str | None, typer.Argument(help="Only this relation.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Show who said what about a subject and when, what stands in the queue, and what would be decided now, and
    why. The model is not asked.
    """
    from agent.catalogue import load_catalogue
    from agent.evidence import heard
    from agent.relations import load_relations
    from agent.store import queue
    from agent.timeline import find_subject, tracks

    asked = session(ctx)
    settings = asked.settings()
    relations, catalogue = load_relations(settings.relations), load_catalogue(settings.catalogue)
    if relation is not None and relation not in relations:
        raise UsageError(f"there is no relation {relation!r}; there are {', '.join(relations)}")
    with asked.reading() as store:
        read = heard(store, settings.sources)
        name = find_subject(subject, catalogue, read.claims)
        found = tracks(
            read, name, queue.proposals(store),
            policy=settings.policy, now=asked.now(), relations=relations, catalogue=catalogue,
        )  # fmt: skip
    found = [track for track in found if relation in (None, track.relation)]
    if json:
        emit({"subject": name, "relations": [_record(t, relations, settings.policy) for t in found]})
        return
    out(name)
    for track in found:
        out_lines(_lines(track, relations.get(track.relation), settings.policy))
    if not found:
        out(f"nothing was read about it{f' and {relation}' if relation else ''}, and nothing is queued")


def _lines(track: Track, relation: Relation | None, policy: Policy) -> list[str]:
    lines = ["", f"{track.relation}{_needs(relation, policy)}"]
    rows = [(day(t.at), t.kind, t.object, _who(t), f"{t.story}", t.title) for t in track.told]
    if rows:
        header = ("when", "says", "object", "publishers", "story", "title")
        width = terminal_width()
        lines += [f"  {line}" for line in table(header, rows, width=width and width - 2)]
    lines += [
        f"  queue: proposal {p.id} is {p.status.replace('_', ' ')}: {p.fact.object} since {day(p.fact.valid_from)}"
        for p in track.proposals
    ]
    return lines + [f"  now: {_conclusion(o, track.proposals)}" for o in track.outcomes]


def _needs(relation: Relation | None, policy: Policy) -> str:
    from agent.decide import cool_off_for, needed_for

    if relation is None:
        return ""
    needed = needed_for(relation, policy)
    publishers = f"{needed} publisher{'s' * (needed != 1)}"
    return f" (needs {publishers}, known for {cool_off_for(relation, policy):g} h)"


def _who(told: Told) -> str:
    names = [f"{name} (no voice)" if name in told.silent else name for name in told.publishers]
    return ", ".join(names) + ("" if told.dated else " (undated)")


def _conclusion(outcome: Fact | Skip, proposals: Sequence[Proposal]) -> str:
    from agent.types import Skip

    if isinstance(outcome, Skip):
        return f"{outcome.object} is left alone [{outcome.code}]: {outcome.reason}"
    queued = next((p for p in reversed(proposals) if p.fact.object == outcome.object), None)
    told = f"{outcome.object} holds, say {', '.join(outcome.publishers)}, since {day(outcome.valid_from)}"
    if queued is None:
        return f"{told}; a run proposes it unless the model says so already"
    return f"{told}; proposal {queued.id} is {queued.status.replace('_', ' ')}"


def _record(track: Track, relations: Any, policy: Policy) -> dict[str, Any]:
    from agent.decide import cool_off_for, needed_for
    from agent.types import Fact

    relation = relations.get(track.relation)
    return {
        "relation": track.relation,
        "min_publishers": None if relation is None else needed_for(relation, policy),
        "cool_off_h": None if relation is None else cool_off_for(relation, policy),
        "told": [
            {
                "as_of": t.at,
                "kind": t.kind,
                "object": t.object,
                "publishers": list(t.publishers),
                "no_voice": list(t.silent),
                "dated": t.dated,
                "story": t.story,
                "title": t.title,
                "claims": list(t.claims),
            }
            for t in track.told
        ],
        "proposals": [proposal_record(p) for p in track.proposals],
        "facts": [fact_record(o) for o in track.outcomes if isinstance(o, Fact)],
        "skips": [skip_record(o) for o in track.outcomes if not isinstance(o, Fact)],
    }
