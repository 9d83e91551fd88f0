"""Why facts were left alone, for somebody who has never seen the program: each code with what it means and
what can be done about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.types import Skip

# code: (what it means, what the reader can do about it)
CODES: dict[str, tuple[str, str]] = {
    "uncorroborated": (
        "Too few independent publishers say so",
        "read more sources, or change policy.min_publishers or a source's weight or aggregator; see docs/trust.md",
    ),
    "contradiction": (
        "Publishers contradict each other, with enough voices on both sides",
        "look at both (`factd timeline`); policy.contest_days is how long they block each other, and"
        " `factd queue add` takes your own decision",
    ),
    "cool_off": (
        "Too fresh: corroborated, but not for long enough yet",
        "wait, or change policy.cool_off_h; a later run takes it up by itself",
    ),
    "too_old": (
        "Too old to prove anything about today",
        "change policy.max_age_days (null: no limit)",
    ),
    "outdated": (
        "Something newer has taken its place",
        "nothing; this is how old news is kept from undoing new",
    ),
    "ended": ("It held, and has ended, with no successor corroborated", "wait for news of who came after"),
    "undated": (
        "Told in articles without a date, against others that have one",
        "nothing; if the source's dates are missing or wrong, another feed of it may have them",
    ),
    "no_voice": (
        "Only sources without a voice say so",
        "raise the source's weight, or put the source back into the settings",
    ),
    "future": ("Announced, not in place yet", "wait for news that says so"),
    "hedged": ("A rumour, a possibility or a denial", "nothing; only plain statements count"),
    "acting": ("For the time being only", "nothing; acting holders are not written into the model"),
    "many": (
        "Several answers can hold at once, so that none is ever replaced automatically",
        "`factd queue add` takes your own edit",
    ),
    "not_editable": (
        "The relations file does not allow changes of this relation",
        "set policy.editable of the relation in your own relations file",
    ),
    "protected": ("You protect this name", "change policy.protected"),
    "unknown_subject": (
        "About a subject that is not in the catalogue",
        "add it to a catalogue file of yours, or set policy.allow_unknown_subjects",
    ),
    "wrong_subject": (
        "This is not asked of such a subject",
        "nothing where the news was misread; else correct the subject's kind in the catalogue",
    ),
    "wrong_object": (
        "This cannot be the answer",
        "nothing where the news was misread; else correct the name's kind in the catalogue",
    ),
    "homonym": (
        "The name can mean several entries of the catalogue",
        "nothing, or take the alias from the entry that is not meant",
    ),
    "unknown_relation": ("The relations file has no such relation", "add it there to follow it"),
    "already_known": ("The model says so already", "nothing"),
    "unknown_to_model": (
        "The model has no answer that could be corrected",
        "set policy.add_unknown to propose such facts as well",
    ),
    "queued": ("In the queue already, and decided", "`factd queue show` with its number has the history"),
    "over_limit": ("This run has proposed as much as it may", "a later run takes it up; policy.max_per_run"),
    "over_day": ("Enough was proposed within a day", "a later run takes it up; policy.max_per_day"),
    "over_relation": (
        "Enough was proposed for this relation within a day",
        "a later run takes it up; policy.max_per_relation",
    ),
    "over_subject": (
        "Enough was proposed about this subject within a day",
        "look whether somebody floods you; a later run takes it up; policy.max_per_subject",
    ),
}


def skip_lines(skips: Sequence[Skip]) -> list[str]:
    """Skips by code, the most frequent code first; what has one reason in common stands side by side."""
    groups: dict[str, list[Skip]] = {}
    for skip in skips:
        groups.setdefault(skip.code, []).append(skip)
    lines: list[str] = []
    for code, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        meaning, remedy = CODES.get(code, (code, ""))
        lines += ["", f"{meaning} ({len(group)}) [{code}]"]
        lines += [f"  what to do: {remedy}"] if remedy else []
        together: dict[tuple[str, str, str], list[str]] = {}
        for skip in group:
            together.setdefault((skip.subject, skip.relation, skip.reason), []).append(skip.object or "?")
        lines += [
            f"  - {subject}, {relation}, {' or '.join(objects)}: {reason}"
            for (subject, relation, reason), objects in together.items()
        ]
    return lines
