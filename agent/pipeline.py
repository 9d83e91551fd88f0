"""The stages, in the order in which news becomes a proposal.

    fetch      sources -> articles            stored before anything else happens
    read       articles -> claims             NER, linking, patterns; a language model if wanted (agent.reading)
    merge      claims -> facts | skips        pure (agent.decide)
    ask        facts -> beliefs               the served revision answers freely
    propose    beliefs -> proposals | skips   queued, pending
    approve    pending -> approved            a person at the CLI, or a written policy
    compile, verify, publish                  agent.revise

Every stage takes what is due from the database and is idempotent: a run that was killed anywhere is simply run again.
`plan` runs the same stages on a throw-away copy of the database, so a dry run touches nothing.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from agent import decide
from agent.approve import Ruling, rule_on
from agent.caps import limit
from agent.evidence import heard
from agent.follow import source_kinds
from agent.reading import Reading, read_unread
from agent.refetch import sent_back_before
from agent.sources import bodies
from agent.sources.base import Fetched, is_due
from agent.sources.http import Client
from agent.sources.poll import poll_batches
from agent.store import articles, decisions, feeds, progress, queue
from agent.store.db import Store
from agent.types import Belief, Fact, Proposal, Skip
from agent.verify.ask import ask
from agent.workshop import Workshop

# Bump when the rules change: every stored article is then read again. With a language model, its name and version
# are added (agent.reading).
READER = "rules-2"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one round of reading the news came to. `new` are the proposals it made pending, `rulings` what the written rules say of
    each that waited, by its id.
    """

    fetched: tuple[Fetched, ...]
    claims: int
    new: tuple[Proposal, ...]
    skips: tuple[Skip, ...]
    approved: tuple[Proposal, ...] = ()
    reading: Reading = field(default_factory=Reading)
    rulings: Mapping[int, Ruling] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Fetched, ...]:
        return tuple(f for f in self.fetched if f.status in ("error", "gone"))


def gather(shop: Workshop, *, everything: bool = False) -> Gathered:
    """Fetch, read, merge, ask, propose. `everything` also polls sources that are not due yet."""
    fetched = tuple(fetch(shop, everything=everything))
    reading = read(shop)
    outcomes = merge(shop)
    new, skips = propose(shop, outcomes)
    rulings = approve_by_rule(shop)
    approved = tuple(queue.get(shop.store, i) for i, ruling in rulings.items() if ruling.rule)
    return Gathered(fetched, reading.claims, new, skips, approved, reading, rulings)


def fetch(shop: Workshop, *, everything: bool = False) -> Iterator[Fetched]:
    """Poll the sources that are due; their articles are stored with their poll state."""
    now = shop.clock()
    states = {state.source: state for state in feeds.states(shop.store)}
    due = [s for s in shop.settings.sources if everything or is_due(s, states.get(s.name), now)]
    jobs: list[bodies.Job] = []
    held: dict[str, Fetched] = {}
    done = 0
    kinds = source_kinds(due, shop.relations, shop.catalogue)
    for batch in poll_batches(due, states, Client(), now, kinds=kinds):
        stored = feeds.save_polled(shop.store, [(result.articles, result.state) for _, result in batch])
        done += len(batch)
        shop.progress("fetch", done, len(due))
        for (spec, result), added in zip(batch, stored, strict=True):
            fresh = {*added.new, *added.revised}
            wanted = bodies.jobs_for(spec, [a for a in result.articles if a.id in fresh])
            if wanted:
                jobs += wanted
                held[spec.name] = result
            else:
                yield result
    yield from _with_bodies(shop, jobs, held)


def _with_bodies(shop: Workshop, jobs: list[bodies.Job], held: dict[str, Fetched]) -> Iterator[Fetched]:
    """Read the pages behind items that are stored already: each replaces its item's text, as a later wording."""
    if not held:
        return
    filled: Counter[str] = Counter()
    notes: dict[str, list[str]] = {name: [] for name in held}
    for done, body in enumerate(bodies.read_bodies(jobs, bodies.page_client(), clock=shop.clock), 1):
        name = body.job.spec.name
        if body.article is None:
            notes[name].append(f"{body.job.article.url}: {body.note}")
        else:
            articles.add(shop.store, [body.article])
            filled[name] += 1
        shop.progress("bodies", done, len(jobs))
    for name, result in held.items():
        tried = sum(job.spec.name == name for job in jobs)
        message = f"{result.message}; {filled[name]} of {tried} pages read"
        yield replace(result, message=message, notes=(*result.notes, *notes[name]))


def read(shop: Workshop) -> Reading:
    """Extract the claims of every article that the configured extractor has not read yet."""
    return read_unread(shop, READER)


def merge(shop: Workshop) -> list[Fact | Skip]:
    """Everything that the stored claims add up to."""
    found = heard(shop.store, shop.settings.sources)
    return found.merged(shop.settings.policy, shop.clock(), shop.relations, shop.catalogue)


def propose(shop: Workshop, outcomes: list[Fact | Skip]) -> tuple[tuple[Proposal, ...], tuple[Skip, ...]]:
    """Ask the served model about facts that are not in the queue yet, and queue what it has wrong."""
    facts = [outcome for outcome in outcomes if isinstance(outcome, Fact)]
    skips = [outcome for outcome in outcomes if isinstance(outcome, Skip)]
    fresh, known = _unqueued(shop.store, facts)
    skips += known
    beliefs = _ask(shop, fresh)
    drafts: dict[tuple[str, str], tuple[Proposal, Belief]] = {}
    for fact, belief in zip(fresh, beliefs, strict=True):
        outcome = decide.propose(fact, belief, shop.settings.policy, shop.clock(), others=outcomes)
        if isinstance(outcome, Skip):
            skips.append(outcome)
        else:
            drafts[fact.key] = (outcome, belief)
    kept, over = _within_caps(shop, [draft for draft, _ in drafts.values()])
    skips += over
    placed = []
    for draft in sorted(kept, key=lambda d: d.fact.key):
        single = shop.relations[draft.fact.relation].cardinality == "one"
        placed.append(
            queue.propose(
                shop.store, draft, now=shop.clock(), belief=drafts[draft.fact.key][1], single=single
            )
        )
    progress.log_skips(shop.store, skips, shop.clock())
    return tuple(p.proposal for p in placed if p.is_new), tuple(skips)


def _within_caps(shop: Workshop, drafts: list[Proposal]) -> tuple[list[Proposal], list[Skip]]:
    """The drafts that may go into the queue. What is pending there already is brought up to date, and counts
    for nothing.
    """
    held = {(p.fact.key, p.fact.object) for p in queue.proposals(shop.store, "pending")}
    known = [draft for draft in drafts if (draft.fact.key, draft.fact.object) in held]
    fresh = [draft for draft in drafts if (draft.fact.key, draft.fact.object) not in held]
    recent = queue.proposed_since(shop.store, shop.clock() - timedelta(days=1))
    kept, over = limit(fresh, shop.settings.policy, recent)
    return known + kept, over


def _unqueued(store: Store, facts: list[Fact]) -> tuple[list[Fact], list[Skip]]:
    """Facts that need asking, and for the others where they stand. New voices may reopen what a person rejected."""
    rows = {(p.fact.subject, p.fact.relation, p.fact.object): p for p in queue.proposals(store)}
    fresh, known = [], []
    for fact in facts:
        row = rows.get((fact.subject, fact.relation, fact.object))
        further = row is not None and set(fact.publishers) - set(row.fact.publishers)
        if (
            row is None
            or row.status in ("superseded", "pending")
            or (row.status in ("rejected", "rolled_back") and further)
        ):
            fresh.append(fact)
        else:
            reason = f"proposal {row.id} is {row.status.replace('_', ' ')} already"
            known.append(Skip.of(fact, "queued", reason))
    return fresh, known


def _ask(shop: Workshop, facts: list[Fact]) -> list[Belief]:
    if not facts:
        return []
    with shop.served() as lm:
        return ask(
            lm, facts, shop.relations, shop.catalogue, progress=lambda d, t: shop.progress("ask", d, t)
        )


def approve_by_rule(shop: Workshop) -> dict[int, Ruling]:
    """Let the owner's written rules approve; without rules, the default, a person does. What they say of each pending proposal, by its
    id. What was sent back because its pages no longer say so, or was refused by somebody before, waits for a person.
    """
    policy, now = shop.settings.policy, shop.clock()
    due = queue.due(shop.store, now)
    scores = _scores(shop, due) if any(rule.min_score for rule in policy.auto_approve) else {}
    refused = queue.refused(shop.store) if policy.auto_approve else frozenset()
    rulings: dict[int, Ruling] = {}
    for proposal in due:
        fact = proposal.fact
        before = (*fact.key, fact.object) in refused or sent_back_before(shop.store, proposal)
        ruling = rule_on(proposal, policy, now, scores.get(proposal.id), refused=before)
        rulings[proposal.id] = ruling
        if ruling.rule:
            reason = f"policy.auto_approve, {ruling.rule}: {ruling.why}"
            approval = decisions.Decision("approve", reason)
            decisions.decide(shop.store, proposal.id, approval, seen=None, who="policy", now=now)
    return rulings


def _scores(shop: Workshop, proposals: Iterable[Proposal]) -> dict[int, dict[str, float]]:
    """By proposal and publisher: how sure the reader was of the clearest sentence that says so."""
    cited = {p.id: articles.claims_by_id(shop.store, p.fact.evidence) for p in proposals}
    read = heard(shop.store, shop.settings.sources, cited_by=[c for claims in cited.values() for c in claims])
    found: dict[int, dict[str, float]] = {}
    for number, claims in cited.items():
        best = found.setdefault(number, {})
        for item in read.evidence(claims, shop.clock()):
            if item.supports and item.weight > 0:
                best[item.publisher] = max(best.get(item.publisher, 0.0), item.claim.score)
    return found


def plan(shop: Workshop) -> Gathered:
    """What `gather` would do now, on a copy of the database that is thrown away. The state folder is only read."""
    with _scratch(shop) as copy:
        return gather(copy, everything=True)


@contextmanager
def _scratch(shop: Workshop) -> Iterator[Workshop]:
    """The workshop over a temporary copy of the database; the model and the revisions stay where they are."""
    with tempfile.TemporaryDirectory(prefix="factd-plan-") as folder:
        scratch = shop.store.copy_to(Path(folder), shop.clock())
        try:
            yield replace(shop, store=scratch, revisions_from=shop.revisions_from or shop.store)
        finally:
            scratch.close()


__all__ = ["Gathered", "approve_by_rule", "fetch", "gather", "merge", "plan", "propose", "read"]
