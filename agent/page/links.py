"""Addresses from feeds: which of them may become something that a person clicks on."""

from __future__ import annotations

from urllib.parse import urlsplit

_NEVER = frozenset("\\\"'<>`{}|^")


def safe_link(url: str) -> str:
    """`url` if it is a plain address of the web, "" for anything else.

    Only http and https, with a host in ASCII, and without a name before an @ (`https://bank.example@evil.example` is another
    site than it seems), spaces, control or format characters.
    """
    if not url.isprintable() or " " in url or _NEVER & set(url):
        return ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host or not host.isascii() or "@" in parts.netloc:
        return ""
    return url
