"""What the slots of training templates are filled with: people, organisations, places, and words that name
nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.ner.lexicon import Lexicon


@dataclass(frozen=True, slots=True)
class Material:
    """All that templates are filled with. `written` are whole sentences as pieces (text, label; "" for what is no name)."""

    lexicon: Lexicon
    templates: tuple[str, ...]
    people: tuple[str, ...]
    orgs: tuple[str, ...]
    countries: tuple[str, ...]
    demonyms: tuple[str, ...]
    cities: tuple[str, ...]
    first: tuple[str, ...]
    last: tuple[str, ...]
    words: tuple[str, ...]
    written: tuple[tuple[tuple[str, str], ...], ...] = ()

    def any(self, name: str, rng: random.Random) -> str:
        """One entry of the list `name` of the lexicon."""
        return rng.choice(self.lexicon.lists[name])


Maker = Callable[[Material, random.Random], str]


def fill_slot(slot: str, m: Material, rng: random.Random) -> str:
    """A text for `slot`, empty for a slot that nobody knows."""
    if slot in _LISTS:
        rare = slot in {"noun", "verb"} and rng.random() < 0.12
        return rng.choice(m.words) if rare else m.any(_LISTS[slot], rng)
    maker = _MAKERS.get(slot)
    return maker(m, rng) if maker else ""


def made_up(m: Material, rng: random.Random) -> str:
    """A capitalised word that no list has: names must also be told by their place in the sentence."""
    body = "".join(m.any("syllables", rng) for _ in range(rng.choice((1, 2, 2, 3))))
    return (body + (m.any("codas", rng) if rng.random() < 0.8 else "")).capitalize()


def first_name(m: Material, rng: random.Random) -> str:
    name = rng.choice(m.first) if rng.random() < 0.85 else made_up(m, rng)
    return f"{name}-{rng.choice(m.first).lower()}" if rng.random() < 0.02 else name


def last_name(m: Material, rng: random.Random) -> str:
    name = rng.choice(m.last) if rng.random() < 0.78 else made_up(m, rng)
    shape = rng.random()
    if shape < 0.03:
        return f"{name}-{rng.choice(m.last)}"
    if shape < 0.07:
        particle = m.any("name_particles", rng)
        return particle + name if particle in ("al-", "O'") else f"{particle} {name}"
    return name


def person(m: Material, rng: random.Random) -> str:
    """A person in one of the ways that names are written."""
    kind, initial = rng.random(), rng.choice("ABCDEFGHJKLMNPRSTW")
    if kind < 0.12:
        return rng.choice(m.people)
    first, last = first_name(m, rng), last_name(m, rng)
    shapes = (
        (0.20, f"{first} {initial}. {last}"),
        (0.24, f"{initial}. {last}"),
        (0.29, f"{first} {first_name(m, rng)} {last}"),
        (0.33, f"{last} {made_up(m, rng)}-{made_up(m, rng).lower()}"),
        (0.35, f"{first} {last} Jr."),
        (0.37, f"{first} {initial} {last}"),
        (0.45, rng.choice((first, last))),
    )
    return next((text for limit, text in shapes if kind < limit), f"{first} {last}")


def organisation(m: Material, rng: random.Random) -> str:
    """A known organisation, an abbreviation, or one put together from stems, endings, topics and names."""
    kind = rng.random()
    if kind < 0.20:
        return rng.choice(m.orgs)
    if kind < 0.44:
        return m.any("orgs", rng)
    if kind < 0.50:
        return "".join(rng.choice("ABCDEFGHIJLMNOPRSTUW") for _ in range(rng.choice((2, 3, 3, 3, 4, 4, 5))))
    if kind < 0.54:
        return made_up(m, rng)
    return rng.choice(_ORG_SHAPES)(m, rng)


_ORG_SHAPES: tuple[Maker, ...] = (
    lambda m, r: f"{m.any('org_stems', r)} {m.any('org_ends', r)}",
    lambda m, r: f"{m.any('org_stems', r)} {m.any('org_ends', r)} {m.any('org_ends', r)}",
    lambda m, r: f"{last_name(m, r)} {m.any('org_ends', r)}",
    lambda m, r: f"{last_name(m, r)} & {last_name(m, r)}",
    lambda m, r: f"{made_up(m, r)} {m.any('org_ends', r)}",
    lambda m, r: f"{made_up(m, r)}, {r.choice(('Inc.', 'Inc', 'LLC', 'L.P.', 'Ltd.'))}",
    lambda m, r: f"{m.any('org_stems', r)} {m.any('org_ends', r)}, {r.choice(('Inc.', 'LLC', 'Ltd.'))}",
    lambda m, r: f"{rng_city(m, r)} {m.any('org_ends', r)}",
    lambda m, r: f"University of {rng_city(m, r)}",
    lambda m, r: f"{rng_city(m, r)} {r.choice(('University', 'College', 'Tech', 'State', 'High School'))}",
    lambda m, r: f"Department of {m.any('org_topics', r)}",
    lambda m, r: f"{r.choice(('US', 'U.S.', 'United States'))} Department of {m.any('org_topics', r)}",
    lambda m, r: f"Department of {m.any('org_topics', r)} and {m.any('org_topics', r)}",
    lambda m, r: f"School of {m.any('org_topics', r)} and {m.any('org_topics', r)}",
    lambda m, r: f"Ministry of {m.any('org_topics', r)}",
    lambda m, r: f"Institute for {m.any('org_topics', r)}",
    lambda m, r: (
        f"National {m.any('org_topics', r)} {r.choice(('Association', 'Council', 'Agency', 'Commission'))}"
    ),
    lambda m, r: (
        f"{m.any('org_topics', r)} {r.choice(('Authority', 'Board', 'Action Center'))} of {rng_city(m, r)}"
    ),
    lambda m, r: f"City of {rng_city(m, r)}",
    lambda m, r: (
        f"{r.choice(m.demonyms)} {m.any('org_topics', r)} {r.choice(('Committee', 'Group', 'Society'))}"
    ),
    lambda m, r: f"{capital_word(m, r)} {m.any('org_ends', r)}",
    lambda m, r: f"{capital_word(m, r)} {capital_word(m, r)} {m.any('org_ends', r)}",
    lambda m, r: f"Bank of {rng_city(m, r)}",
    lambda m, r: f"{first_name(m, r)}'s {m.any('org_ends', r)}",
    lambda m, r: f"{m.any('org_stems', r)} {capital_word(m, r)} {m.any('org_ends', r)}",
)


def rng_city(m: Material, rng: random.Random) -> str:
    return rng.choice(m.cities)


def place(m: Material, rng: random.Random) -> str:
    """A country, region or city."""
    kind = rng.random()
    if kind < 0.40:
        return rng.choice(m.countries)
    if kind < 0.49:
        return rng.choice(
            ("US", "US", "US", "U.S.", "U.S.", "UK", "U.K.", "USA", "UAE", "NYC", "LA", "L.A.", "D.C.")
        )
    if kind < 0.73:
        return rng_city(m, rng)
    if kind < 0.87:
        return rng.choice(tuple(m.lexicon.regions))
    if kind < 0.89:
        return m.any("short_regions", rng)
    name = made_up(m, rng)
    shapes = (name + m.any("town_ends", rng), f"{m.any('town_heads', rng)} {name}", name)
    return rng.choice(shapes)


def location(m: Material, rng: random.Random) -> str:
    """A sea, a mountain, a street, a building."""
    if rng.random() < 0.6:
        return m.any("places", rng)
    name = rng.choice((made_up, last_name, capital_word, rng_city))(m, rng)
    return rng.choice((f"Lake {name}", f"Mount {name}", *[f"{name} {m.any('place_ends', rng)}"] * 4))


def capital_word(m: Material, rng: random.Random) -> str:
    """A capitalised word that is no name by itself."""
    kind = rng.random()
    if kind < 0.2:
        return m.any("words_capital", rng)
    if kind < 0.35:
        return m.any("function", rng).capitalize()
    return (rng.choice(m.words) if kind < 0.5 else _word(m, rng)).capitalize()


def _word(m: Material, rng: random.Random) -> str:
    return m.any(rng.choice(("nouns", "verbs", "adjectives")), rng)


def plural(m: Material, rng: random.Random) -> str:
    word = m.any("nouns", rng)
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word if word.endswith("s") else word + ("es" if word.endswith(("x", "ch", "sh")) else "s")


def past(m: Material, rng: random.Random) -> str:
    if rng.random() < 0.3:
        return m.any("past_forms", rng)
    word = m.any("verbs", rng)
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ied"
    return word + ("d" if word.endswith("e") else "ed")


def gerund(m: Material, rng: random.Random) -> str:
    word = m.any("verbs", rng)
    return (word[:-1] if word.endswith("e") else word) + "ing"


def typo(m: Material, rng: random.Random) -> str:
    """A common word misspelt, or one that nobody has heard of; neither is a name."""
    word = _word(m, rng)
    if rng.random() < 0.3 or len(word) < 4:
        return made_up(m, rng).lower()
    at = rng.randrange(1, len(word) - 1)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return rng.choice((word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], swapped))


def thing(m: Material, rng: random.Random) -> str:
    """Capitalised words that name a product, a work, a dish, a rule: none of our labels."""
    if rng.random() < 0.35:
        return m.any("products", rng)
    kinds = ("adjectives", "nouns", "nouns")
    words = [m.any(rng.choice(kinds), rng).capitalize() for _ in range(rng.choice((1, 2, 2, 3)))]
    if rng.random() < 0.15:
        words.insert(rng.randint(0, len(words)), rng.choice(("The", "of", "and", "My", "for")))
    return " ".join(words)


def junk(m: Material, rng: random.Random) -> str:
    """What mails and pages are full of: dates, times, numbers, addresses, file names, signs."""
    n, word, other = rng.randint, rng.choice(m.words), rng.choice(m.words)
    clock = f"{n(1, 12):02d}:{n(0, 59):02d} {rng.choice(('AM', 'PM'))}"
    address = f"{first_name(m, rng).lower()}.{last_name(m, rng).lower()}@{word}.com".replace(" ", "")
    return rng.choice(
        (
            f"{n(1, 12):02d}/{n(1, 28):02d}/{n(1995, 2026)} {clock}",
            f"{n(200, 999)}-{n(200, 999)}-{n(1000, 9999)}",
            f"http://www.{word}.com/{other}/{n(1, 999)}.html",
            f"www.{word}.org",
            address,
            f"{word}@{other}.net",
            f"alt.{word}.{other}",
            f"{word}_{other}.doc",
            f"<< File: {word}.xls >>",
            rng.choice(
                ("...", "..", "---", "* * *", ":)", "!!!", "!!", "[", "]", "&", "etc.", "/", ">", "=")
            ),
            f"#{n(1, 99)}",
            rng.choice(
                (
                    f"{n(1, 99)}.{n(1, 9)}",
                    f"{n(1, 12)}:{n(10, 59)}",
                    f"${n(1, 999)}.{n(10, 99)}",
                    f"{n(1, 99)}%",
                )
            ),
            f"{rng.choice('ABCDEFG')}-{n(1, 99)}",
            f"{m.any('acronyms', rng)} {n(1, 9999)}",
        )
    )


def salad(m: Material, rng: random.Random) -> str:
    """A run of common words that names nothing: what most of any text is."""
    makers: tuple[Maker, ...] = (
        junk,
        typo,
        thing,
        lambda mm, r: r.choice(mm.demonyms),
        lambda mm, r: mm.any("words_capital", r),
        lambda mm, r: mm.any("shouts", r),
    )
    words = []
    for _ in range(rng.randint(3, 13)):
        kind = rng.random()
        if kind < 0.45:
            words.append(m.any("function", rng))
        elif kind < 0.55:
            words.append(rng.choice((plural, past, gerund))(m, rng))
        elif kind < 0.62:
            words.append(rng.choice(m.words))
        elif kind < 0.65:
            words.append(rng.choice(makers)(m, rng))
        else:
            words.append(_word(m, rng))
    return " ".join("I" if w == "i" else w for w in words)


_LISTS: Mapping[str, str] = {
    "month": "months",
    "day": "days",
    "noun": "nouns",
    "adj": "adjectives",
    "adv": "adverbs",
    "role": "spoken_roles",
    "title": "person_titles",
    "verb": "verbs",
    "shout": "shouts",
    "ST": "short_regions",
}
_MAKERS: Mapping[str, Maker] = {
    "PER": person,
    "FIRST": first_name,
    "LAST": last_name,
    "PERREV": lambda m, r: f"{last_name(m, r)}, {first_name(m, r)}",
    "ORG": organisation,
    "GPE": place,
    "LOC": location,
    "DEM": lambda m, r: r.choice(m.demonyms),
    "salad": salad,
    "Cap": capital_word,
    "CAPS": lambda m, r: capital_word(m, r).upper(),
    "Role": lambda m, r: m.any("spoken_roles", r).title(),
    "nouns": plural,
    "ved": past,
    "ving": gerund,
    "n": lambda _, r: str(r.choice((r.randint(1, 99), r.randint(2, 9999)))),
    "year": lambda _, r: str(r.randint(1900, 2026)),
    "money": lambda _, r: f"{r.choice('$€£')}{r.randint(1, 90)} {r.choice(('million', 'billion'))}",
    "junk": junk,
    "thing": thing,
    "typo": typo,
}
