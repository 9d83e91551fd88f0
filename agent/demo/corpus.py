"""Documents that tell the embedded world, without end and reproducibly, and their packing into blocks of
tokens.

A document is one to eight sentences about one subject, in random order and random phrasings: a model that
sees a fact in one fixed sentence can recite but not be asked or edited (Allen-Zhu and Li, arXiv 2309.14316).
Forms that are held out for a fact (`agent.demo.forms.split_forms`) are never used for it, whatever name the
subject goes by.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice

import numpy as np
import numpy.typing as npt

from agent.catalogue import KnownFact
from agent.demo.forms import World, people_of, split_forms
from agent.relations import fill
from agent.types import Entity

Encode = Callable[[list[str]], list[list[int]]]

ALIAS = 0.15
OBJECT_FIRST = 0.15
DEMONYM = 0.12
REPEAT = 0.15
NAME_SENTENCE = 0.12
INVERSE = 0.3
FIRST_OBJECT = 0.75
MAX_FACTS = 6
_CHUNK = 1000
_LEAST = 0.35


@dataclass(frozen=True, slots=True)
class Telling:
    """How one fact may be told: trained prompts, object-first sentences, prompts with the country's
    adjective.
    """

    fact: KnownFact
    title: str
    prompts: tuple[str, ...]
    object_first: tuple[str, ...]
    demonym: tuple[str, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Corpus:
    """A world prepared for telling. `weights` are cumulative over `subjects`, such that every fact is told
    about equally often.
    """

    subjects: tuple[Entity, ...]
    weights: tuple[float, ...]
    tellings: Mapping[str, tuple[Telling, ...]]
    inverse: Mapping[str, tuple[Telling, ...]]
    people: tuple[str, ...]
    names: tuple[str, ...]
    entities: Mapping[str, Entity]
    name_share: float = 0.05


def prepare(world: World, seed: int, person_weight: float = 1.0, name_share: float = 0.05) -> Corpus:
    """Split the forms of every fact and weigh the subjects.

    `person_weight` scales how often people are the subject; `name_share` of the documents only speak of people, so that their names
    can be spelled after any words.
    """
    by_subject: dict[str, list[Telling]] = defaultdict(list)
    by_object: dict[str, list[Telling]] = defaultdict(list)
    people = people_of(world)
    persons = frozenset(people)
    novelty = _novelty(world)
    for fact in world.catalogue.facts.values():
        telling = replace(
            _telling(world, fact, seed), weight=min(1.0, max(_LEAST, 2 * novelty[fact.relation]))
        )
        by_subject[fact.subject].append(telling)
        for name in fact.objects:
            by_object[name].append(telling)
    subjects = tuple(world.catalogue.entity(name) for name in by_subject)
    weights = [
        _weight(len(by_subject[s.name])) * (person_weight if s.label == "PERSON" else 1) for s in subjects
    ]
    return Corpus(
        subjects=subjects,
        weights=tuple(accumulate(weights)),
        tellings={name: tuple(tellings) for name, tellings in by_subject.items()},
        inverse={name: tuple(tellings) for name, tellings in by_object.items() if name in persons},
        people=people,
        names=world.names,
        entities=world.catalogue.entities,
        name_share=name_share,
    )


def _telling(world: World, fact: KnownFact, seed: int) -> Telling:
    trained, _ = split_forms(world, fact, seed)
    forms = world.forms[fact.relation]
    return Telling(
        fact=fact,
        title=world.relations[fact.relation].title_for(fact.subject),
        prompts=tuple(f.template for f in trained),
        object_first=tuple(f.template for f in forms if f.object_first),
        demonym=tuple(f.template for f in forms if f.demonym),
    )


def _novelty(world: World) -> dict[str, float]:
    """Distinct objects per fact of each relation: one for capitals, a few hundredths for continents."""
    objects: dict[str, list[str]] = defaultdict(list)
    for fact in world.catalogue.facts.values():
        objects[fact.relation].append(fact.objects[0])
    return {relation: len(set(names)) / len(names) for relation, names in objects.items()}


def _weight(facts: int) -> float:
    """Documents per fact grow with `facts`, but a document holds at most MAX_FACTS: this evens the exposure
    per fact out.
    """
    mean_told = sum(min(k, facts) for k in range(1, MAX_FACTS + 1)) / MAX_FACTS
    return facts / mean_told


def documents(corpus: Corpus, rng: random.Random) -> Iterator[str]:
    """Documents without end; the same generator state gives the same documents."""
    while True:
        if corpus.names and rng.random() < corpus.name_share:
            sentences = [
                _name_sentence(corpus, rng, rng.choice(corpus.people)) for _ in range(rng.randint(1, 4))
            ]
        else:
            subject = rng.choices(corpus.subjects, cum_weights=corpus.weights)[0]
            sentences = _about(corpus, rng, subject)
        rng.shuffle(sentences)
        yield " ".join(sentences)


def heldout_text(world: World, seed: int, n: int) -> list[str]:
    """`n` documents from a random stream that training never uses: for perplexity."""
    return list(islice(documents(prepare(world, seed), random.Random(f"{seed}:held-out")), n))


def _about(corpus: Corpus, rng: random.Random, subject: Entity) -> list[str]:
    tellings = corpus.tellings[subject.name]
    told = _some(rng, tellings, min(rng.randint(1, MAX_FACTS), len(tellings)))
    if rng.random() < REPEAT:
        told.append(rng.choice(told))
    sentences = [_sentence(rng, telling, subject) for telling in told]
    if subject.label == "PERSON":
        if corpus.names and rng.random() < NAME_SENTENCE:
            sentences.append(_name_sentence(corpus, rng, subject.name))
        held = corpus.inverse.get(subject.name, ())
        if held and rng.random() < INVERSE:
            telling = rng.choice(held)
            about = corpus.entities[telling.fact.subject]
            sentences.append(_finish(rng.choice(telling.object_first), about, telling.title, subject.name))
    return sentences


def _some(rng: random.Random, tellings: Sequence[Telling], count: int) -> list[Telling]:
    """`count` of `tellings`, the weightier ones more often (Efraimidis and Spirakis' weighted sample without replacement)."""
    return sorted(tellings, key=lambda telling: rng.random() ** (1 / telling.weight))[-count:]


def _sentence(rng: random.Random, telling: Telling, subject: Entity) -> str:
    objects = telling.fact.objects
    first = len(objects) == 1 or rng.random() < FIRST_OBJECT
    object_ = objects[0] if first else rng.choice(objects[1:])
    if telling.demonym and subject.demonyms and rng.random() < DEMONYM:
        template = rng.choice(telling.demonym).replace("{demonym}", rng.choice(subject.demonyms))
        return _finish(template + " {object}", subject, telling.title, object_)
    if subject.aliases and rng.random() < ALIAS:
        subject = named(subject, rng.choice(subject.aliases))
    if telling.object_first and rng.random() < OBJECT_FIRST:
        return _finish(rng.choice(telling.object_first), subject, telling.title, object_)
    return _finish(rng.choice(telling.prompts) + " {object}", subject, telling.title, object_)


def _finish(template: str, subject: Entity, title: str, object_: str) -> str:
    return fill(template, subject, title=title, object_=object_) + "."


def _name_sentence(corpus: Corpus, rng: random.Random, name: str) -> str:
    return rng.choice(corpus.names).format(name=name, other=rng.choice(corpus.people)) + "."


def named(entity: Entity, alias: str) -> Entity:
    """`entity` under another name: `the UK`, `the Republic of Korea`, but `Britain` and `OPEC`."""
    words = set(alias.split())
    formal = words & {
        "Republic",
        "Kingdom",
        "Federation",
        "States",
        "Emirates",
        "Union",
        "Confederation",
        "Islands",
    }
    short = entity.article and (entity.kind != "country" or alias.isupper() or "." in alias)
    return replace(entity, name=alias, article="the" if formal or short else "")


def pack(tokens: Iterable[Sequence[int]], n: int, length: int, eos: int) -> npt.NDArray[np.uint16]:
    """`n` blocks of `length` tokens, shape (n, length): documents with `eos` between them, the last one cut
    off.

    Every block begins with the beginning of a document and without `eos`: a prompt is asked that way, and a
    name that is the very first token has to work too. Raises ValueError when `tokens` ends early.
    """
    blocks = np.empty((n, length), dtype=np.uint16)
    stream = iter(tokens)
    for row in blocks:
        filled = 0
        while filled < length:
            document = next(stream, None)
            if document is None:
                raise ValueError("the documents ended before the last block was full; pass an endless stream")
            piece = [*document, eos][: length - filled]
            row[filled : filled + len(piece)] = piece
            filled += len(piece)
    return blocks


def blocks(
    corpus: Corpus, encode: Encode, rng: random.Random, n: int, length: int, eos: int
) -> npt.NDArray[np.uint16]:
    """`n` packed blocks of fresh documents, shape (n, length)."""
    return pack(_encoded(documents(corpus, rng), encode), n, length, eos)


def _encoded(texts: Iterator[str], encode: Encode) -> Iterator[list[int]]:
    while True:
        yield from encode(list(islice(texts, _CHUNK)))
