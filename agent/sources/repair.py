"""An XML document that is not well-formed, made so: only tags and text are left, every tag is closed, and every
`&` and `<` that starts nothing is text. Comments, instructions and declarations go; CDATA becomes escaped text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.entities import html5
from xml.sax.saxutils import escape

from agent.errors import TooLarge
from agent.sources.items import MAX_ITEMS
from agent.sources.markup import (
    DOCTYPE,
    END_OF_DOCTYPE,
    ITEMS,
    MAX_DEPTH,
    MAX_NAMESPACES,
    MAX_TAGS,
    check_token,
    refuse,
)

MAX_TOKENS = 400_000  # tags, comments, CDATA and stray < of a document
_TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<!\[CDATA\[(?P<cdata>.*?)(?:\]\]>|\Z)"
    r"|<[?!][^<>]*+>?"
    r"""|<(?P<close>/?)(?P<name>[A-Za-z_][\w.-]*+(?::[A-Za-z_][\w.-]*+)?+)(?P<rest>[^<>"']*+(?:(?:"[^"<]*+"|'[^'<]*+')[^<>"']*+)*+)>"""
    r"|<(?P<shut>/?)(?P<odd>[A-Za-z_][\w.-]*+(?::[A-Za-z_][\w.-]*+)?+)(?P<mess>[^<>]*+)>"
    r"|<",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(
    r"""([A-Za-z_][\w.-]*+(?::[A-Za-z_][\w.-]*+)?+)\s*+(?:=\s*+("[^"]*+"|'[^']*+'|[^\s"'<>]++))?"""
)
_AMPERSAND = re.compile(
    r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[\da-fA-F]{1,6});)(?:([A-Za-z][A-Za-z\d]{1,31});)?"
)
_VOID = frozenset(["br", "hr", "img", "input", "wbr", "area", "col", "embed", "param", "track", "meta"])
_ROOTS = frozenset(("rss", "feed", "rdf", "channel"))


@dataclass(frozen=True, slots=True)
class Repaired:
    """`text` is well-formed but for odd names. `closed` tells whether the document's root was. `cut` tells that it
    broke off inside an item, which was left out: half a sentence may say the opposite of the whole."""

    text: str
    closed: bool
    cut: bool


@dataclass(slots=True)
class _Builder:
    """The repaired document as it grows. `open_` are the tags still open, with the number of each in `times`."""

    declared: frozenset[str]
    out: list[str] = field(default_factory=list)
    open_: list[str] = field(default_factory=list)
    times: dict[str, int] = field(default_factory=dict)
    prefixes: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    item: str = ""
    whole: int = 0
    items: int = 0
    tags: int = 0

    def text(self, text: str) -> None:
        self.out.append(self.plain(text).replace(">", "&gt;") if "&" in text or ">" in text else text)

    def plain(self, text: str) -> str:
        return _AMPERSAND.sub(self._ampersand, text) if "&" in text else text

    def _ampersand(self, match: re.Match[str]) -> str:
        if match[1] in self.declared:
            return match[0]
        known = html5.get(f"{match[1]};") if match[1] else None
        return escape(known) if known else f"&amp;{match[0][1:]}"

    def start(self, name: str, attributes: str, *, empty: bool) -> None:
        low = name.lower()
        if low.rpartition(":")[2] in ITEMS:
            self.items += 1
            self.item = self.item or low
        if low == self.item:
            self.end(name)  # an item does not stand in an item: the one before was not closed
            self.whole = len(self.out)
        self.tags += 1
        if len(self.open_) > MAX_DEPTH or self.tags > MAX_TAGS:
            refuse(len(self.open_), self.tags)
        check_token(0, len(name))
        if ":" in name:
            self.prefixes.add(name.partition(":")[0])
        self.out.append(f"<{name}{attributes}{'/' if empty else ''}>")
        if not empty:
            self.open_.append(name)
            self.times[low] = self.times.get(low, 0) + 1

    def end(self, name: str) -> None:
        """Close `name` and what is open inside it; nothing where it is not open."""
        low = name.lower()
        while self.times.get(low):
            last = self.open_.pop()
            self.out.append(f"</{last}>")
            self.times[last.lower()] -= 1
            if last.lower() == low:
                break
        if low == self.item:
            self.whole = len(self.out)

    def attributes(self, source: str) -> str:
        """`source` as ` name="value"`, each name once."""
        if not source or source.isspace():
            return ""
        found: dict[str, str] = {}
        for name, value in _ATTRIBUTE.findall(source):
            value = value[1:-1] if value[:1] in ('"', "'") else value
            if name.startswith("xmlns"):
                value = value.replace(" ", "")  # expat takes no blank in them
            found.setdefault(name, self.plain(value).replace("<", "&lt;").replace('"', "&quot;"))
        check_token(len(found), len(source))
        for name in found:
            prefix, _, local = name.partition(":")
            if prefix == "xmlns":
                self.bound.add(local)
            elif local:
                self.prefixes.add(prefix)
        if len(self.bound) > MAX_NAMESPACES:
            raise TooLarge(f"the XML names more than {MAX_NAMESPACES} namespaces; no feed needs them")
        return "".join(
            f' {name}="{value}"' for name, value in found.items() if value or not name.startswith("xmlns")
        )


def repair(text: str) -> Repaired:
    """`text`, what `tame` gave, with tags balanced, quoted attributes, and comments, instructions and CDATA resolved.

    Raises TooLarge as `check` does.
    """
    doctype, end, text = text.partition(END_OF_DOCTYPE) if text.startswith(DOCTYPE) else ("", "", text)
    builder = _Builder(frozenset(re.findall(r"<!ENTITY (\w+) ", doctype)))
    at, closed = 0, False
    for number, token in enumerate(_TOKEN.finditer(text)):
        if number > MAX_TOKENS:
            raise TooLarge(f"the XML is broken, and has more than {MAX_TOKENS} tags and signs <")
        if token.start() > at:
            builder.text(text[at : token.start()])
        at = token.end()
        if builder.items > MAX_ITEMS:
            closed = True
            break
        closed = _take(token, builder) or (closed and not (token["name"] or token["odd"]))
        if closed and not builder.open_:
            break
    else:
        builder.text(text[at:])
    cut = not closed and bool(builder.times.get(builder.item))
    if cut:
        del builder.out[builder.whole :]
        builder.open_ = _still_open(builder.out)
    while builder.open_:
        builder.out.append(f"</{builder.open_.pop()}>")
    unbound = sorted(builder.prefixes - builder.bound - {"xml", "xmlns"})[:MAX_NAMESPACES]
    if unbound and builder.out:
        name = re.match(r"<[^\s/>]+", builder.out[0])
        bind = "".join(f' xmlns:{prefix}="urn:undeclared:{prefix}"' for prefix in unbound)
        if name:
            builder.out[0] = name[0] + bind + builder.out[0][name.end() :]
    return Repaired(doctype + end + "".join(builder.out), closed, cut)


def _take(token: re.Match[str], builder: _Builder) -> bool:
    """Add one token; whether it closes a root."""
    name, rest, close = (
        token["name"] or token["odd"],
        token["rest"] or token["mess"] or "",
        token["close"] or token["shut"],
    )
    if token["cdata"] is not None:
        builder.out.append(escape(token["cdata"]))
    elif not name:
        if token[0] == "<":
            builder.out.append("&lt;")
    elif close:
        builder.end(name)
        return name.lower().rpartition(":")[2] in _ROOTS
    else:
        empty = rest.rstrip().endswith("/") or name.lower() in _VOID
        builder.start(name, builder.attributes(rest), empty=empty)
    return False


def _still_open(out: list[str]) -> list[str]:
    """The tags that are open after `out`, which is balanced but for them."""
    stack: list[str] = []
    for piece in out:
        if piece.startswith("</"):
            stack.pop()
        elif piece.startswith("<") and not piece.endswith("/>"):
            stack.append(re.split(r"[\s>]", piece[1:], maxsplit=1)[0])
    return stack
