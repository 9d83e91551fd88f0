"""What the model believes of a fact: it answers every held-out prompt freely, and what most answers agree on
is its belief.

    current   most prompts are answered with the fact's object
    stale     most are answered with something else
    divided   no answer has more than half of the prompts, but there are several
    unknown   hardly anything that could be an object comes

Prompts that edit are never asked. Teacher-forced log-probabilities are reported beside the answers and settle
one thing only: whether an answer that the catalogue has never heard of is said with confidence or is babble.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.catalogue import Catalogue
from agent.lm.generate import Progress, generate
from agent.lm.load import LM
from agent.lm.score import target_logp
from agent.lm.tokens import encode_targets
from agent.relations import Relation
from agent.types import Belief, Fact, FactKey, Verdict
from agent.verify.answers import Names, clause, forms_of, names_for, object_of
from agent.verify.probes import held_out, relation_of

LONGEST_ANSWER = 40


@dataclass(frozen=True, slots=True)
class AskSettings:
    """`new_tokens` grows by itself where an expected name is longer. An answer that is not in the catalogue
    counts as one when its tokens have, in the geometric mean, a log-probability of at least `sure_logp` nats
    (-1.2: a probability of 0.3).
    """

    batch_size: int = 64
    new_tokens: int = 12
    sure_logp: float = -1.2


def ask(
    lm: LM,
    facts: Sequence[Fact | FactKey],
    relations: Mapping[str, Relation],
    catalogue: Catalogue,
    *,
    settings: AskSettings | None = None,
    progress: Progress | None = None,
) -> list[Belief]:
    """One belief per fact, in order. `progress(done, total)` counts prompts.

    A bare key asks what the model believes with nothing new to hold against it: its answer is `current`, and
    `logp` is of that answer. Raises InputError for a relation that nobody described.
    """
    settings = settings or AskSettings()
    vocabulary = {name: names_for(relations[name], relations, catalogue) for name in _names(facts, relations)}
    asked = [_question(fact, relations, catalogue, vocabulary) for fact in facts]
    answers = _answers(lm, asked, settings, progress)
    found = [[object_of(answers[prompt], q.names) for prompt in q.prompts] for q in asked]
    most = [majority(objects) for objects in found]
    of_object = _mean_logps(lm, asked, [q.object or m for q, m in zip(asked, most, strict=True)], settings)
    unheard_of = ["" if q.names.knows(m) else m for q, m in zip(asked, most, strict=True)]
    of_answer = _mean_logps(lm, asked, unheard_of, settings)
    beliefs = []
    for i, q in enumerate(asked):
        plausible = q.names.knows(most[i]) or of_answer[i] >= settings.sure_logp
        shown = tuple(o or clause(answers[prompt]) for o, prompt in zip(found[i], q.prompts, strict=True))
        verdict = verdict_of(found[i], q.object or most[i], plausible)
        beliefs.append(Belief(q.key, q.prompts, shown, most[i], of_object[i], verdict))
    return beliefs


def majority(objects: Sequence[str]) -> str:
    """The object that more than half of the prompts agree on, else ''. Prompts without an object ('') count
    as prompts.
    """
    counts = Counter(o for o in objects if o).most_common(1)
    return counts[0][0] if counts and 2 * counts[0][1] > len(objects) else ""


def verdict_of(objects: Sequence[str], wanted: str, plausible: bool) -> Verdict:
    """The verdict on the objects answered ('' where none was). `plausible`: their majority could be an
    object.
    """
    most = majority(objects)
    if not most:
        return "divided" if len({o for o in objects if o}) > 1 else "unknown"
    if not plausible:
        return "unknown"
    return "current" if most == wanted else "stale"


def tokens_needed(lm: LM, names: Sequence[str], at_least: int) -> int:
    """How many tokens to generate so that the longest of these names, and the sign that it ended, fits in."""
    longest = max(map(len, encode_targets(lm, [name for name in names if name])), default=0)
    return max(at_least, min(longest + 2, LONGEST_ANSWER))


@dataclass(frozen=True, slots=True)
class _Question:
    """One fact: its object ('' for a bare key), what is asked about it, and the objects it may have."""

    key: FactKey
    object: str
    prompts: tuple[str, ...]
    names: Names


def _names(facts: Sequence[Fact | FactKey], relations: Mapping[str, Relation]) -> list[str]:
    keys = [fact.key if isinstance(fact, Fact) else fact for fact in facts]
    return sorted({relation_of(key, relations).name for key in keys})


def _question(
    fact: Fact | FactKey,
    relations: Mapping[str, Relation],
    catalogue: Catalogue,
    vocabulary: Mapping[str, Names],
) -> _Question:
    key, object_ = (fact.key, fact.object) if isinstance(fact, Fact) else (fact, "")
    relation = relations[key[1]]
    names = vocabulary[key[1]].plus(object_, forms_of(object_, relation.object, catalogue))
    return _Question(key, object_, held_out(relation, catalogue.entity(key[0])), names)


def _answers(
    lm: LM, asked: Sequence[_Question], settings: AskSettings, progress: Progress | None
) -> dict[str, str]:
    prompts = list(dict.fromkeys(prompt for q in asked for prompt in q.prompts))
    if not prompts:
        return {}
    length = tokens_needed(lm, [q.object for q in asked], settings.new_tokens)
    said = generate(lm, prompts, max_new_tokens=length, batch_size=settings.batch_size, progress=progress)
    return dict(zip(prompts, said, strict=True))


def _mean_logps(
    lm: LM, asked: Sequence[_Question], targets: Sequence[str], settings: AskSettings
) -> list[float]:
    """Per question the mean over its prompts of its target's log-probability per token; NaN without one."""
    pairs = [(i, prompt) for i, q in enumerate(asked) for prompt in q.prompts if targets[i]]
    scores: list[list[float]] = [[] for _ in asked]
    if pairs:
        prompts, wanted = [prompt for _, prompt in pairs], [targets[i] for i, _ in pairs]
        logps = target_logp(lm, prompts, wanted, batch_size=settings.batch_size)
        for (i, _), logp in zip(pairs, logps, strict=True):
            scores[i].append(logp)
    return [math.fsum(values) / len(values) if values else math.nan for values in scores]
