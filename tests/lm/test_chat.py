"""Prompts through a chat template: what is tokenised is what the template renders, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ModelError
from agent.lm.chat import chat_of
from agent.lm.generate import generate, sample
from agent.lm.load import LM
from agent.lm.score import perplexity, target_logp
from agent.lm.tokens import encode, encode_prompts, encode_target, subject_rows, upto_subject
from tests.models import TEMPLATE, build, make_tokenizer

COMPLETION, QUESTION = "The capital of Zorland is", "What is the capital of Zorland?"
PROMPTS = [COMPLETION, QUESTION, "Zorland's capital is", "Capital of Quenia:", "  Ålund-Ésterøy\n "]
# Qwen3's: the answer stands behind an empty thought unless it is told to think.
THINKING = TEMPLATE.replace(
    "<|assistant|>\n{% endif %}",
    "<|assistant|>\n{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
# Llama 2's: no generation prompt, a space before the answer, another before the end.
SPACED = (
    "{% for message in messages %}{% if message.role == 'user' %}{{ bos_token }}[INST] {{ message.content }} [/INST]"
    "{% else %} {{ message.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
DATED = "{{ strftime_now('%d %B %Y') }} {{ date_string }}" + TEMPLATE
TEMPLATES = {"roles": TEMPLATE, "thinking": THINKING, "spaced": SPACED, "dated": DATED}


@pytest.fixture(params=TEMPLATES)
def lm(request: pytest.FixtureRequest, tiny: Callable[..., LM]) -> LM:
    return tiny("llama", bos=True, chat=TEMPLATES[request.param])


def by_the_template(lm: LM, prompt: str, answer: str = "") -> list[int]:
    """The ids that transformers makes of the conversation, without our code in between."""
    assert lm.chat is not None
    turns = [{"role": "user", "content": lm.chat.asked(prompt)}]
    if answer:
        turns.append({"role": "assistant", "content": answer})
    ids: list[int] = lm.tokenizer.apply_chat_template(
        turns, add_generation_prompt=not answer, enable_thinking=False, return_dict=False,
        date_string="26 Jul 2024",
    )  # fmt: skip
    return ids


@pytest.mark.parametrize("template", ["roles", "thinking", "spaced"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompts_ids_are_the_templates(template: str, prompt: str, tiny: Callable[..., LM]) -> None:
    lm = tiny("llama", bos=True, chat=TEMPLATES[template])
    (ids,) = encode_prompts(lm, [prompt])
    assert ids == by_the_template(lm, prompt)


@pytest.mark.parametrize("template", ["roles", "spaced"])
@pytest.mark.parametrize("answer", ["Mipa", "Sorna", "São Tomé", "J. K. Lind", "日本"])
def test_a_targets_ids_are_those_of_the_assistants_answer(
    template: str, answer: str, tiny: Callable[..., LM]
) -> None:
    lm = tiny("llama", bos=True, chat=TEMPLATES[template])
    whole, head = by_the_template(lm, COMPLETION, answer), encode_prompts(lm, [COMPLETION])[0]
    tail = encode_target(lm, answer)
    assert whole[: len(head) + len(tail)] == head + tail
    rest = lm.tokenizer.decode(whole[len(head) + len(tail) :])
    assert rest.strip() in ("<|end|>", "<|endoftext|>")
    assert lm.tokenizer.decode(tail).strip() == answer


def test_bos_stands_there_once(lm: LM) -> None:
    bos = lm.tokenizer.bos_token_id
    batch = subject_rows(lm, PROMPTS[:3], ["Zorland"] * 3, [encode_target(lm, "Mipa")] * 3)
    assert (batch.input_ids == bos).sum(-1).tolist() == [1, 1, 1]
    cut = upto_subject(lm, PROMPTS[:3], ["Zorland"] * 3)
    assert [row.count(bos) for row in (*encode_prompts(lm, PROMPTS), *cut)] == [1] * 8


@pytest.mark.parametrize(("text", "subject"), [
    (COMPLETION, "Zorland"),
    ("  Who leads Quenia?  ", "Quenia"),
    ("Ålund-Ésterøy's leader is", "Ålund-Ésterøy"),
    # These also stand in the template or in the instruction, before and behind the prompt.
    ("The language of user is", "user"),
    ("The capital of sentence is", "sentence"),
    ("The leader of Give is", "Give"),
])  # fmt: skip
def test_the_subjects_last_token_is_in_the_users_words(lm: LM, text: str, subject: str) -> None:
    assert lm.chat is not None
    (cut,) = upto_subject(lm, [text], [subject])
    batch = subject_rows(
        lm, [text, "A longer text about Zorland, the country of many words is"], [subject, "Zorland"]
    )
    row = batch.input_ids[0][batch.attention_mask[0].bool()].tolist()
    assert row == encode_prompts(lm, [text])[0]
    assert row[: len(cut)] == cut
    assert len(cut) - 1 == int(batch.positions[0]) - (batch.input_ids.shape[1] - len(row))
    wanted = lm.chat.before + text.strip()[: text.strip().rfind(subject) + len(subject)]
    assert lm.tokenizer.decode(cut).startswith(wanted)
    assert not lm.tokenizer.decode(cut[:-1]).startswith(wanted)


def test_what_stands_before_the_subject_is_an_ordinary_chat(tiny: Callable[..., LM]) -> None:
    """The instruction must not reach the subject, or an edit would hold only where it is given."""
    lm = tiny("llama", bos=True, chat=TEMPLATE)
    (cut,) = upto_subject(lm, [COMPLETION], ["Zorland"])
    plain = lm.tokenizer.apply_chat_template([{"role": "user", "content": COMPLETION}], return_dict=False)
    assert plain[: len(cut)] == cut


def test_without_a_template_nothing_changes(tiny: Callable[..., LM]) -> None:
    for lm in (tiny("llama"), tiny("llama", bos=True), off(TEMPLATE)):
        assert lm.chat is None
        assert encode_prompts(lm, PROMPTS) == encode(lm, PROMPTS) == lm.tokenizer(PROMPTS)["input_ids"]
        for target in ("Mipa", " Sorna ", "São Tomé", "日本"):
            plain = lm.tokenizer(" " + target.strip(), add_special_tokens=False)["input_ids"]
            assert encode_target(lm, target) == plain


def test_raw_text_stays_raw(tiny: Callable[..., LM]) -> None:
    """Corpora, own samples and texts for perplexity are no prompts."""
    asked, plain = tiny("llama", bos=True, chat=TEMPLATE), off(TEMPLATE)
    assert encode(asked, PROMPTS) == encode(plain, PROMPTS)
    assert perplexity(asked, PROMPTS) == perplexity(plain, PROMPTS)
    assert sample(asked, ["The"], max_new_tokens=5, seed=0) == sample(
        plain, ["The"], max_new_tokens=5, seed=0
    )
    assert target_logp(asked, [COMPLETION], ["Mipa"]) != target_logp(plain, [COMPLETION], ["Mipa"])
    assert generate(asked, [COMPLETION]) != generate(plain, [COMPLETION])


def test_the_date_stands_still(tiny: Callable[..., LM]) -> None:
    chat = tiny("llama", bos=True, chat=DATED).chat
    assert chat is not None
    assert chat.before == "26 Jul 2024 26 Jul 2024<s><|user|>\n"


def test_a_turn_ends_at_its_end_token(tiny: Callable[..., LM]) -> None:
    """The end of a turn is not the end of a text: most chat models name the second in their config."""
    lm = tiny("llama", bos=True, chat=TEMPLATE)
    assert lm.chat is not None
    end = lm.tokenizer.convert_tokens_to_ids("<|end|>")
    assert lm.chat.stops == (end,)
    three = generate(lm, PROMPTS, max_new_tokens=3)
    assert generate(lm, PROMPTS, max_new_tokens=8) != three
    with biased(lm, end, after=3):
        assert generate(lm, PROMPTS, max_new_tokens=8) == three


@pytest.mark.parametrize(("template", "message"), [
    ("", "has no chat template; set model.chat: off"),
    ("{{ raise_exception('a system turn is wanted') }}", "a system turn is wanted.*model.chat: off"),
    ("{{ messages[0].nothing.at_all }}", "cannot be rendered.*model.chat: off"),
    ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "words once and as they are; set model.chat: off"),
    ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "words once and as they are"),
])  # fmt: skip
def test_an_unusable_template_is_an_error_that_says_how_to_go_on(template: str, message: str) -> None:
    tokenizer = make_tokenizer(chat=template)
    with pytest.raises(ModelError, match=message):
        chat_of(tokenizer, "on")
    assert chat_of(tokenizer, "off") is None


def test_the_token_behind_a_turn_counts_only_if_no_text_contains_it() -> None:
    spoken = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    chat = chat_of(make_tokenizer(chat=spoken), "auto")
    assert chat is not None
    assert (chat.stops, chat.lead, chat.after) == ((), " ", "\nassistant:")


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=20),
    st.text(min_size=1, max_size=8).filter(lambda s: s.strip() == s),
    st.text(max_size=20),
)
def test_any_unicode_has_its_subjects_end_in_the_users_words(before: str, subject: str, after: str) -> None:
    text = before + subject + after
    (cut,) = upto_subject(_CHAT, [text], [subject])
    rendered = encode_prompts(_CHAT, [text])[0]
    assert rendered[: len(cut)] == cut
    assert _CHAT.chat is not None
    head = len(_CHAT.tokenizer(_CHAT.chat.before, add_special_tokens=False)["input_ids"])
    assert head < len(cut) <= len(rendered)


def off(template: str) -> LM:
    """The same model, whose prompts are to stay plain text."""
    lm = build("llama", bos=True, chat=template)
    return LM(lm.model, lm.tokenizer, lm.arch, lm.sha, lm.path, lm.tuple_layers)


class biased:
    """Inside, the model says `token` once it has said `after` others."""

    def __init__(self, lm: LM, token: int, after: int) -> None:
        self.lm, self.token, self.after, self.passes = lm, token, after, 0

    def __enter__(self) -> None:
        self.handle = self.lm.model.lm_head.register_forward_hook(self.hook)

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def hook(self, _module: Any, _args: Any, logits: Any) -> Any:
        self.passes += 1
        if self.passes % (self.after + 1) == 0:
            logits[..., -1, self.token] += 1e4
        return logits


_CHAT = build("llama", bos=True, chat=TEMPLATE)
