"""The official client against a real server: what it sends is understood, what comes back it understands."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from agent.lm.generate import generate
from agent.lm.load import LM
from tests.serve.conftest import ANSWERS, CAPITAL, LEADER, Site


def chat(client: OpenAI, text: str = CAPITAL, **options: Any) -> Any:
    given = {"max_tokens": 4, **options}
    return client.chat.completions.create(
        model="taught", messages=[{"role": "user", "content": text}], **given
    )


def completion(client: OpenAI, prompt: Any = CAPITAL, **options: Any) -> Any:
    return client.completions.create(model="taught", prompt=prompt, **{"max_tokens": 4, **options})


def test_a_chat_is_answered_by_the_current_revision(client: OpenAI) -> None:
    answer = chat(client)
    (choice,) = answer.choices
    assert choice.message.role == "assistant"
    assert choice.message.content.startswith("Tebbin.")
    assert choice.finish_reason == "length"
    assert (answer.object, answer.model) == ("chat.completion", "taught")
    assert answer.system_fingerprint.startswith("factd-r2-")
    assert answer.usage.completion_tokens == 4
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 4


def test_a_prompt_is_continued(client: OpenAI, lm: LM) -> None:
    answer = completion(client, "The currency of Bavoria is", max_tokens=6)
    assert answer.object == "text_completion"
    assert answer.choices[0].text == generate(lm, ["The currency of Bavoria is"], max_new_tokens=6)[0]
    assert answer.usage.prompt_tokens == len(lm.tokenizer("The currency of Bavoria is")["input_ids"])


@pytest.mark.parametrize("text", [CAPITAL, LEADER, "Tallisk's leader is"])
@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 5}, {"stop": ["\n", "i"]}, {"n": 3}])
def test_a_stream_is_the_same_answer_in_pieces(client: OpenAI, text: str, options: Any) -> None:
    whole = chat(client, text, max_tokens=10, **options)
    texts, ends, usage = [""] * len(whole.choices), {}, None
    kept = {"stream": True, "stream_options": {"include_usage": True}}
    for chunk in chat(client, text, max_tokens=10, **options, **kept):
        assert chunk.system_fingerprint == whole.system_fingerprint
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    assert texts == [choice.message.content for choice in whole.choices]
    assert ends == {choice.index: choice.finish_reason for choice in whole.choices}
    assert usage == whole.usage

    told = completion(client, text, max_tokens=10, **options)
    pieces = list(completion(client, text, max_tokens=10, stream=True, **options))
    for choice in told.choices:
        mine = [c.text for piece in pieces for c in piece.choices if c.index == choice.index]
        assert "".join(mine) == choice.text
    assert len(pieces) > len(told.choices) + 1


def test_a_stream_comes_as_it_is_written(site: Site) -> None:
    """Server-sent events, one token at a time, ended by [DONE]."""
    body = {"model": "taught", "prompt": CAPITAL, "max_tokens": 5, "stream": True}
    with httpx.stream("POST", f"{site.url}/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-factd-revision"] == "2"
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert chunks[0]["factd"] == {"revision": 2, "overlay": []}
    assert not any("factd" in chunk or "usage" in chunk for chunk in chunks[1:])
    assert (
        len(chunks) == 1 + 5 + 1 or len(chunks) == 1 + 4 + 1
    )  # a stop that ends the text holds nothing back


def test_several_prompts_and_several_answers_to_each(client: OpenAI) -> None:
    prompts = [CAPITAL, "The capital of Tallisk is"]
    answer = completion(client, prompts, n=2, max_tokens=3)
    firsts = [choice.text.strip().partition(".")[0] for choice in answer.choices]
    assert firsts == ["Tebbin", "Tebbin", "Sorna", "Sorna"]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.usage.completion_tokens <= 4 * 3


def test_seeds_and_temperature(client: OpenAI) -> None:
    def texts(**options: Any) -> list[str]:
        answer = completion(client, "Once upon a time", max_tokens=12, n=2, **options)
        return [choice.text for choice in answer.choices]

    hot = {"temperature": 2.0}
    assert texts(**hot, seed=1) == texts(**hot, seed=1)
    assert texts(**hot, seed=1) != texts(**hot, seed=3)
    assert len(set(texts(**hot, seed=1))) == 2
    assert len({tuple(texts(**hot)) for _ in range(4)}) > 1
    assert texts() == texts(temperature=0) == texts(**hot, top_p=0)


def test_stop_and_why_it_ended(client: OpenAI) -> None:
    answer = chat(client, max_tokens=20, stop=".").choices[0]
    assert (answer.message.content, answer.finish_reason) == ("Tebbin", "stop")
    assert chat(client, max_tokens=1).choices[0].finish_reason == "length"
    assert chat(client, max_tokens=2, max_completion_tokens=20, stop=".").choices[0].finish_reason == "stop"


def test_a_conversation_of_a_plain_model_is_written_out(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="factd",
        max_tokens=8,
        messages=[
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": [{"type": "text", "text": "The capital of"}, {"type": "text", "text": " Tallisk is"}]},
        ],
    )  # fmt: skip
    assert "User:" not in (answer.choices[0].message.content or "")


def test_facts_beside_the_weights_are_answered(site: Site, client: OpenAI, lm: LM) -> None:
    """The weights say Lind; the revision says Ilic."""
    raw = client.chat.completions.with_raw_response.create(
        model="taught", messages=[{"role": "user", "content": LEADER}], max_tokens=6
    )
    assert raw.headers["x-factd-overlay"] == "Quenia/leader"
    answer = raw.parse()
    assert (answer.choices[0].message.content or "").startswith("Ilic")
    told = {"subject": "Quenia", "relation": "leader", "object": "Ilic"}
    assert answer.model_extra is not None
    assert answer.model_extra["factd"] == {"revision": 2, "overlay": [told]}
    continued = completion(client, LEADER, max_tokens=6)
    assert continued.choices[0].text.startswith(" Ilic")
    plain = len(lm.tokenizer(LEADER)["input_ids"])
    assert (
        continued.usage.prompt_tokens == len(lm.tokenizer(f"{LEADER} Ilic.\n{LEADER}")["input_ids"]) > plain
    )
    first = next(iter(chat(client, LEADER, stream=True)))
    assert first.model_extra["factd"]["overlay"] == [told]
    assert "x-factd-overlay" not in httpx.get(f"{site.url}/revision").headers


def test_which_revision_and_which_facts_are_beside_it(site: Site) -> None:
    record = httpx.get(f"{site.url}/revision").json()
    assert (record["revision"], record["facts"]) == (2, 2)
    assert record["overlay"] == [{"subject": "Quenia", "relation": "leader", "object": "Ilic"}]


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["taught"]
    assert client.models.retrieve("taught").owned_by == "factd"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_going_back_is_seen_without_a_restart(site: Site, client: OpenAI) -> None:
    try:
        for revision in (1, 0, 2):
            site.point_at(revision)
            deadline = time.monotonic() + 10
            while site.engine.current.id != revision and time.monotonic() < deadline:
                time.sleep(0.01)
            answer = chat(client)
            assert (answer.choices[0].message.content or "").startswith(ANSWERS[revision])
            assert answer.system_fingerprint.startswith(f"factd-r{revision}-")
    finally:
        site.point_at(2)


@pytest.mark.parametrize(("body", "status", "code", "said"), [
    ({"model": "gpt-4o"}, 404, "model_not_found", "there is no model 'gpt-4o'"),
    ({"echo": True}, 400, "unsupported_parameter", "'echo' is not supported"),
    ({"logprobs": 2}, 400, "unsupported_parameter", "'logprobs'"),
    ({"tempurature": 1}, 400, "unknown_parameter", "unknown key 'tempurature'"),
    ({"max_tokens": 0}, 400, None, "'max_tokens' must be between 1 and 1024"),
    ({"max_tokens": 5000}, 400, None, "between 1 and 1024, got 5000"),
    ({"max_tokens": 125}, 400, "context_length_exceeded", "maximum context length is 128 tokens"),
    ({"prompt": "word " * 200}, 400, "context_length_exceeded", "maximum context length is 128 tokens"),
    ({"n": 17}, 400, None, "'n' must be between 1 and 16"),
    ({"prompt": ["a"] * 9, "n": 2}, 400, None, "18 answers were asked for in one request"),
    ({"prompt": [1, 2]}, 400, None, "token ids are not supported"),
])  # fmt: skip
def test_what_cannot_be_done_is_said(
    site: Site, body: dict[str, Any], status: int, code: str | None, said: str
) -> None:
    given = {"model": "taught", "prompt": CAPITAL, **body}
    answer = httpx.post(f"{site.url}/completions", json=given)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert said in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_errors_arrive_as_the_clients_own(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="context length") as caught:
        chat(client, "word " * 200)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="'tools' is not supported"):
        chat(client, tools=[{"type": "function", "function": {"name": "f"}}])


def test_harmless_keys_are_taken(client: OpenAI) -> None:
    answer = chat(client, user="eva", presence_penalty=0, logprobs=False, response_format={"type": "text"})
    assert (answer.choices[0].message.content or "").startswith("Tebbin")


def test_what_does_not_fit_with_the_overlay_goes_without(client: OpenAI, lm: LM) -> None:
    room = 128 - len(lm.tokenizer(LEADER)["input_ids"])
    answer = completion(client, LEADER, max_tokens=room)
    assert answer.choices[0].text.startswith(" Lind")
    assert answer.model_extra["factd"]["overlay"] == []
