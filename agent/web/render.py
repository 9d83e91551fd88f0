"""The desk's pages as HTML. Every word is escaped, and made visible where it would deceive (`agent.page.html.shown`)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agent.page.html import figure, highlighted, percent, plain, shown, when
from agent.page.links import safe_link
from agent.page.metrics import spoken
from agent.page.view import readable

_FOLDER = Path(__file__).parent
STATIC = {"desk.css": "text/css; charset=utf-8", "desk.js": "text/javascript; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Renderer:
    """Templates and files, read once."""

    environment: Environment
    files: Mapping[str, bytes]

    @classmethod
    def load(cls) -> Renderer:
        files = {name: (_FOLDER / name).read_bytes() for name in STATIC}
        made = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.globals |= {"asset": {name: f"/{name}?v={_hash(content)}" for name, content in files.items()}}
        made.filters |= {
            "shown": shown, "plain": plain, "percent": percent, "figure": figure, "spoken": spoken, "when": when,
            "highlighted": highlighted, "safe_link": safe_link, "day": _day, "readable": readable, "query": _query, "part": _part,
        }  # fmt: skip
        return cls(made, files)

    def page(self, template: str, /, **values: object) -> str:
        return self.environment.get_template(template).render(**values)


def _day(at: datetime | None) -> Markup:
    if at is None:
        return Markup("")
    return Markup('<time datetime="{}">{}</time>').format(f"{at:%Y-%m-%d}", f"{at:%Y-%m-%d}")


def _query(values: Mapping[str, object], **more: object) -> str:
    """`?a=b&c=d` of what is not empty, for our own addresses."""
    found = {name: str(value) for name, value in {**values, **more}.items() if value not in ("", None, 1)}
    return f"?{urlencode(found)}" if found else "?"


def _part(text: str) -> str:
    """A name as a part of an address."""
    return quote(text.encode("utf-8", "replace"), safe="")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
