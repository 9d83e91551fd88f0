"""Lists of feeds as every reader writes them: OPML 1 and 2 in, OPML 2 out.

An OPML file is somebody else's XML. Expat reads it with every entity declaration refused, so that nothing
expands; nesting costs it no stack. What exporters get wrong most is mended first: a bare `&` in a url, and
HTML's names of characters, which XML does not know.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html.entities import html5
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from agent.errors import SourceError, TooLarge
from agent.sources.decode import decode
from agent.sources.naming import name_for, same_source, settled
from agent.sources.text import clean_line
from agent.types import SourceSpec

MAX_OUTLINES = 10_000
_AMPERSAND = re.compile(
    r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)([A-Za-z][A-Za-z0-9]{1,31};)?"
)


@dataclass(frozen=True, slots=True)
class Outline:
    """One subscription of a list: `title` may be empty, `url` is as it was written."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A subscription that is not taken over, and why."""

    title: str
    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What an import comes to: sources to add, and what was left out."""

    new: tuple[SourceSpec, ...]
    left_out: tuple[LeftOut, ...]


def parse_opml(body: bytes) -> tuple[Outline, ...]:
    """Every outline with a url, nested ones too, in the file's order.

    Raises:
        SourceError: no XML, broken XML (with line and column), no OPML, or entities of its own.
        TooLarge: more than MAX_OUTLINES outlines.
    """
    text = decode(body).lstrip("\ufeff \t\r\n")
    if not text:
        raise SourceError("the file is empty: an OPML list was expected")
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = reader.start
    parser.EntityDeclHandler = _no_entities
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(_AMPERSAND.sub(_mended, text).encode("utf-8", "replace"), True)
    except expat.ExpatError as problem:
        what = expat.ErrorString(problem.code) or "unreadable"
        raise SourceError(
            f"the XML is broken in line {problem.lineno}, column {problem.offset + 1} ({what});"
            " export the list again, or mend that line"
        ) from problem
    if reader.root != "opml":
        raise SourceError(f"this is XML but no OPML: its root is <{reader.root[:60]}>")
    return tuple(reader.found)


def choose(outlines: Iterable[Outline], known: Sequence[SourceSpec]) -> Chosen:
    """The outlines as sources with names of their own, less those that are known, come twice, or cannot be
    read. Pure.
    """
    new: list[SourceSpec] = []
    left_out: list[LeftOut] = []
    for outline in outlines:
        try:
            url = settled(outline.url)
            if not url.lower().startswith(("http://", "https://")):
                raise SourceError("it is neither http nor https")
        except SourceError as problem:
            left_out.append(LeftOut(outline.title, outline.url, str(problem)))
            continue
        twin = same_source(url, (*known, *new))
        if twin is not None:
            where = "in the settings" if twin in known else "in this list"
            left_out.append(LeftOut(outline.title, url, f"it is {where} already, as {twin.name}"))
            continue
        name = name_for(url, {spec.name for spec in (*known, *new)}, outline.title)
        new.append(SourceSpec(name, url))
    return Chosen(tuple(new), tuple(left_out))


def to_opml(specs: Iterable[SourceSpec], title: str = "factd") -> str:
    """The sources on the web as OPML 2; `factd feeds import` and every reader take it back."""
    rows = (
        f'    <outline type="rss" text={quoteattr(spec.name)} title={quoteattr(spec.name)}'
        f" xmlUrl={quoteattr(spec.url)}/>\n"
        for spec in specs
        if on_the_web(spec)
    )
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<opml version="2.0">\n  <head><title>{html.escape(title)}</title></head>\n'
    text = f"{head}  <body>\n{''.join(rows)}  </body>\n</opml>\n"
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")  # whatever the terminal's encoding


def on_the_web(spec: SourceSpec) -> bool:
    return spec.url.lower().startswith(("http://", "https://"))


class _Reader:
    """Collects outlines; the names of attributes are read whatever their case."""

    def __init__(self) -> None:
        self.root = ""
        self.found: list[Outline] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2].lower()
        self.root = self.root or name
        if name != "outline":
            return
        given = {key.lower(): value.strip() for key, value in attributes.items()}
        kind = given.get("type", "").lower()
        # OPML 1 lists write `url`; in a link or an include that is a page or another list.
        url = given.get("xmlurl") or (given.get("url", "") if kind in ("rss", "atom") else "")
        if not url:
            return
        if len(self.found) == MAX_OUTLINES:
            raise TooLarge(f"the list has more than {MAX_OUTLINES} feeds; split it")
        self.found.append(Outline(clean_line(given.get("title") or given.get("text", "")), url))


def _no_entities(name: str, *_: object) -> None:
    raise SourceError(
        f"the file declares the entity {name[:60]!a}, which no list of feeds needs; it is not read"
    )


def _mended(found: re.Match[str]) -> str:
    named = html5.get(found[1] or "", "")
    return "".join(f"&#{ord(c)};" for c in named) or f"&amp;{found[1] or ''}"
