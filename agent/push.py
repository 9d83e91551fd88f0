"""A revision handed to a running vLLM as an adapter, asked there, and only then put behind the name that clients use.

    export <name>-r<ID> -> load it under that name -> ask it -> unload <name>, load <name> from the new folder -> ask <name>
    -> ledger -> unload older <name>-r*

vLLM has no aliases. `<name>` is the same adapter loaded once more under a second name, and there is a moment without it, in which
requests for it get 404. Whatever fails before the ledger's row, the server is put back as it was found. vLLM's `load_inplace` would leave
no such moment, but it changes answers that are being written, and the servers that have it read the adapter from the disk again at each
step from then on (vllm issue 33791).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.editing.delta import applied
from agent.errors import FactdError, InputError, SourceError, UsageError, VerificationFailed
from agent.examine import gate_of, probes_of
from agent.export.manifest import read_manifest
from agent.export.peft import adaptable, export_peft, pack, read_adapter
from agent.export.place import checked_name
from agent.lm.load import LM
from agent.store import ledger, revisions
from agent.types import Probe, Revision
from agent.verify.answers import matches
from agent.verify.ask import tokens_needed
from agent.verify.gate import misses
from agent.verify.metrics import is_right
from agent.verify.snapshot import snapshot
from agent.vllm import Served, Server
from agent.workshop import Workshop, delta_of

_ASKED = ("efficacy", "question")
_LEAST_TOKENS = 12
_TRIES, _PAUSE_S = 4, 0.25
_STALE = (
    "the server does not let its prefix cache be emptied (VLLM_SERVER_DEV_MODE=1 would), and that goes by the adapter's name: until its "
    "blocks are evicted, prompts that were asked before the push may be answered from the revision before; --no-enable-prefix-caching or "
    "the versioned name avoid that"
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to push: `adapters` is the folder for adapters as this machine has it, `remote` as the server has it ("" for the same).

    `alias`: whether `name` itself is to point at the revision too. `limit`: questions at most.
    """

    server: Server
    name: str
    adapters: Path
    remote: str = ""
    alias: bool = True
    max_rank: int | None = None
    limit: int = 64

    def path(self, versioned: str) -> str:
        """The adapter's folder as the server sees it."""
        return (
            f"{self.remote.rstrip('/')}/{versioned}"
            if self.remote
            else str(self.adapters.absolute() / versioned)
        )


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the server serves now. `asked`: questions put to it, `right`: answered with the fact. `left`: older adapters that would not
    go, `notes`: what somebody ought to know.
    """

    revision: int
    versioned: str
    path: str
    asked: int
    right: int
    unloaded: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def push(shop: Workshop, revision_id: int, target: Target) -> Pushed:
    """Let the server serve a revision. It is as it was before when this raises: VerificationFailed when the adapter does not say its
    facts there, SourceError when the server refuses or goes away, UsageError, InputError, ModelError, StoreError.
    """
    checked_name(target.name, "--name")
    revision = adaptable(shop, revision_id)
    versioned = f"{target.name}-r{revision.id}"
    before = target.server.models()
    for name in (target.name, versioned):
        if name in before and not before[name].parent:
            raise UsageError(
                f"--name {target.name!r}: the server has a base model of the name {name!r}; take another"
            )
    _exported(shop, revision, target, versioned)
    questions = asked_there(shop, revision, target.limit)
    try:
        right, notes = _switched(shop, target, versioned, before, questions)
        ledger.append(
            shop.store, "pushed", _row(revision, target, versioned, len(questions), right), shop.clock()
        )
    except BaseException as error:
        undone = put_back(target.server, before, (target.name, versioned))
        if isinstance(error, FactdError):
            kind = VerificationFailed if isinstance(error, VerificationFailed) else SourceError
            raise kind(f"{error}; {undone}") from error
        raise
    gone, left = _tidied(target, versioned, before) if target.alias else ((), ())
    return Pushed(revision.id, versioned, target.path(versioned), len(questions), right, gone, left, notes)


def _switched(
    shop: Workshop, target: Target, versioned: str, before: Mapping[str, Served], questions: Sequence[Probe]
) -> tuple[int, tuple[str, ...]]:
    """Load, ask, flip the alias, ask again: how many were right the first time, and notes."""
    server, path = target.server, target.path(versioned)
    if versioned in before and before[versioned].root != path:
        server.unload(versioned)
    if versioned not in before or before[versioned].root != path:
        server.load(versioned, path)
    right = _asked(shop, server, versioned, questions)
    if not target.alias or (target.name in before and before[target.name].root == path):
        return right, ()
    notes: tuple[str, ...] = ()
    if target.name in before:
        server.unload(target.name)
        # Between the two: what is cached before would be taken for the new adapter's.
        if not server.reset_prefix_cache():
            notes = (_STALE,)
    server.load(target.name, path)
    try:
        _asked(shop, server, target.name, questions)
    except VerificationFailed as error:
        raise VerificationFailed(f"{error}; {notes[0]}" if notes else str(error)) from error
    return right, notes


def _asked(shop: Workshop, server: Server, model: str, questions: Sequence[Probe]) -> int:
    """How many of the questions the server answers right as `model`. Raises VerificationFailed when too few, as the gate counts."""
    lm, wrong, verify = shop.base(), list[str](), shop.settings.verify
    for done, probe in enumerate(questions, 1):
        prompt = lm.chat.rendered(probe.prompt) if lm.chat else probe.prompt
        tokens = tokens_needed(lm, probe.expect, _LEAST_TOKENS)
        said = server.complete(model, prompt, tokens, plain=lm.chat is None)
        if not matches(said, probe.expect):
            wrong.append(
                f"{probe.prompt!r} is answered with {said.strip()[:40]!r}, {probe.expect[0]!r} wanted"
            )
        shop.progress("served", done, len(questions))
    right = len(questions) - len(wrong)
    if misses(right / len(questions), len(questions), verify.efficacy, gate_of(verify)):
        raise VerificationFailed(
            f"as {model} the server answers {right} of {len(questions)} questions with the fact: {'; '.join(wrong[:3])}"
        )
    return right


def asked_there(shop: Workshop, revision: Revision, limit: int) -> list[Probe]:
    """At most `limit` of the revision's edit prompts and questions that it answers right in memory, as even over its facts as can be.

    Raises VerificationFailed when there is none.
    """
    members = revisions.members(shop.store, revision.id, "weights")
    probes = [p for p in probes_of(shop, members) if p.kind in _ASKED]
    sample = spread(probes, limit)
    lm: LM = shop.base()
    with applied(lm, delta_of(shop.store, revision.id, lm)) as edited:
        said = (
            snapshot(edited, sample, progress=lambda d, t: shop.progress("verify", d, t)).answers
            if sample
            else {}
        )
    right = [probe for probe in sample if is_right(said, probe)]
    if not right:
        raise VerificationFailed(
            f"revision {revision.id} answers none of its own questions right in memory; there is nothing to ask the server by"
        )
    return right


def spread(probes: Sequence[Probe], limit: int) -> list[Probe]:
    """One of each fact, then a second of each, and so on; which, depends on the prompts alone."""
    turns: dict[tuple[str, str], int] = {}
    ranked: list[tuple[int, int, Probe]] = []
    for probe in sorted(probes, key=lambda p: hashlib.sha256(p.prompt.encode()).digest()):
        turn = turns[probe.fact_key] = turns.get(probe.fact_key, 0) + 1
        ranked.append((turn, len(ranked), probe))
    return [probe for _, _, probe in sorted(ranked, key=lambda item: item[:2])[:limit]]


def put_back(server: Server, before: Mapping[str, Served], names: Sequence[str]) -> str:
    """Make what the server serves under `names` what it was. In words how that went: an answer may have been lost, so that only the
    server knows how far it came.
    """
    problem: Exception | None = None
    for tried in range(_TRIES):
        try:
            now = server.models()
            off = [name for name in names if now.get(name) != before.get(name)]
            if not off:
                return "the server serves what it did before"
            for name in off:
                if name in now:
                    server.unload(name)
                if name in before:
                    server.load(name, before[name].root)
        except (SourceError, InputError) as error:
            problem = error
            time.sleep(_PAUSE_S * tried)
    wanted = ", ".join(
        f"{name} from {before[name].root}" if name in before else f"no {name}" for name in names
    )
    return f"and the server could not be put back ({problem}); it should serve {wanted}"


def _tidied(
    target: Target, versioned: str, before: Mapping[str, Served]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Unload the older versions; nobody is harmed by one that stays. Gives those gone and those left."""
    older = [
        name for name in before if re.fullmatch(rf"{re.escape(target.name)}-r\d+", name) and name != versioned
    ]
    left = []
    for name in older:
        try:
            target.server.unload(name)
        except SourceError:
            left.append(name)
    return tuple(name for name in older if name not in left), tuple(left)


def _exported(shop: Workshop, revision: Revision, target: Target, versioned: str) -> None:
    """The adapter in its folder: made now, or found there from an earlier push. Raises InputError for another one there."""
    folder = target.adapters / versioned
    if not folder.exists():
        # A whole delta loses nothing on the way; a compressed one is asked here, before the server sees it.
        done = export_peft(
            shop, revision.id, folder, max_rank=target.max_rank, rank_for_vllm=True, verify=target.max_rank is not None
        )  # fmt: skip
        verified = done.manifest.verified
    else:
        verified = read_manifest(folder).get("verified")
        delta = delta_of(shop.store, revision.id, shop.base())
        wanted = pack(delta, target.max_rank, rank_for_vllm=True).updates
        found = read_adapter(folder, delta.base_sha).updates
        if wanted.keys() != found.keys() or any(
            not (wanted[n].left.equal(found[n].left) and wanted[n].right.equal(found[n].right))
            for n in wanted
        ):
            raise InputError(
                f"{folder} holds another adapter; remove it, or give another folder with --adapters"
            )
    if verified is False:
        raise VerificationFailed(
            f"{folder}: the compressed adapter fails verification; push it with a larger --max-rank"
        )


def _row(revision: Revision, target: Target, versioned: str, asked: int, right: int) -> dict[str, object]:
    return {
        "revision": revision.id, "delta_sha": revision.delta_sha, "to": target.server.url, "name": target.name,
        "versioned": versioned, "path": target.path(versioned), "alias": target.alias, "asked": asked, "right": right,
    }  # fmt: skip
