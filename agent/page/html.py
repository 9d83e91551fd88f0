"""The page as one string of HTML: escaping, what a browser is allowed, and the template.

Answers, names and reasons were written by models and by whoever feeds them. Jinja escapes all of it; `shown` also makes visible
what would deceive the eye (bidirectional controls, zero-width and blank letters), keeps each text's direction to itself and cuts
what is too long to read. The policy allows our own style and script by their hashes, and nothing else: no address is ever asked.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agent.page.charts import drawings
from agent.page.facts import GUARDS, REPORTED
from agent.page.metrics import GROUPS, spoken
from agent.page.view import View, moment

_FOLDER = Path(__file__).parent
# Control, format (bidi, zero-width, tags), surrogates (no UTF-8), private use, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Letters and signs that look like nothing.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_MARKS = frozenset({"Mn", "Me"})
_MOST_MARKS = 4
_LENGTH = 160
NOTHING = Markup('<span class="nothing">(nothing)</span>')


def html(view: View) -> str:
    """The whole page. The same view gives the same text."""
    css, js = _files()
    template = _environment().get_template("report.html")
    return template.render(
        view=view,
        draw=drawings(view, plain),
        groups=GROUPS,
        css=Markup(css),
        js=Markup(js),
        policy=policy(css, js),
    )


def allowed() -> str:
    """The policy of the page that `html` makes, for whoever sends it as a header too."""
    return policy(*_files())


def policy(css: str, js: str) -> str:
    """What a browser may load for the page: our style and our script, known by their SHA-256."""
    allowed = {"style-src": css, "script-src": js}
    hashes = [f"{name} '{_hash(text)}'" for name, text in allowed.items()]
    return "; ".join(("default-src 'none'", *hashes, "base-uri 'none'", "form-action 'none'"))


def shown(text: object, length: int = _LENGTH) -> Markup:
    """`text` as one line that can deceive nobody, `(nothing)` for an empty one. A cut text says how long it is."""
    line = " ".join(str(text).split())
    if not line:
        return NOTHING
    cut = Markup("")
    if len(line) > length:
        cut = Markup('<span class="cut">… {} characters</span>').format(f"{len(line):,}")
    kept = line[:length]
    return Markup("<bdi>{}</bdi>{}").format(_safe(kept), cut)


def highlighted(text: object, words: str, length: int = _LENGTH) -> Markup:
    """The same with the first occurrence of `words` marked."""
    line = " ".join(str(text).split())
    found = re.search(re.escape(" ".join(words.split())), line, re.IGNORECASE) if words.strip() else None
    if found is None or found.end() > length or len(line) > length:
        return shown(text, length)
    before, middle, after = (_safe(part) for part in (line[: found.start()], found[0], line[found.end() :]))
    return Markup("<bdi>{}<mark>{}</mark>{}</bdi>").format(before, middle, after)


def plain(text: object, length: int = _LENGTH) -> str:
    """The same for attributes and titles of charts, where there is no markup."""
    line = " ".join(str(text).split())
    marked = "".join(_name(c) if _hidden(c) else c for c in line[:length])
    return marked + ("…" if len(line) > length else "")


def percent(share: float | None) -> str:
    """`97.3%`; 100 % and 0 % only where nothing is missing or there."""
    if share is None:
        return "–"
    tenths = round(share * 1000)
    if tenths == 1000 and share < 1:
        return "99.9%"
    if tenths == 0 and share > 0:
        return "< 0.1%"
    return f"{share:.1%}"


def when(at: datetime | str) -> str:
    """`2026-03-01 12:00 UTC`"""
    text = at if isinstance(at, str) else moment(at)
    return f"{text[:10]} {text[11:16]} UTC"


def figure(value: float | None) -> str:
    """A number that is no share, to four digits."""
    return "–" if value is None else f"{value:.4g}"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"guards": GUARDS, "reported": REPORTED}
    made.filters |= {
        "shown": shown,
        "plain": plain,
        "percent": percent,
        "figure": figure,
        "spoken": spoken,
        "when": when,
    }
    return made


def _files() -> tuple[str, str]:
    css, js = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return css, js


def _safe(line: str) -> Markup:
    # Most answers are plain; looking at each of their characters would take most of the time that a page takes.
    return Markup.escape(line) if line.isascii() and line.isprintable() else Markup("").join(_visible(line))


def _visible(line: str) -> Iterator[Markup]:
    """Invisible characters by their code point, long runs of combining marks (they would climb over other lines) shortened."""
    marks = 0
    for c in line:
        marks = marks + 1 if unicodedata.category(c) in _MARKS else 0
        if _hidden(c):
            yield Markup('<span class="code">{}</span>').format(_name(c))
        elif marks <= _MOST_MARKS:
            yield Markup.escape(c)
        elif marks == _MOST_MARKS + 1:
            yield Markup('<span class="code">+marks</span>')


def _hidden(c: str) -> bool:
    return unicodedata.category(c) in _INVISIBLE or c in _BLANK or _no_character(ord(c))


def _no_character(code: int) -> bool:
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF


def _name(c: str) -> str:
    return f"U+{ord(c):04X}"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
