"""Words without the secrets that URLs carry: logins, and the values of parameters that are keys by their name."""

from __future__ import annotations

import re

_LOGIN = re.compile(r"(?<=://)[^/\s?#\"'<>]*@")
_KEY = re.compile(
    r"(?i)([?&;](?:[\w.-]*[_.-])?(?:token|key|apikey|secret|password|passwd|pwd|pass|sig|signature|auth"
    r"|credentials?)=)[^&#;\s\"'<>]+"
)
MASK = "***"


def masked(text: str) -> str:
    """`https://me:secret@paper.example/f?token=abc` -> `https://***@paper.example/f?token=***`; idempotent."""
    if "://" not in text and "=" not in text:
        return text
    return _KEY.sub(rf"\g<1>{MASK}", _LOGIN.sub(f"{MASK}@", text))
