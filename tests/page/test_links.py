"""Which addresses from feeds may become links."""

from __future__ import annotations

import pytest

from agent.page.links import safe_link

FINE = [
    "https://a.example/1", "http://a.example:8080/x?y=z#w", "https://a.example/%E2%80%AE", "https://xn--bcher-kva.example/é",
    "HTTPS://A.EXAMPLE/", "http://[::1]/",
]  # fmt: skip
NOT = [
    "", "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", " javascript:alert(1)", "data:text/html,x",
    "vbscript:x", "file:///etc/passwd", "//evil.example", "/local", "https:/a.example", "https://", "https:///x", "http://[::1",
    "https://bank.example@evil.example/", "https://a.example/\u202egpj", "https://a.example/ x", "https://a.example/\x00",
    "https://a.example\\@evil.example", 'https://a.example/"onclick=x', "https://b\u0430nk.example/", "https://a.example:x/",
    "view-source:https://a.example", "blob:https://a.example/x", "\x1b]8;;https://a.example", "https://a.example/\u200b",
]  # fmt: skip


@pytest.mark.parametrize("url", FINE)
def test_addresses_of_the_web_are_links(url: str) -> None:
    assert safe_link(url) == url


@pytest.mark.parametrize("url", NOT)
def test_nothing_else_is(url: str) -> None:
    assert safe_link(url) == ""
