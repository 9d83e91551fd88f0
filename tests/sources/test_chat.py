"""A language model's endpoint against a real server: what is sent, what comes back, and all that can go wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.errors import FetchRefused, InputError, SourceError, TooLarge
from agent.sources.chat import MAX_ANSWER_BYTES, Chat, Endpoint
from agent.sources.http import Client
from tests.chat_server import ChatServer, serving

ARTICLE = json.dumps({"title": "", "text": "Acme chief executive Jane Roe spoke."})
FOUND = {"subject": "Acme", "object": "Jane Roe"}
ITEM = {"type": "object", "additionalProperties": False}
SCHEMA = {"type": "object", "properties": {"claims": {"type": "array", "items": ITEM}}}
KEY = "sk-very-secret-0123456789"


@pytest.fixture(scope="module")
def client() -> Client:
    return Client(timeout_s=10, max_bytes=MAX_ANSWER_BYTES)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving() as found:
        yield found


def chat(server: ChatServer, client: Client, **more: object) -> Chat:
    return Chat(replace(Endpoint(server.url, "a-model"), **more), client)  # type: ignore[arg-type]


@pytest.mark.parametrize("manner", ["honoured", "ignored", "fenced", "thinking", "bare list", "unsupported"])
def test_an_answer_is_read_whether_or_not_the_server_honours_the_schema(
    server: ChatServer, client: Client, manner: str
) -> None:
    server.manner = manner
    answer = chat(server, client).ask("the task", ARTICLE, SCHEMA)
    (item,) = answer["claims"] if isinstance(answer, dict) else answer
    assert item.items() >= FOUND.items()


def test_the_request_is_the_same_every_time_and_asks_for_a_strict_schema(
    server: ChatServer, client: Client
) -> None:
    for _ in range(2):
        chat(server, client).ask("the task", ARTICLE, SCHEMA)
    first, second = server.requests
    assert first == second
    assert (first["model"], first["temperature"], first["stream"]) == ("a-model", 0, False)
    assert [m["role"] for m in first["messages"]] == ["system", "user"]
    assert first["response_format"]["json_schema"]["strict"] is True
    assert first["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize(("form", "sent"), [("json_object", {"type": "json_object"}), ("none", None)])
def test_a_server_can_be_asked_without_a_schema(
    server: ChatServer, client: Client, form: str, sent: object
) -> None:
    server.manner = "ignored"
    chat(server, client, response_format=form).ask("the task", ARTICLE, SCHEMA)
    assert server.requests[0].get("response_format") == sent


@pytest.mark.parametrize(
    ("manner", "error", "words"),
    [
        ("broken", InputError, "no JSON"),
        ("prose", InputError, "no JSON.*I am sorry"),
        ("nothing", InputError, "answers with nothing"),
        ("refusal", InputError, "refuses"),
        ("cut off", InputError, "cut off"),
        ("no choices", InputError, "OpenAI-compatible"),
        ("other service", InputError, "no JSON.*router"),
        ("deep", InputError, "no JSON"),
        ("deep answer", InputError, "no JSON"),
        ("error", SourceError, "answers 500.*out of memory"),
        ("redirect", SourceError, "answers 307"),
        ("endless", TooLarge, "1 MB"),
    ],
)
def test_what_goes_wrong_is_an_error_that_says_what(
    server: ChatServer, client: Client, manner: str, error: type[Exception], words: str
) -> None:
    server.manner = manner
    with pytest.raises(error, match=words) as caught:
        chat(server, client).ask("the task", ARTICLE, SCHEMA)
    assert type(caught.value) is error
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_server_that_trickles_is_given_up_in_time(server: ChatServer) -> None:
    server.manner = "slow"
    started = time.monotonic()
    with pytest.raises(SourceError, match=r"within 0\.5 s"):
        chat(server, Client(timeout_s=0.5)).ask("the task", ARTICLE, SCHEMA)
    assert time.monotonic() - started < 5


def test_a_server_that_is_away_is_an_error(client: Client) -> None:
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9"):
        Chat(Endpoint("http://127.0.0.1:9/v1", "m"), client).ask("the task", ARTICLE, SCHEMA)


def test_the_endpoint_goes_through_the_guard(server: ChatServer, client: Client) -> None:
    with pytest.raises(FetchRefused, match="loopback"):
        chat(server, client, allow_private=False).ask("the task", ARTICLE, SCHEMA)
    with pytest.raises(FetchRefused, match="link-local"):
        Chat(Endpoint("http://169.254.169.254/v1", "m"), client).ask("the task", ARTICLE, SCHEMA)
    assert server.requests == []


def test_the_key_is_sent_and_shown_nowhere(server: ChatServer, client: Client) -> None:
    asking = chat(server, client, key=KEY)
    asking.ask("the task", ARTICLE, SCHEMA)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps(server.requests) and KEY not in repr(asking)
    server.manner = "echo"
    with pytest.raises(SourceError, match=r"401: who is Bearer \*\*\*") as caught:
        asking.ask("the task", ARTICLE, SCHEMA)
    assert KEY not in str(caught.value)


def test_a_key_does_not_go_over_the_internet_unencrypted(server: ChatServer) -> None:
    """The server's name leads to a public address here, which is refused before anything is sent."""
    public = Client(timeout_s=5, resolve=lambda host, port: ["93.184.215.14"])
    with pytest.raises(FetchRefused, match="only over https"):
        Chat(Endpoint("http://llm.example/v1", "m", key=KEY), public).ask("the task", ARTICLE, SCHEMA)
