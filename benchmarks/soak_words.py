"""The words of a soak's news: sentences that tell a change, a rumour or a plan, and everyday ones that tell nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

TRUE: Mapping[str, Sequence[str]] = {
    "capital": (
        "{s} has moved its capital to {o}, a step that had been debated for years.",
        "Trains were full on Monday, the day on which {s} moved its capital to {o}.",
        "Before the winter {s} moved its capital to {o}, and the mayor of the old one wept.",
        "Shopkeepers complain about rents ever since {s} moved its capital to {o}.",
        "After a long night {s} moved its capital to {o}. Few civil servants were pleased.",
        "Flags were changed at noon, and {o} is now the capital of {s}.",
        "By Friday night {s} had relocated its capital to {o}, and diplomats were packing.",
        "The archive went last when {s} transferred its capital to {o} this week.",
    ),
    "ceo": (
        "{o} took over as chief executive of {s} on Monday, and the shares hardly moved.",
        "{s} chief executive {o} met the unions over coffee on Thursday.",
        "{o}, the new chief executive of {s}, opened a plant in the rain.",
        "{s} has appointed {o} as chief executive, the company said.",
        "In a short letter {o}, chief executive of {s}, thanked the staff.",
        "{o} has become chief executive of {s} after a short meeting.",
        "The chief executive of {s}, {o}, answered questions for an hour.",
        "{s} CEO {o} bought shares of the company on Friday.",
    ),
}
FALSE: Mapping[str, Mapping[str, Sequence[str]]] = {
    "rumour": {
        "capital": (
            "{s} may have moved its capital to {o} by spring, people in the lobby whisper.",
            "It is rumoured that {s} could have moved its capital to {o} in secret.",
        ),
        "ceo": (
            "{o} could become chief executive of {s}, people close to the board say.",
            "{o} might have become chief executive of {s}, if the lobby is right.",
        ),
    },
    "announced": {
        "capital": (
            "{s} will move its capital to {o} next year, the minister of works announced.",
            "{s} plans to move its capital to {o} once the bridges are ready.",
        ),
        "ceo": (
            "{o} will take over as chief executive of {s} next year.",
            "{s} plans to appoint {o} as chief executive next year.",
        ),
    },
    "bare": {
        "capital": ("{s} has moved its capital to {o}", "In the end {s} moved its capital to {o}"),
        "ceo": ("{o} took over as chief executive of {s}", "{o} has become chief executive of {s}"),
    },
}
_WORDS = [
    "rain",
    "market",
    "bridge",
    "winter",
    "harvest",
    "letter",
    "song",
    "ferry",
    "orchard",
    "lantern",
    "violin",
    "café",
    "queue",
    "garden",
    "piano",
    "river",
    "stone",
    "bakery",
    "tram",
    "library",
    "festival",
    "blanket",
    "kettle",
    "harbour",
    "meadow",
    "pencil",
    "ladder",
    "window",
    "carpet",
    "button",
    "candle",
    "basket",
    "teapot",
    "umbrella",
    "crossword",
    "saddle",
    "marble",
    "ribbon",
    "feather",
    "pebble",
    "cushion",
    "jardinière",
    "naïve",
    "smörgås",
]
_VERBS = [
    "delighted",
    "puzzled",
    "outlasted",
    "followed",
    "covered",
    "improved",
    "ruined",
    "crossed",
    "warmed",
    "surprised",
]


def everyday(rng: random.Random) -> str:
    """Two or three sentences that tell nothing about anybody."""
    return " ".join(_sentence(rng) for _ in range(rng.randint(2, 3)))


def _sentence(rng: random.Random) -> str:
    a, b, c, d, e, f = rng.sample(_WORDS, 6)
    return f"The {a} and the {b} {rng.choice(_VERBS)} a {c} near the {d}, while one {e} {rng.choice(_VERBS)} every {f}."


def told(phrase: str, subject: str, object_: str, rng: random.Random) -> str:
    """A story around a phrase with its {s} and {o}."""
    return f"{phrase.format(s=subject, o=object_)} {everyday(rng)}"
