"""Whatever a client sends, it is an order or a refusal; and an order is within every limit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import RequestRefused
from agent.lm.sampling import Sampling
from agent.serve.order import Kind, Message, order_of, read_json
from agent.settings import ServeSettings

SETTINGS = ServeSettings(batch=4, max_tokens=50, temperature=0.3)
_KEYS = [
    "model", "messages", "prompt", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop",
    "stream", "stream_options", "echo", "logprobs", "user", "best_of", "nonsense", "tools", "logit_bias",
]  # fmt: skip
_SCALARS = st.none() | st.booleans() | st.integers(-3, 60) | st.integers() | st.floats() | st.text(max_size=5)
_VALUES = st.recursive(
    _SCALARS | st.just([{"role": "user", "content": "x"}]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "include_usage", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
_BODIES = st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=6)
_GOOD: dict[Kind, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "text": {"model": "m", "prompt": "Hi"},
}


@given(_BODIES, st.sampled_from(["chat", "text"]), st.booleans())
def test_any_object_is_an_order_or_refused(body: dict[str, Any], kind: Kind, whole: bool) -> None:
    try:
        order = order_of({**(_GOOD[kind] if whole else {}), **body}, kind, SETTINGS, seed=1)
    except RequestRefused as error:
        assert error.status == 400
        return
    assert 1 <= order.rows <= SETTINGS.batch
    assert order.max_tokens is None or 1 <= order.max_tokens <= SETTINGS.max_tokens
    assert 0 <= order.sampling.temperature <= 2
    assert 0 <= order.sampling.top_p <= 1
    assert 0 <= order.sampling.seed < 1 << 63
    assert all(order.stops) and (order.messages or order.prompts)


@given(
    st.binary(max_size=40)
    | st.recursive(_SCALARS, lambda i: st.lists(i, max_size=2)).map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    try:
        assert isinstance(read_json(body), dict)
    except RequestRefused as error:
        assert error.status == 400


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_what_is_left_out_has_a_default(kind: Kind) -> None:
    order = order_of(_GOOD[kind], kind, SETTINGS, seed=9)
    assert (order.n, order.stops, order.stream, order.include_usage) == (1, (), False, False)
    assert order.sampling == Sampling(0.3, 1.0, 9)
    assert order.max_tokens == (None if kind == "chat" else 16)
    nulls = dict.fromkeys(("n", "stop", "stream", "seed", "temperature", "logprobs", "tools"))
    assert order_of({**_GOOD[kind], **nulls}, kind, SETTINGS, seed=9) == order


def test_a_developers_message_is_the_systems_and_parts_are_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = {
        "model": "m",
        "messages": [{"role": "developer", "content": parts}, {"role": "assistant", "content": None}],
    }
    assert order_of(body, "chat", SETTINGS, seed=1).messages == (
        Message("system", "ab"),
        Message("assistant", ""),
    )


@pytest.mark.parametrize(("key", "nothing", "something"), [
    ("echo", False, True), ("best_of", 1, 2), ("logprobs", False, 0), ("presence_penalty", 0.0, 0.5), ("logit_bias", {}, {"1": 1}),
    ("response_format", {"type": "text"}, {"type": "json_object"}), ("tools", [], [{}]), ("echo", None, 1),
])  # fmt: skip
def test_a_key_that_is_not_supported_may_ask_for_nothing(key: str, nothing: Any, something: Any) -> None:
    order_of({**_GOOD["text"], key: nothing}, "text", SETTINGS, seed=1)
    with pytest.raises(RequestRefused, match=f"'{key}' is not supported here; leave it out") as caught:
        order_of({**_GOOD["text"], key: something}, "text", SETTINGS, seed=1)
    assert caught.value.param == key
