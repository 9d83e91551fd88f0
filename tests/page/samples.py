"""Pages to look at: an ordinary one, and the same with other words in every place that words from outside can reach."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from agent.page.inputs import Inputs, LeftOut, Member, Past, Threshold
from agent.types import Asked, Fact, FactKey, Failure, Report, Revision

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Words = Callable[[str], str]
SHA = "0123456789abcdef" * 4
METRICS = {
    # name: (before, after, n, interval)
    "efficacy": (0.0, 1.0, 4, (0.5, 1.0)),
    "paraphrase": (0.0, 0.75, 4, (0.3, 0.95)),
    "facts": (0.0, 1.0, 2, (0.34, 1.0)),
    "same_subject": (1.0, 0.5, 2, (0.1, 0.9)),
    "same_subject_unchanged": (1.0, 0.5, 2, (0.1, 0.9)),
    "others_unchanged": (1.0, 1.0, 40, (0.91, 1.0)),
    "perplexity": (12.5, 13.0, 20, (12.7, 13.4)),
    "drift": (0.0, 0.0125, 20, (0.01, 0.015)),
    "teacher_forced_efficacy": (0.125, 0.96, 4, (0.9, 1.0)),
}
THRESHOLDS = {
    "efficacy": Threshold(0.95),
    "facts": Threshold(1.0),
    "paraphrase": Threshold(0.8),
    "same_subject_unchanged": Threshold(0.9),
    "others_unchanged": Threshold(0.97),
    "perplexity": Threshold(1.05, at_most=True, relative=True),
    "norm": Threshold(0.05, at_most=True),
}


def same(text: str) -> str:
    return text


def inputs(words: Words = same, *, passed: bool = True) -> Inputs:
    """Two facts, one of them in the overlay, with everything that a page can have. Every text of it went through `words`."""
    facts = (
        Fact(
            words("Zorland"), words("leader"), words("Lopes"), NOW, ("c1",), (words("a.example"), "b.example")
        ),
        Fact(words("Quenia"), words("capital"), words("Mipa"), NOW),
    )
    members = (
        Member(facts[0], "weights", 1, words("Voss")),
        Member(facts[1], "overlay", 2, words("Kelto"), words("the weights do not take it")),
    )
    revision = Revision(3, SHA, SHA[::-1], facts, NOW, None, facts[1:])
    return Inputs(
        revision=revision,
        report=report(facts, words, passed=passed),
        fresh=True,
        made_at=NOW,
        status="served",
        members=members,
        left_out=(LeftOut(words("Tallisk"), words("leader"), words("Nova"), 9, words("cannot be said")),),
        history=history(),
        thresholds=THRESHOLDS,
        settings={
            "verify": {"efficacy": "0.95", "texts": words("/tmp/texts")},
            "editing": {"layers": "1, 2"},
        },
        moved={"efficacy": (0.5, 1.0), words("odd metric"): (1.0, 2.0)},
        version="0.1.0",
    )


def report(facts: tuple[Fact, ...], words: Words = same, *, passed: bool = True) -> Report:
    metrics = METRICS | {words("odd metric"): (1.0, 2.5, 3, (2.0, 3.0))}
    return Report(
        before={name: row[0] for name, row in metrics.items()},
        after={name: row[1] for name, row in metrics.items()},
        counts={name: row[2] for name, row in metrics.items()},
        passed=passed,
        reasons=() if passed else (words("same_subject_unchanged: 50.0% of 2, 90.0% wanted"),),
        failures=tuple(failures(facts, words)),
        examples=((words("Who leads Zorland?"), words("Voss"), words("Lopes")),),
        intervals={name: row[3] for name, row in metrics.items()},
        norms={words(f"model.layers.{i}.mlp.down_proj.weight"): 0.01 * i for i in (2, 10, 1)},
        asked=tuple(a for fact in facts for a in asked_of(fact, words)) + tuple(others(words)),
    )


def asked_of(fact: Fact, words: Words) -> list[Asked]:
    """Two edit prompts right, one of two paraphrases wrong, a question, an unknown kind, an inverse, two about the same subject, one lost."""
    old, new = words("Voss"), fact.object
    rows = [
        ("efficacy", f"The {fact.relation} of {fact.subject} is", new, False, True),
        ("efficacy", f"{fact.subject}'s {fact.relation} is", new, False, True),
        ("paraphrase", f"{fact.subject} is led by", new, False, True),
        ("paraphrase", f"{fact.subject} follows", old, False, False),
        ("question", f"Who leads {fact.subject}?", new, False, True),
        (words("odd kind"), f"Say who leads {fact.subject}", new, False, True),
        ("inverse", f"{fact.object} is the leader of", words("nobody"), False, False),
    ]
    mine = [
        Asked(kind, fact.key, words(prompt), (new,), old, after, was, right, right)
        for kind, prompt, after, was, right in rows
    ]
    key: FactKey = (fact.subject, words("currency"))
    near = [
        Asked("same_subject", key, words(f"{fact.subject} pays with"), (words("pelk"),), words("pelk"), words("pelk"), True, True, True),
        Asked("same_subject", key, words(f"In {fact.subject} one pays"), (words("pelk"),), words("pelk"), words("marn"), True, False, False),
    ]  # fmt: skip
    return mine + near


def others(words: Words) -> list[Asked]:
    key: FactKey = (words("Bavoria"), words("leader"))
    return [
        Asked("canary", key, words("Who leads Bavoria?"), (words("Merrow"),), words("Merrow"), words("Merrow"), True, True, True),
        Asked("canary", key, words("Bavoria is led by"), (words("Merrow"),), words("Kelto"), "", False, False, True),
        Asked(words("new kind"), key, words("Tell me"), (), "", words("well"), False, True, True),
    ]  # fmt: skip


def failures(facts: tuple[Fact, ...], words: Words) -> list[Failure]:
    about = [
        Failure(f.key, "paraphrase", words(f"{f.subject} follows"), f.object, words("Voss")) for f in facts
    ]
    lost = [
        Failure((f.subject, words("currency")), "same_subject", words("one pays"), words("pelk"), "")
        for f in facts
    ]
    odd = Failure(
        (words("Bavoria"), words("leader")), words("odd kind"), words("say"), words("so"), words("no")
    )
    return [
        *lost,
        *about,
        odd,
        Failure(facts[0].key, "fact", words("tell it"), facts[0].object, words("Voss")),
    ]


def history(count: int = 3) -> tuple[Past, ...]:
    return tuple(
        Past(
            id=i,
            created_at=NOW + timedelta(days=i),
            status="served" if i == count else "rolled back" if i == 2 else "published",
            weights=i,
            overlay=i % 2,
            after={"efficacy": 1.0, "others_unchanged": 0.9 + 0.01 * (i % 7)} if i != 2 else {},
        )
        for i in range(1, count + 1)
    )
