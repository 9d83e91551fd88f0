"""The words the whole program speaks: frozen dataclasses, standard library only.

An `Article` is read into `Claim`s; claims about one (subject, relation) merge into a `Fact`; the model is asked and its
answer is a `Belief`; fact and belief make a `Proposal` or a `Skip`; approved proposals become `EditRequest`s, which the
editing package compiles into weights and the verifier turns into a `Report`; what passes is a `Revision`.

Every time is a UTC-aware `datetime` and its name ends in `_at` (or is `as_of` / `valid_from`, the world's time, not ours).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

ClaimKind = Literal["state", "change", "future", "end", "acting", "hedged"]
ProbeKind = Literal[
    "efficacy",
    "paraphrase",
    "question",
    "chat",
    "inverse",
    "portability",
    "same_subject",
    "same_relation",
    "canary",
    "overlay",
]
# Where a live fact is: compiled into the weights, or told to the model beside the question (agent.overlay).
Place = Literal["weights", "overlay"]
Verdict = Literal["current", "stale", "unknown", "divided"]
Status = Literal[
    "pending", "approved", "editing", "verified", "live", "rejected", "failed", "superseded", "rolled_back"
]
FactKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entity:
    """Something that has a name: an entry of the catalogue.

    `kind` is the catalogue's own, finer sort (country, company, club, body, central_bank, city, person); `label` is the NER
    label that a mention of it carries. `article` is "the" where running English wants one ("the Netherlands").
    `tickers` are `EXCHANGE:SYMBOL` (NYSE:F), `wikidata` the item's number there (Q17).
    """

    name: str
    kind: str
    label: str
    article: str = ""
    aliases: tuple[str, ...] = ()
    demonyms: tuple[str, ...] = ()
    tickers: tuple[str, ...] = ()
    wikidata: str = ""

    @property
    def surface(self) -> str:
        """The name as it stands inside a sentence: `the United Kingdom`."""
        return f"{self.article} {self.name}" if self.article else self.name


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One configured source.

    `url` is http(s)://, file://, wikidata:recent or wikidata:sparql, or a plain path to a file (.xml .rss .atom
    .json .jsonl .html) or to a folder of such files. All its items count as one voice: `publisher`, or where that is None the site that `url` is on.
    `aggregator`: each item counts as the publisher that it names or links to instead. `weight`: how much the
    voice counts beside others, 0 for not at all. `allow_private` opens loopback and LAN addresses for this
    source's own host, never for a host it redirects to. `body`: items with little text get that of the page
    they link to.
    """

    name: str
    url: str
    publisher: str | None = None
    allow_private: bool = False
    weight: float = 1.0
    body: bool = False
    aggregator: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """A way by which an article came: through which source, and whom the item there credits."""

    source: str
    publisher: str


@dataclass(frozen=True, slots=True)
class Article:
    """One item of one source, stored before anything else happens to it.

    `id` is stable over re-fetches (source and guid, else canonical URL, else content). `publisher` is whom the item credits:
    the source's pinned publisher, the site it names or the registered domain it links to; the decider believes that only of
    aggregators. `simhash` is the 64-bit SimHash of title and text, by which copies of one wire story are found.
    """

    id: str
    source: str
    publisher: str
    url: str
    title: str
    text: str
    published_at: datetime
    fetched_at: datetime
    sha256: str
    simhash: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """The page behind an article as it is today: its plain text, or that it is gone, or that it could not be read."""

    status: Literal["read", "gone", "unread"]
    text: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Mention:
    """A span `[start, end)` of characters that names something. `entity` is the catalogue's name, None if unlinked."""

    text: str
    label: str
    start: int
    end: int
    entity: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """One article says that subject-relation-object. `kind` tells how: it holds, it has changed, it may, it ended..."""

    id: str
    subject: str
    relation: str
    object: str
    kind: ClaimKind
    article_id: str
    sentence: str
    as_of: datetime
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Fact:
    """What several claims agree on. `evidence` holds claim ids, `publishers` the independent voices behind them."""

    subject: str
    relation: str
    object: str
    valid_from: datetime
    evidence: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()

    @property
    def key(self) -> FactKey:
        return (self.subject, self.relation)


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt, what a right answer starts with, and what a stale answer starts with. `fact_key` is the fact it asks about."""

    kind: ProbeKind
    prompt: str
    expect: tuple[str, ...]
    reject: tuple[str, ...] = ()
    fact_key: FactKey = ("", "")


@dataclass(frozen=True, slots=True)
class Belief:
    """What the model answers now, by free generation over several prompts (`prompts[i]` was answered by `answers[i]`).

    `logp` is the mean log-probability per token (nats) of the fact's object over the prompts; `majority` is the answer most
    prompts agree on, empty where there is none.
    """

    fact_key: FactKey
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    majority: str
    logp: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Proposal:
    """A correction that waits for, or went through, a person's review. `target_old` is what the model answers now."""

    id: int
    fact: Fact
    status: Status
    reason: str
    target_old: str = ""
    created_at: datetime | None = None
    decided_at: datetime | None = None
    not_before_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a fact was not proposed. `code` is for scripts, `reason` for people."""

    subject: str
    relation: str
    object: str
    code: str
    reason: str
    evidence: tuple[str, ...] = ()

    @classmethod
    def of(cls, fact: Fact, code: str, reason: str) -> Skip:
        """Why `fact` is left alone, with its evidence."""
        return cls(fact.subject, fact.relation, fact.object, code, reason, fact.evidence)


@dataclass(frozen=True, slots=True)
class EditRequest:
    """One fact in the form the compiler takes.

    `prompts` are full texts that end just before the target and contain `subject` literally; the first is the canonical one.
    `keep` are full prompts about the same subject whose answers must not move (relation KL). `target_new` and `target_old` come
    without a leading space.
    """

    subject: str
    prompts: tuple[str, ...]
    target_new: str
    target_old: str = ""
    keep: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        return self.prompts[0]


@dataclass(frozen=True, slots=True)
class Failure:
    """One probe that went wrong: what was asked, what was wanted, what came."""

    fact_key: FactKey
    kind: str
    prompt: str
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One probe with what was said to it before and after. `was_right`, `right`: the answer starts with one of `expect`;
    `kept`: nothing was lost, as far as the probe is about that.
    """

    kind: str
    fact_key: FactKey
    prompt: str
    expect: tuple[str, ...]
    before: str
    after: str
    was_right: bool
    right: bool
    kept: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Verification of one candidate revision: `before` and `after` map a metric to its value, `counts` to its sample size.

    `intervals` maps a metric to the 95 % interval of its value after. `norms` maps an edited weight to the size of its update
    relative to the weight (spectral norms). `asked` holds every answer; it is kept apart from the rest, in a file of its own.
    """

    before: dict[str, float]
    after: dict[str, float]
    counts: dict[str, int]
    passed: bool
    reasons: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    examples: tuple[tuple[str, str, str], ...] = field(default=())
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True, slots=True)
class Revision:
    """A published state of the model: the base, the delta that its facts compile to, and the overlay. `id` 0 is the base itself.

    `facts` are all of them, `overlay` those that the weights refused and that are told to the model beside the question.
    """

    id: int
    base_sha: str
    delta_sha: str
    facts: tuple[Fact, ...]
    created_at: datetime
    report: Report | None = None
    overlay: tuple[Fact, ...] = ()

    @property
    def compiled(self) -> tuple[Fact, ...]:
        """The facts that are in the weights."""
        return tuple(fact for fact in self.facts if fact not in self.overlay)


@dataclass(frozen=True, slots=True)
class FeedState:
    """What is remembered of one feed between two polls. `url` is where it lives now (after a 301), `gone` that it said 410.

    `errors` counts the failures in a row, for the backoff; `etag` and `last_modified` are opaque and sent back as they came.
    `origin` is the url in the settings that `url` began as: with another one there, the rest of the state no longer applies.
    `body_sha256` is that of the last body that was read, "" if none: the same bytes are not read again.
    """

    source: str
    url: str
    etag: str = ""
    last_modified: str = ""
    polled_at: datetime | None = None
    next_poll_at: datetime | None = None
    errors: int = 0
    last_error: str = ""
    gone: bool = False
    origin: str = ""
    body_sha256: str = ""
