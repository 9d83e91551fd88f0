"""The log: one line an event, no secret, nothing that a terminal would obey."""

from __future__ import annotations

import io
import json
import logging
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli.logs import Form, Lines, logging_to
from agent.config import Settings
from agent.redact import HIDDEN, Redactor, redactor_for
from agent.settings import ExtractorSettings, ServeSettings
from agent.types import SourceSpec

SECRETS = {
    "s3cr3t-pw": SourceSpec("a", "https://eva:s3cr3t-pw@feeds.example/x"),
    "tok%2Fen99": SourceSpec("b", "https://feeds.example/x?lang=en&api_key=tok%2Fen99"),
    "lonelytoken": SourceSpec("c", "https://lonelytoken@feeds.example/x"),
    "pass/word9": SourceSpec("d", "https://u:pass%2Fword9@feeds.example/x"),
}
ENVIRON = {"EXTRACT_KEY": "extractor-key-1", "SERVE_KEY": " serve-key-2 "}
SETTINGS = Settings(
    sources=tuple(SECRETS.values()),
    extractor=ExtractorSettings(key_variable="EXTRACT_KEY"),
    serve=ServeSettings(key_variable="SERVE_KEY"),
)
REDACT = redactor_for(SETTINGS, ENVIRON)
KNOWN = (*SECRETS, "tok/en99", "extractor-key-1", "serve-key-2")


def lines(form: Form, redact: Redactor | None = None) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(form, redact or REDACT))
    logger = logging.Logger("agent.test")
    logger.addHandler(handler)
    return logger, stream


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("secret", KNOWN)
def test_what_the_settings_keep_secret_is_in_no_line(form: Form, secret: str) -> None:
    logger, stream = lines(form)
    try:
        raise OSError(f"cannot reach {secret}")
    except OSError:
        logger.exception(
            "source a: %s",
            f"refused {secret}!",
            extra={"event": secret, "fields": {"url": secret, secret: 1}},
        )
    split = secret[:2] + "\u200b\x1b[0m"[:1] + secret[2:]
    logger.warning("hidden from the eye: %s", split)
    assert secret not in stream.getvalue() and HIDDEN in stream.getvalue()
    assert json.dumps(secret)[1:-1] not in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("moved to https://u:hunter2@b.example/f", "moved to https://***@b.example/f"),
        ("GET https://b.example/f?a=1&token=hunter2&b=2", "GET https://b.example/f?a=1&token=***&b=2"),
        ("https://b.example/f?access_token=hunter2", "https://b.example/f?access_token=***"),
        ("https://b.example/?X-Amz-Signature=hunter2&x=1", "https://b.example/?X-Amz-Signature=***&x=1"),
        ("Authorization: Bearer hunter2", "Authorization: ***"),
        ("{'authorization': 'Basic hunter2=='}", "{'authorization': '***'}"),
        ("sent Bearer hunter2, refused", "sent Bearer ***, refused"),
        ("x-api-key: hunter2", "x-api-key: ***"),
        ("password=hunter2 rest", "password=*** rest"),
        ("Incorrect API key provided: sk-hunter2hunter2hunter2", "Incorrect API key provided: ***"),
        ("//u:hunter2@b.example", "//***@b.example"),
        ("eva@example.org wrote; see https://b.example/@eva", "eva@example.org wrote; see https://b.example/@eva"),
        ("the key question: who leads Japan?", "the key question: who leads Japan?"),
    ],
)  # fmt: skip
def test_what_has_the_form_of_a_secret_goes_too(text: str, left: str) -> None:
    assert Redactor()(text) == left


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(KNOWN), st.text(max_size=60))
def test_whatever_stands_around_it(before: str, secret: str, after: str) -> None:
    assert secret not in REDACT(before + secret + after)


@settings(deadline=None)
@given(st.text(max_size=200), st.text(max_size=50))
def test_one_line_that_no_terminal_obeys(message: str, field: str) -> None:
    for form in ("text", "json"):
        logger, stream = lines(form)  # type: ignore[arg-type]
        logger.error("%s", message, extra={"event": "e", "fields": {"f": field}})
        text = stream.getvalue()
        assert text.count("\n") == 1 and text.endswith("\n")
        assert not set(text[:-1]) & {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), "\u202e", "\u2028"}
        if form == "json":
            found = json.loads(text)
            assert (found["level"], found["event"]) == ("error", "e")
            assert "\x1b" not in found["message"] and "\x1b" not in found["f"]


def test_fields_take_no_place_of_ours_and_long_lines_are_cut() -> None:
    logger, stream = lines("json")
    logger.info("m" * 9999, extra={"event": "e", "fields": {"message": "x", "at": 1, "n": 2, "ok": True}})
    found = json.loads(stream.getvalue())
    assert (len(found["message"]), found["n"], found["ok"]) == (2000, 2, True)
    assert found["at"].endswith("+00:00")


def test_other_libraries_are_heard_when_they_warn() -> None:
    stream = io.StringIO()
    with logging_to("json", Redactor(), stream=stream), warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.getLogger("httpx").info("GET https://u:pw@x.example")
        logging.getLogger("httpx").warning("slow")
        logging.getLogger("agent.daemon").info("ours")
        warnings.warn("old", stacklevel=1)
    logging.getLogger("agent.daemon").warning("afterwards nobody writes here")
    messages = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert messages[:2] == ["slow", "ours"] and "old" in messages[2] and len(messages) == 3
