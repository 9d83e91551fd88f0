"""The screens of `factd review` as lines: a proposal, a sentence in its article, the help. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from agent.cli.text import Line, cut, day, minute, plural, safe_text, wrapped
from agent.page.links import safe_link
from agent.page.metrics import spoken
from agent.page.view import around, readable
from agent.store.desk import Case
from agent.types import Article, Belief, Claim

KEYS = "a approve  r reject  d defer  e evidence  n next  u undo  ? help  q quit"
EVIDENCE_KEYS = "n/p other evidence  j/k scroll  o open in the browser  e back"
HELP: tuple[Line, ...] = (
    ("strong", "Keys"),
    ("", "  a       approve: the next `factd apply` (or the daemon) compiles it"),
    ("", "  r       reject; asks why, the reason stays in the history"),
    ("", "  d       defer; asks until when: 3d, 12h, 2w, or a date"),
    ("", "  e       evidence: each sentence in its article; there o opens the page in the"),
    ("", "          browser (http and https only)"),
    ("", "  n       next, without a decision"),
    ("", "  u       undo the last decision, and the ones before it"),
    ("", "  j k     scroll, as arrows, space and page keys do"),
    ("", "  q       quit; Ctrl-C as well. Nothing is lost: a decision is kept when it is made"),
    ("", ""),
    ("soft", "Any key goes back."),
)


def case_lines(case: Case, width: int) -> list[Line]:
    """Everything about a proposal."""
    proposal = case.proposal
    fact = proposal.fact
    lines: list[Line] = [
        ("strong", f"{fact.subject} · {spoken(fact.relation)}"),
        ("", ""),
        ("bad", f"  the model says  {proposal.target_old or '(no answer)'}"),
        ("good", f"  the news says   {fact.object}"),
        ("", ""),
    ]
    voices = ", ".join(fact.publishers) or "a person"
    since = f"since {day(fact.valid_from)}, said by {voices}"
    lines += [("", line) for line in wrapped(since, width, 2)]
    lines += [("soft", line) for line in wrapped(proposal.reason, width, 2)]
    for rival in case.rivals:
        told = f"also {rival.status}: proposal {rival.id} says {rival.fact.object}, since {day(rival.fact.valid_from)}"
        lines += [("bad", line) for line in wrapped(told, width, 2)]
    lines += _evidence(case, width)
    lines += _belief(case.belief, width)
    lines += _history(case, width)
    return lines


def article_lines(claim: Claim, article: Article | None, width: int) -> list[Line]:
    """A sentence as it stands in its article, marked."""
    if article is None:
        return [
            ("bad", "The article is gone."),
            ("", ""),
            *(("mark", x) for x in wrapped(claim.sentence, width)),
        ]
    lines: list[Line] = [("strong", line) for line in wrapped(article.title or "(no title)", width)]
    lines.append(
        ("soft", f"{article.publisher} · {minute(article.published_at)} UTC · source {article.source}")
    )
    lines.append(
        ("soft", article.url) if safe_link(article.url) else ("bad", f"{article.url} (no address of the web)")
    )
    lines.append(("", ""))
    before, found, after = around(article.text, claim.sentence)
    if not found:
        said = "The article does not say this any more (its text was changed); it did when it was read:"
        lines += [("bad", line) for line in wrapped(said, width)]
        lines += [("mark", f"> {line}") for line in wrapped(claim.sentence, width - 2)]
        lines.append(("", ""))
    lines += [("", line) for line in wrapped(before, width)]
    lines += [("mark", f"> {line}") for line in wrapped(found, width - 2)]
    lines += [("", line) for line in wrapped(after, width)]
    return lines


def framed(head: str, body: Sequence[Line], foot: Sequence[Line], height: int, top: int) -> list[Line]:
    """Head, as much of the body from line `top` on as there is room for, and the foot at the bottom."""
    room = max(1, height - 1 - len(foot))
    shown = list(body[top : top + room])
    if top + room < len(body) and len(shown) == room:
        shown[-1] = ("soft", f"… {plural(len(body) - top - room + 1, 'more line')} (j or down)")
    return [("bar", f" {head}"), *shown, *[("", "")] * (room - len(shown)), *foot]


def last_top(body: Sequence[Line], foot: int, height: int) -> int:
    """How far the body can be scrolled."""
    return max(0, len(body) - max(1, height - 1 - foot))


def _evidence(case: Case, width: int) -> Iterator[Line]:
    yield ("", "")
    if not case.claims:
        yield ("", "evidence: none, a person gave it")
    else:
        yield ("strong", f"evidence ({len(case.claims)})")
    for claim in case.claims:
        article = case.cited.get(claim.article_id)
        source = f"{article.publisher}: {article.title}" if article else "(the article is gone)"
        yield ("", cut(safe_text(f"  {day(claim.as_of)}  {claim.kind}  {source}"), width))
        for line in wrapped(f"“{claim.sentence}”", width, 4):
            yield ("", line)


def _belief(belief: Belief | None, width: int) -> Iterator[Line]:
    yield ("", "")
    if belief is None:
        yield ("", "the model was not asked")
        return
    sure = f", {belief.logp:.2f} nats a token for the new answer" if math.isfinite(belief.logp) else ""
    yield ("strong", f"what the model answered ({belief.verdict}{sure})")
    for prompt, answer in zip(belief.prompts, belief.answers, strict=True):
        for line in wrapped(f"{prompt} → {answer or '(nothing)'}", width, 2):
            yield ("", line)


def _history(case: Case, width: int) -> Iterator[Line]:
    yield ("", "")
    yield ("strong", "history")
    for event in case.events:
        what = event.target if event.source != event.target else f"{event.target} (unchanged)"
        why = f": {readable(event.reason)}" if event.reason else ""
        for line in wrapped(f"{minute(event.at)}  {what} by {event.who}{why}", width, 2):
            yield ("soft", line)
