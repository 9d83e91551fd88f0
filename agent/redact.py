"""What must not be seen in a log: passwords and tokens in urls, keys from the environment. Pure, apart from what it is given.

Secrets that the settings hold or point to are known, and go wherever they stand, also as they look inside a url. Whatever else has the
form of one goes as well: a feed that moved may have a token in its new url.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from agent.settings import Settings

HIDDEN = "***"
# Control, format (bidi, zero-width, tags), surrogates, private use, line and paragraph separators.
_OUT = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# A shorter one is found by its place in a url only: hiding every "ab" would hide the log.
_SHORTEST = 4
_NAME = r"[\w.%-]*(?:token|key|secret|passw|pwd|auth|signature|\bsig\b|session|credential)[\w.%-]*"
_FORMS = (
    (re.compile(r"(?i)//[^/\s?#'\"<>]*@"), f"//{HIDDEN}@"),
    (re.compile(rf"(?i)([?&;#]{_NAME}=)[^&;\s#'\"<>]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b((?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?)(?:\w+\s+)?[^\s'\",;]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer\s+)[^\s'\",;]+"), rf"\1{HIDDEN}"),
    (
        re.compile(r"(?i)\b((?:x-)?(?:api|access|secret|auth)[-_ ]?(?:key|token)['\"]?\s*[:=]\s*['\"]?)[^\s'\",;&]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b((?:(?:password|passwd|pwd|secret)['\"]?\s*[:=]\s*|token=)['\"]?)[^\s'\",;&]+"), rf"\1{HIDDEN}"),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{12,}"), HIDDEN),
)  # fmt: skip
_SECRET_NAME = re.compile(rf"(?i)^{_NAME}$")


@dataclass(frozen=True, slots=True)
class Redactor:
    """`known`: secrets as they stand somewhere, the longest first."""

    known: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, secrets: Iterable[str]) -> Redactor:
        forms = {form for s in secrets for form in (s, unquote(s), quote(s, safe=""), quote_plus(s))}
        return cls(tuple(sorted((f for f in forms if len(f) >= _SHORTEST), key=lambda f: (-len(f), f))))

    def __call__(self, text: str) -> str:
        """`text` without secrets."""
        for secret in self.known:
            text = text.replace(secret, HIDDEN)
        for form, instead in _FORMS:
            text = form.sub(instead, text)
        return text


def plain(text: str) -> str:
    """`text` as one line without control and format characters: they could split a secret, or deceive the eye."""
    spaced = (" " if c.isspace() else c for c in text)
    return "".join(c for c in spaced if unicodedata.category(c) not in _OUT)


def redactor_for(settings: Settings, environ: Mapping[str, str]) -> Redactor:
    """One that knows what is secret in these settings, and in the variables that they name."""
    secrets = [s for source in settings.sources for s in _in_url(source.url)]
    for name in (settings.extractor.key_variable, settings.serve.key_variable):
        secrets += [environ[name].strip()] if environ.get(name, "").strip() else []
    return Redactor.of(secrets)


def _in_url(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    login = parts.netloc.rpartition("@")[0]
    name, _, password = login.partition(":")
    found = [login, password or name] if login else []
    return found + [value for key, value in parse_qsl(parts.query) if _SECRET_NAME.match(key)]
