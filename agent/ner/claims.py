"""Article -> claims: who holds, takes or leaves which office, and where things are.

    title, text -> sentences -> trigger words? -> symbols -> patterns -> finds -> claims
                                      | no: not parsed         (subject, relation, person, kind)

`Reader.read` never raises on any text; what it cannot resolve for certain it leaves out.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from spacy.language import Language

from agent.catalogue import Catalogue
from agent.ner.chunks import Ent
from agent.ner.context import Context
from agent.ner.finds import Find, find_all
from agent.ner.follow import follow
from agent.ner.lexicon import Lexicon, load_lexicon
from agent.ner.linking import Linker, build_linker
from agent.ner.names import COMPANY_WORDS, has_phrase, plain
from agent.ner.news_patterns import NewsPattern, news_patterns
from agent.ner.patterns import Pattern, role_patterns
from agent.ner.qualify import past_date
from agent.ner.roles import RoleBook, make_book
from agent.ner.symbols import Symbols, symbolise
from agent.ner.tokens import split_sentences, tokenize, without_dateline
from agent.relations import Relation
from agent.types import Article, Claim

_MAX_CHARS = 20_000
# Share of plain Latin letters, below which a sentence cannot be English.
_ENGLISH = 0.6
MAX_SENTENCE = 1_200
_NOT_NOW = ("end", "future", "hedged", "acting")
_CHUNK = 64
_LITERAL = re.compile(r"(?<![?P<\\])\b[a-z]{3,}")
_LOOKAHEAD = re.compile(r"\(\?<?!(?:[^()]|\([^()]*\))*\)")
_OPTIONAL = re.compile(r"\((?:[^()]|\([^()]*\))*\)\?")


@dataclass(frozen=True, slots=True)
class Page:
    """An article in plain quotes, cut into sentences, of which the first `headlines` are the title's."""

    text: str
    sentences: list[str]
    headlines: int
    wanted: list[bool]

    def telling(self) -> list[str]:
        """The wanted sentences."""
        return [s for s, want in zip(self.sentences, self.wanted, strict=True) if want]


@dataclass(frozen=True, slots=True)
class Reader:
    """Everything that reading needs, built once per catalogue by `make_reader`."""

    nlp: Language
    linker: Linker
    book: RoleBook
    lexicon: Lexicon
    patterns: tuple[Pattern, ...]
    news: tuple[NewsPattern, ...]
    news_trigger: re.Pattern[str]
    known: Mapping[tuple[str, str], tuple[str, ...]]
    first: frozenset[str]

    def read(self, article: Article) -> list[Claim]:
        """The claims of `article`, in text order, each at most once."""
        return next(iter(self.read_many([article])))

    def read_many(self, articles: Iterable[Article]) -> Iterator[list[Claim]]:
        """The claims of each article, in order. The recogniser runs over many articles at once, which is
        several times faster."""
        stream = iter(articles)
        while chunk := list(islice(stream, _CHUNK)):
            pages = [self.page(article) for article in chunk]
            ents = iter(self.names([sentence for page in pages for sentence in page.telling()]))
            for page, article in zip(pages, chunk, strict=True):
                yield self._finish(page, article, ents)

    def page(self, article: Article) -> Page:
        """`article` cut into sentences, each with whether it can tell anything of the relations."""
        title = plain(html.unescape(article.title))[:MAX_SENTENCE]
        body = without_dateline(plain(html.unescape(article.text))[:_MAX_CHARS])
        if body.startswith(title.rstrip(".…")):
            title = ""
        sentences = [title[a:b].strip() for a, b in split_sentences(title)]
        headlines = len(sentences)
        sentences += [body[a:b].strip()[:MAX_SENTENCE] for a, b in split_sentences(body)]
        return Page(f"{title}\n{body}", sentences, headlines, [self._wants(s) for s in sentences])

    def _wants(self, sentence: str) -> bool:
        if sum(map(str.isascii, sentence)) < _ENGLISH * len(sentence):
            return False
        if self.news_trigger.search(sentence) or " counterpart" in sentence:
            return True
        return self.book.trigger.search(sentence) is not None and any(
            r.roles for r in self.book.find(tokenize(sentence))
        )

    def _finish(self, page: Page, article: Article, ents: Iterator[tuple[Ent, ...]]) -> list[Claim]:
        if not any(page.wanted):
            return []
        context = Context(self.linker, self.book, page.text, self.known, self.lexicon)
        loud = [
            _all_capital(s) and (n < page.headlines or s[-1] not in '.!?)"')
            for n, s in enumerate(page.sentences)
        ]
        calm = "\n".join(s for n, s in enumerate(page.sentences) if n >= page.headlines and not loud[n])
        confirm = self._confirm(calm)
        parsed: list[tuple[Symbols, bool]] = []
        for number, (sentence, want) in enumerate(zip(page.sentences, page.wanted, strict=True)):
            spans = next(ents) if want else ()
            found = symbolise(
                sentence, spans, self.linker, self.book, self.lexicon, confirm if loud[number] else None
            )
            context.note(found, headline=number < page.headlines)
            parsed.append((found, want))
        finds = [f for s, want in parsed if want for f in find_all(s, context, self.patterns, self.news)]
        return _claims(follow(finds, (s for s, _ in parsed), context), article)

    def names(self, sentences: Iterable[str]) -> list[tuple[Ent, ...]]:
        """What the recogniser sees in each sentence: (first character, last, label). The words it has not met before are forgotten
        again: a pipeline keeps every one otherwise, and news has new ones for years.
        """
        with self.nlp.memory_zone():
            return [
                tuple(
                    (e.start_char, e.end_char, e.label_)
                    for e in doc.ents
                    if e.label_ in ("PERSON", "ORG", "GPE", "LOC")
                )
                for doc in self.nlp.pipe(sentences, batch_size=128)
            ]

    def _confirm(self, calm: str) -> Callable[[str], bool]:
        """Whether a phrase of a headline in capitals is a name: the body has it so, or every word of it is a
        known name."""

        def confirm(phrase: str) -> bool:
            if calm and has_phrase(calm, phrase):
                return True
            words = phrase.lower().split()
            return (
                not calm
                and len(words) in (2, 3)
                and words[0] in self.first
                and not any(map(self.lexicon.is_common, words[1:]))
            )

        return confirm


def make_reader(nlp: Language, catalogue: Catalogue, relations: Mapping[str, Relation]) -> Reader:
    """Index the catalogue and compile the patterns (a fraction of a second): keep the reader for many
    articles."""
    lexicon = load_lexicon()
    book = make_book(relations, lexicon.lists["other_roles"])
    news = news_patterns(relations)
    words = {word for pattern in news for word in _needed_words(pattern.regex.pattern)}
    trigger = re.compile(rf"(?i)\b(?:{'|'.join(sorted(words - lexicon.function))})\b" if words else r"(?!)")
    known = {key: fact.objects for key, fact in catalogue.facts.items()}
    first = frozenset(name.lower() for name in lexicon.first)
    return Reader(
        nlp, build_linker(catalogue, lexicon), book, lexicon, role_patterns(), news, trigger, known, first
    )


def _needed_words(pattern: str) -> list[str]:
    """Words of which a sentence must have one for the pattern to fit; not what a company may be called, which is in many."""
    certain = pattern.replace(COMPANY_WORDS, " ")
    return _LITERAL.findall(_OPTIONAL.sub(" ", _LOOKAHEAD.sub(" ", _OPTIONAL.sub(" ", certain))))


def read(
    article: Article, nlp: Language, catalogue: Catalogue, relations: Mapping[str, Relation]
) -> list[Claim]:
    """`make_reader(...).read(article)` for a single article; for many, make the reader once."""
    return make_reader(nlp, catalogue, relations).read(article)


def _all_capital(sentence: str) -> bool:
    """Whether nearly every longer word has a capital, as in American headlines."""
    words = re.findall(r"[^\W\d_][\w'-]{3,}", sentence)[1:]
    return len(words) >= 3 and sum(w[0].isupper() for w in words) >= 0.7 * len(words)


def _claims(finds: Iterable[Find], article: Article) -> list[Claim]:
    """Finds of one article without repetition. What an article says has ended or may be, it does not also say
    holds; a short name of a subject gives way to the longer one that the article uses for the same office and
    person."""
    best: dict[tuple[str, str, str, str], Find] = {}
    for find in finds:
        key = (find.subject, find.relation, find.object, find.kind)
        if key not in best or find.score > best[key].score:
            best[key] = find
    kept = [f for f in best.values() if not _contradicted(f, best.values())]
    return [_claim(f, article) for f in kept]


def _contradicted(find: Find, others: Iterable[Find]) -> bool:
    for other in others:
        same = other.relation == find.relation and other.object == find.object and other is not find
        if (
            same
            and other.subject == find.subject
            and find.kind in ("state", "change")
            and other.kind in _NOT_NOW
        ):
            return True
        longer = other.subject != find.subject and other.subject.startswith(find.subject + " ")
        if same and other.kind == find.kind and longer and not find.linked:
            return True
    return False


def claim_id(article_id: str, subject: str, relation: str, object_: str, kind: str) -> str:
    """The id of a claim: what one article says once is one claim, whoever read it there."""
    words = "\x1f".join((article_id, subject, relation, object_, kind))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _claim(find: Find, article: Article) -> Claim:
    as_of = (find.dated and past_date(find.line, article.published_at)) or article.published_at
    return Claim(
        claim_id(article.id, find.subject, find.relation, find.object, find.kind),
        find.subject,
        find.relation,
        find.object,
        find.kind,
        article.id,
        find.sentence,
        as_of,
        round(find.score, 2),
    )
