"""Bounds and repairs of an XML document, before a parser that is slow in places reads it.

`tame` takes away what no reader of news needs and feedparser is slow at. `check` runs expat over the result: it
says whether the document is well-formed, and refuses what would take feedparser long. A document that is not
well-formed is rewritten first (`repair.py`). So what was counted is what will be parsed: a scan of one's own
can be told that a comment has begun where the parser sees none (in an instruction, an entity's value, an
attribute), and a million nested tags hid there.
"""

from __future__ import annotations

import re
from typing import NoReturn
from xml.parsers import expat

from agent.errors import TooLarge
from agent.sources.items import MAX_ITEMS

MAX_DEPTH = 1000
MAX_TAGS = 100_000  # elements; 3 s of parsing
MAX_ENTITIES = 1_000_000
MAX_ATTRIBUTES = 500  # of one tag; quadratic
MAX_NAMESPACES = 100  # every tag of an unknown one is compared with all
MAX_PROLOGUE = 16_384
MAX_TOKEN = 1_000_000  # characters of one tag, comment or instruction; expat starts over with every 64 kB
# feedparser looks for both at the beginning of a line.
DOCTYPE = "\n<!DOCTYPE feed [\n"
END_OF_DOCTYPE = "]>\n"
_HEAD = '<?xml version="1.0" encoding="utf-8"?>'
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|[\ud800-\udfff]")
_BLANKS = re.compile(r"\s{2,}")
# Elements that we do not read and feedparser is quadratic in: it looks for e-mail addresses in people's names and
# compares each category with all before. Under another name they are nothing to it.
_UNREAD = re.compile(
    r"(</?(?:[\w.-]+:)?)(?=(?:author|creator|publisher|owner|contributor|managingeditor|webmaster|category|subject"
    r"|keywords|tags)\b)",
    re.IGNORECASE,
)
# References to no character: controls, halves of surrogate pairs, and what is too large. Runs of them, for two
# halves are one character, as some programs write an emoji.
_REFERENCE = (
    r"&#(?:[xX]0*+(?:[01]?[\da-fA-F]|[dD][89a-fA-F][\da-fA-F]{2}|[fF]{3}[eEfF]|[\da-fA-F]{6,}+|)"
    r"|0*+(?:[12]?\d|3[01]|5529[6-9]|55[3-9]\d\d|56\d{3}|57[0-2]\d\d|573[0-3]\d|5734[0-3]|6553[45]|\d{7,}+|));"
)
_REFERENCES = re.compile(rf"{_REFERENCE}(?:{_REFERENCE})*+")
_NUMBER = re.compile(r"&#([xX]?)([\da-fA-F]+);")
_ENTITY = re.compile(
    r"""<!ENTITY\s+([A-Za-z]\w{0,40})\s+(?:"([^"<>&%\x00-\x1f]{0,200})"|'([^'"<>&%\x00-\x1f]{0,200})')\s*>"""
)
_DECLARATION = re.compile(
    r"""<!(?:[^<>"'\[]++|"[^"]*+"|'[^']*+')*+(?:\[(?:[^<"'\]]++|"[^"]*+"|'[^']*+'|<!--.*?-->"""
    r"""|<[!?](?:[^<>"']++|"[^"]*+"|'[^']*+')*+>)*+\]\s*+)?>""",
    re.DOTALL,
)
_SPACE = re.compile(r"\s*+")
_ROOT = re.compile(r"<[A-Za-z_][^\s<>/]{0,200}")
MANY = "more items than are read"  # feedparser takes the square of their number
ITEMS = frozenset(("item", "entry"))


def find_root(text: str) -> re.Match[str] | None:
    """The beginning of the root's tag, None where there is none. The comments before it may hold tags.

    Raises TooLarge for more than MAX_PROLOGUE characters of comments and declarations before it.
    """
    at = length = 0
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if text.startswith("<!--", at):
            end = text.find("-->", at + 4) + 3
        elif text.startswith("<?", at):
            end = text.find(">", at) + 1
        elif text.startswith("<!", at):
            declaration = _DECLARATION.match(text, at, at + MAX_PROLOGUE)
            end = declaration.end() if declaration else text.find(">", at) + 1
        else:
            return _ROOT.search(text, at)
        if end <= at:
            return None
        length += end - at
        if length > MAX_PROLOGUE:
            raise TooLarge(f"more than {MAX_PROLOGUE} characters stand before the root element")
        at = end


def tame(text: str, root_at: int) -> str:
    """`text` with the root's prologue reduced to harmless entities, without forbidden characters and people's names.

    Raises TooLarge for more than MAX_PROLOGUE characters before the root (runs of blanks count as one) or more
    than MAX_ENTITIES entities.
    """
    prologue = _BLANKS.sub("\n", text[:root_at])
    if len(prologue) > MAX_PROLOGUE:
        raise TooLarge(f"more than {MAX_PROLOGUE} characters stand before the root element")
    if text.count("&") > MAX_ENTITIES:
        raise TooLarge(
            f"the XML has more than {MAX_ENTITIES} entities; split the feed or ask for fewer items"
        )
    text = _UNREAD.sub(r"\1x-", _NOT_XML.sub("", text[root_at:]))
    if "&#" in text:
        text = _REFERENCES.sub(_characters, text)
    declared = "".join(
        f'<!ENTITY {m[1]} "{m[2] or m[3] or ""}">\n' for m in list(_ENTITY.finditer(prologue))[:100]
    )
    return f"{DOCTYPE}{declared}{END_OF_DOCTYPE}{text}" if declared else text


def _characters(match: re.Match[str]) -> str:
    found = (
        chr(code)
        for base, digits in _NUMBER.findall(match[0])
        if len(digits) < 10 and (code := int(digits, 16 if base else 10)) <= 0x10FFFF
    )
    pairs = "".join(found).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return _NOT_XML.sub("", pairs)


def to_bytes(text: str) -> bytes:
    """The document as UTF-8 with a declaration that says so."""
    return (_HEAD + text).encode("utf-8", "replace")


class _ManyItems(Exception):
    pass


def check(document: bytes) -> str:
    """What is wrong with `document`: nothing (empty), MANY where it has more items than are read, or expat's words.

    Raises TooLarge for more depth, tags, attributes, namespaces or longer tags than a feed needs; of an ill-formed
    document only what stands before the error is looked at.
    """
    depth = tags = items = 0
    prefixes: set[str | None] = set()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, tags, items
        depth += 1
        tags += 1
        if depth > MAX_DEPTH or tags > MAX_TAGS:
            refuse(depth, tags)
        if len(name) > MAX_TOKEN:
            check_token(0, len(name))
        if attributes:
            check_token(len(attributes), sum(map(len, attributes.values())))
        if name.rpartition(" ")[2].lower() in ITEMS:
            items += 1
            if items > MAX_ITEMS + 1:
                raise _ManyItems

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def namespace(prefix: str | None, uri: str) -> None:
        prefixes.add(prefix)
        if len(prefixes) > MAX_NAMESPACES:
            raise TooLarge(f"the XML names more than {MAX_NAMESPACES} namespaces; no feed needs them")

    def token(*parts: str) -> None:
        check_token(0, sum(map(len, parts)))

    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartNamespaceDeclHandler = namespace
    parser.CommentHandler = token
    parser.ProcessingInstructionHandler = token
    try:
        parser.Parse(document, True)
    except _ManyItems:
        return MANY
    except expat.ExpatError as problem:
        return str(problem)
    return ""


def refuse(depth: int, tags: int) -> NoReturn:
    if depth > MAX_DEPTH:
        raise TooLarge(f"the XML is nested more than {MAX_DEPTH} deep; no feed is")
    raise TooLarge(f"the XML has more than {MAX_TAGS} tags ({tags}); split the feed or ask for fewer items")


def check_token(number: int, length: int) -> None:
    if number > MAX_ATTRIBUTES:
        raise TooLarge(f"a tag has more than {MAX_ATTRIBUTES} attributes; no feed needs them")
    if length > MAX_TOKEN:
        raise TooLarge(f"a tag or comment is longer than {MAX_TOKEN} characters; no feed needs that")
