"""From a feed's markup to plain text, and from URLs to identities. Pure functions.

The markup is attacker-controlled and may be 15 MB, so every pattern here is linear. `html.parser` is not: on
Python 3.11.7 100 kB of `<a ` repeated held it for minutes. What a reader must never see goes too: control,
format and bidi characters (terminal escapes, Trojan Source, text smuggled in tag characters).
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from urllib.parse import urlsplit, urlunsplit

import idna
from publicsuffixlist import PublicSuffixList

# A tag cannot run past the next "<", so all attempts together read the text once; possessive, so none
# backtracks.
_TAG = re.compile(
    r"""<(/?)([a-zA-Z][^\s<>/"']*+)(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+>|<[a-zA-Z/!?][^<>]*+>""", re.DOTALL
)
_BLOCK = re.compile(
    r"address|article|aside|blockquote|br|caption|d[dlt]|div|fig(?:caption|ure)|footer|form|h[1-6r]|header|li|main"
    r"|nav|ol|p|pre|section|t(?:able|[dhr])|ul"
)
_HIDDEN = frozenset(("script", "style", "template", "noscript", "iframe", "svg", "object"))
# Of these an end that never comes hides nothing: the rest of a text would go with it.
_HIDDEN_ENDS = {
    name: re.compile(f"</{name}", re.IGNORECASE) for name in sorted(_HIDDEN - {"script", "style", "template"})
}
# int() refuses more than 4300 digits, and html.unescape would pass them on.
_HUGE_REF = re.compile(r"&#(?:[xX][0-9a-fA-F]{8,}|[0-9]{8,});?")
_STILL_ESCAPED = re.compile(
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos|nbsp|[a-z]{2,6}quo|[mn]dash|hellip);"
)
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n[ \n]*")
_WORD = re.compile(r"\w+(?:['’.,]\w+)*")
# Sorting accents is quadratic: 20,000 on one letter took 48 s. Unicode's stream-safe texts have 30 at most.
_PILE = re.compile(r"[^\w\s\x00-\x7f]{31,}")
_MAX_ACCENTS = 30
_DROPPED_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Cn", "Co"))

_TRACKING = re.compile(
    r"utm_.*|mc_[ce]id|(?:fb|g|gb|dcl|y|ms|tw|wbraid)clid|igshid|cmpid|cmp|ocid"
    r"|ns_(?:mchannel|source|campaign|linkname|fee)|at_(?:medium|campaign|custom\d|link.*|format|ptr_.*)|xtor|ftag|smid|partner|traffic_source|guccounter",
    re.IGNORECASE,
)


def visible(text: str) -> str:
    """NFC, line ends as \\n, no control, format (bidi, zero-width), surrogate, unassigned characters."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    text = unicodedata.normalize("NFC", _PILE.sub(_without_piles, text))
    # By distinct characters, of which a text has some sixty.
    changed = {ord(c): to for c in set(text) if (to := _shown(c)) != c}
    return text.translate(changed) if changed else text


def _shown(c: str) -> str:
    if c == "\n" or c == " ":
        return c
    if c.isspace():
        return " "
    return "" if unicodedata.category(c) in _DROPPED_CATEGORIES else c


def _without_piles(match: re.Match[str]) -> str:
    """No more than _MAX_ACCENTS accents in a row; signs and emoji stay."""
    kept: list[str] = []
    accents = 0
    for character in match[0]:
        accents = accents + 1 if unicodedata.combining(character) else 0
        if accents <= _MAX_ACCENTS:
            kept.append(character)
    return "".join(kept)


def clean_text(markup: str) -> str:
    """HTML or plain text -> plain text, one line per block. Idempotent only on text that holds no markup."""
    if not markup:
        return ""
    text = _untag(markup)
    if _STILL_ESCAPED.search(text):  # escaped twice, as many feeds do
        text = _untag(text)
    return _LINES.sub("\n", _SPACES.sub(" ", visible(text))).strip()


def clean_line(markup: str) -> str:
    """As `clean_text`, on one line: titles, names."""
    return clean_text(markup).replace("\n", " ")


def _untag(markup: str) -> str:
    if "<" not in markup and "&" not in markup:
        return markup
    text = _without_comments(markup.replace("<![CDATA[", "").replace("]]>", ""))
    out: list[str] = []
    at, hidden = 0, ""
    endless: set[str] = set()
    for tag in _TAG.finditer(text):
        if not hidden:
            out.append(text[at : tag.start()])
        at = tag.end()
        closing, name = tag[1], (tag[2] or "").lower()
        if hidden:
            hidden = "" if closing and name == hidden else hidden
        elif name in _HIDDEN and not closing and not tag[0].endswith("/>") and name not in endless:
            if name in _HIDDEN_ENDS and not _HIDDEN_ENDS[name].search(text, at):
                endless.add(name)
            else:
                hidden = name
        elif _BLOCK.fullmatch(name):
            out.append("\n")
    if not hidden:
        out.append(text[at:])
    return html.unescape(_HUGE_REF.sub("", "".join(out)))


def _without_comments(text: str) -> str:
    out: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0:
        out.append(text[at:start])
        end = text.find("-->", start + 4)
        if end < 0:
            return "".join(out)
        at = end + 3
    out.append(text[at:])
    return "".join(out)


def words(text: str) -> list[str]:
    """Casefolded words and numbers, without punctuation at their ends: what two copies of a story share."""
    return _WORD.findall(text.casefold())


def content_sha256(title: str, text: str) -> str:
    """Hex SHA-256 over the words of title and text: blind to case, spaces and punctuation."""
    return words_sha256(words(title), words(text))


def words_sha256(title: Sequence[str], text: Sequence[str]) -> str:
    """`content_sha256` of a title and a text that `words` has taken apart."""
    return hashlib.sha256(" ".join((*title, "\x1f", *text)).encode()).hexdigest()


def canonical_url(url: str) -> str:
    """`url` without fragment, default port, login, tracking parameters; "" unless it is http(s) with a host.

    The result still works as a link. Never raises: what cannot be read is no URL.
    """
    try:
        parts = urlsplit(visible(url).strip().replace("\n", ""))
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return ""
    scheme = parts.scheme.lower()
    if (
        scheme not in ("http", "https")
        or not 0 < len(host) < 254
        or any(c.isspace() or c in "\"'<>\\" for c in host)
    ):
        return ""
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != (443 if scheme == "https" else 80):
        netloc += f":{port}"
    query = "&".join(p for p in parts.query.split("&") if p and not _TRACKING.fullmatch(p.partition("=")[0]))
    return urlunsplit((scheme, netloc, parts.path or "/", query, "")).replace(" ", "%20")


def url_key(url: str) -> str:
    """What two links to one page share: no scheme, `www.`, final slash or order of parameters."""
    return canonical_key(canonical_url(url))


def canonical_key(canonical: str) -> str:
    """`url_key` of what `canonical_url` gave."""
    page, _, query = canonical.partition("?")
    key = page.partition("://")[2].removeprefix("www.").rstrip("/")
    return f"{key}?{'&'.join(sorted(query.split('&')))}" if query else key


def registered_domain(url: str) -> str:
    """The registrable domain (`https://feeds.bbc.co.uk/x` -> `bbc.co.uk`), an IP as it is, "" for no URL.

    By the Public Suffix List, as it came with the package: nothing is fetched. Only its public section counts:
    in the private one blog platforms and hosters list themselves (github.io), whose subdomains are free for
    the taking, and this name is what corroboration counts. International names are given in their ASCII form,
    so that both spellings are one and lookalikes look different.
    """
    return canonical_domain(canonical_url(url))


def canonical_domain(canonical: str) -> str:
    """`registered_domain` of what `canonical_url` gave."""
    host = (urlsplit(canonical).hostname or "") if canonical else ""
    if ":" in host or host.rpartition(".")[2].isdigit():
        return host
    host = _ascii(host)
    return _suffixes().privatesuffix(host) or host


@cache
def _suffixes() -> PublicSuffixList:
    """The list as it came with the package, read once: a fifth of a second, and it never changes."""
    return PublicSuffixList(only_icann=True)


def _ascii(host: str) -> str:
    """`host` as the name servers know it; as it is where that is no name at all."""
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return host
