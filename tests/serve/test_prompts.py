"""From a request to token ids: templates, plain conversations, and where a fact of the overlay goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.answering import answers
from agent.catalogue import load_catalogue
from agent.errors import RequestRefused
from agent.lm.load import LM
from agent.lm.sampling import Sampling
from agent.lm.stream import Decoder, Row
from agent.overlay import Overlay
from agent.relations import load_relations
from agent.serve.order import Message, Order, order_of
from agent.serve.prompts import Prepared, prepare
from agent.settings import ServeSettings
from tests.cli.conftest import CATALOGUE, RELATIONS
from tests.models import TEMPLATE, build
from tests.serve.conftest import BESIDE, LEADER

QUESTION = "Who is the premier of Quenia?"
FACT = "The leader of Quenia is Ilic."
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}" + TEMPLATE
)
BOTH = ServeSettings()


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Overlay:
    folder = tmp_path_factory.mktemp("overlay")
    (folder / "relations.yaml").write_text(RELATIONS)
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    return Overlay(
        [BESIDE], load_relations(folder / "relations.yaml"), load_catalogue([folder / "catalogue.yaml"])
    )


def chat(*messages: tuple[str, str], **changes: Any) -> Order:
    body = {"model": "m", "messages": [{"role": role, "content": text} for role, text in messages], **changes}
    return order_of(body, "chat", BOTH, seed=1)


def text(prompt: str, **changes: Any) -> Order:
    return Order("text", "m", prompts=(prompt,), **{"max_tokens": 12, **changes})


def read(lm: LM, prepared: Prepared, index: int = 0) -> tuple[str, str]:
    """(the prompt as text, what the answer begins with)."""
    one = prepared.wanted[index]
    return lm.tokenizer.decode(list(one.prompt)), lm.tokenizer.decode(list(one.begin))


def test_one_question_to_a_plain_model_is_the_prompt(tiny: Callable[..., LM], overlay: Overlay) -> None:
    lm = tiny("llama")
    assert read(lm, prepare(lm, chat(("user", "Hello there")), overlay, BOTH)) == ("Hello there", "")
    assert read(lm, prepare(lm, chat(("system", "Be short."), ("user", "Hello")), overlay, BOTH)) == (
        "Be short.\nHello",
        "",
    )


def test_a_conversation_is_written_out_and_stops_before_the_next_turn(
    tiny: Callable[..., LM], overlay: Overlay
) -> None:
    lm = tiny("llama")
    said = (("system", "Be short."), ("user", "Hello"), ("assistant", "Yes?"), ("user", QUESTION))
    prepared = prepare(lm, chat(*said, stop="x"), overlay, BOTH)
    assert read(lm, prepared) == (
        f"Be short.\n{FACT}\nUser: Hello\nAssistant: Yes?\nUser: {QUESTION}\nAssistant:",
        " Ilic.",
    )
    assert prepared.wanted[0].stops == ("x", "\nUser:")
    assert prepared.told == (BESIDE,)


@pytest.mark.parametrize(("mode", "context", "begin"), [
    ("both", True, " Ilic."), ("context", True, ""), ("off", False, ""),
])  # fmt: skip
def test_how_much_the_overlay_does_is_a_setting(
    tiny: Callable[..., LM], overlay: Overlay, mode: Any, context: bool, begin: str
) -> None:
    lm = tiny("llama")
    for order in (text(LEADER), chat(("user", LEADER))):
        prepared = prepare(lm, order, overlay, ServeSettings(overlay=mode))
        assert read(lm, prepared) == (f"{FACT}\n{LEADER}" if context else LEADER, begin)
        assert prepared.told == ((BESIDE,) if context else ())


def test_a_prompt_that_ends_with_a_space_gets_no_second(tiny: Callable[..., LM], overlay: Overlay) -> None:
    lm = tiny("llama")
    prompt, begin = read(lm, prepare(lm, text(f"{LEADER} "), overlay, BOTH))
    assert prompt + begin == f"{FACT}\n{LEADER} Ilic."


def test_only_the_last_question_counts(tiny: Callable[..., LM], overlay: Overlay) -> None:
    lm = tiny("llama")
    said = (("user", LEADER), ("assistant", "Lind."), ("user", "The leader of Tallisk is"))
    assert prepare(lm, chat(*said), overlay, BOTH).told == ()
    assert prepare(lm, text("The leader of Tallisk is"), overlay, BOTH).told == ()


def test_the_answers_are_those_that_were_verified(taught_llama: LM, overlay: Overlay) -> None:
    """`agent.answering` is what the verifier asks with."""
    prompts = [LEADER, QUESTION, "The capital of Quenia is", "Hello. The leader of Quenia is"]
    decoder, found = Decoder(taught_llama), []
    for prompt in prompts:
        # answers() counts its tokens behind what the answer begins with
        (one,) = prepare(taught_llama, text(prompt), overlay, BOTH).wanted
        row = Row.of(taught_llama, one)
        said = "".join(piece for _, piece in decoder.admit([row]))
        while decoder.rows:
            said += "".join(piece for _, piece in decoder.step())
        found.append(said)
    wanted = answers(taught_llama, overlay, prompts, max_new_tokens=12)
    assert all(long.startswith(short) and short for short, long in zip(found, wanted, strict=True))


def test_a_template_gets_the_fact_as_a_system_message(tiny: Callable[..., LM], overlay: Overlay) -> None:
    lm = tiny("llama", bos=True, chat=TEMPLATE)
    prompt, begin = read(lm, prepare(lm, chat(("user", QUESTION)), overlay, BOTH))
    assert prompt == f"<s><|system|>\n{FACT}<|end|>\n<|user|>\n{QUESTION}<|end|>\n<|assistant|>\n"
    assert begin == "Ilic."
    prompt, _ = read(lm, prepare(lm, chat(("system", "Be short."), ("user", QUESTION)), overlay, BOTH))
    assert prompt.startswith(f"<s><|system|>\nBe short.\n{FACT}<|end|>\n<|user|>")


def test_a_template_without_system_messages_gets_it_before_the_question(overlay: Overlay) -> None:
    lm = build("llama", bos=True, chat=NO_SYSTEM)
    prompt, begin = read(
        lm, prepare(lm, chat(("user", "Hi"), ("assistant", "Yes?"), ("user", QUESTION)), overlay, BOTH)
    )
    assert prompt == (
        "<s><|user|>\nHi<|end|>\n<|assistant|>\nYes?<|end|>\n"
        f"<|user|>\n{FACT}\n{QUESTION}<|end|>\n<|assistant|>\n"
    )
    assert begin == "Ilic."
    with pytest.raises(RequestRefused, match="no system turns") as caught:
        prepare(lm, chat(("system", "Be short."), ("user", QUESTION)), overlay, BOTH)
    assert (caught.value.status, caught.value.param) == (400, "messages")


def test_a_completion_of_a_chat_model_is_raw_text(tiny: Callable[..., LM], overlay: Overlay) -> None:
    lm = tiny("llama", bos=True, chat=TEMPLATE)
    assert read(lm, prepare(lm, text("Hello"), overlay, BOTH))[0] == "<s>Hello"


def test_each_choice_draws_for_itself_and_the_first_by_the_seed_given(tiny: Callable[..., LM]) -> None:
    lm, sampling = tiny("llama"), Sampling(1.0, 1.0, 7)
    order = Order("text", "m", prompts=("a", "b"), n=2, max_tokens=3, sampling=sampling)
    assert [one.sampling.seed for one in prepare(lm, order, None, BOTH).wanted] == [7, 8, 9, 10]


def test_how_long_an_answer_may_be(tiny: Callable[..., LM]) -> None:
    """The tiny model looks back on 128 tokens."""
    lm = tiny("llama")
    (ids,) = [one.prompt for one in prepare(lm, text("Hello there"), None, BOTH).wanted]
    room = 128 - len(ids)

    def limit(settings: ServeSettings, **changes: Any) -> int:
        return prepare(lm, text("Hello there", **changes), None, settings).wanted[0].max_new_tokens

    assert limit(BOTH, max_tokens=None) == room
    assert limit(ServeSettings(max_tokens=9), max_tokens=None) == 9
    assert limit(BOTH, max_tokens=room) == room
    with pytest.raises(
        RequestRefused, match=rf"However, you requested 129 tokens \({len(ids)} in the prompt, {room + 1} "
    ):
        limit(BOTH, max_tokens=room + 1)


def test_an_empty_question_begins_behind_the_token_that_texts_begin_with(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    order = Order("chat", "m", messages=(Message("user", ""),), max_tokens=3)
    assert prepare(lm, order, None, BOTH).wanted[0].prompt == (lm.tokenizer.bos_token_id,)
