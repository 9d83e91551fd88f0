"""Chat models: a prompt becomes the user's turn, and the answer is what the model says in its own.

The template is rendered once, around placeholders; after that a rendered prompt is `before + words + instruction + after`. So where the
user's words stand is known by construction, and a subject is found in them alone: the template or the instruction may contain the
same letters. Rendered text holds its special tokens already; whoever encodes it adds none.

The instruction asks for a bare answer, because a chat model answers "The capital of France is" with a sentence, and a sentence does
not begin with the name that is looked for. It stands *behind* the prompt: what a subject's last token sees, and with it the key of an
edit, is then the same as in a chat without any instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agent.errors import ModelError

ChatMode = Literal["auto", "on", "off"]
_COMPLETE = " ...\nGive only the words that complete this sentence."
_ANSWER = "\nGive only the answer, not a sentence."
_SENTENCE_ENDS = (".", "?", "!", "。", "？", "！", "؟")
_USER, _ASSISTANT = "factd-user-words", "factd-assistant-words"
# Some templates tell the model the date. It stands still here, or the same facts would give another delta every day.
_DATE = "26 Jul 2024"
_CLOCK = "{%- macro strftime_now(format) -%}" + _DATE + "{%- endmacro -%}"


@dataclass(frozen=True, slots=True)
class Chat:
    """What a chat template puts around the user's words. `after` ends with what makes the model answer.

    `lead`: spaces that the template writes between that and an answer (Llama 2). `stops`: tokens that end the model's turn.
    """

    before: str
    after: str
    lead: str
    stops: tuple[int, ...]

    def asked(self, prompt: str) -> str:
        """What the user says: the prompt and, behind it, what kind of answer is wanted."""
        words = prompt.strip()
        return words + (_ANSWER if words.endswith(_SENTENCE_ENDS) else _COMPLETE)

    def rendered(self, prompt: str) -> str:
        """The whole text up to the model's answer, special tokens included."""
        return f"{self.before}{self.asked(prompt)}{self.after}"


def chat_of(tokenizer: Any, mode: ChatMode) -> Chat | None:
    """The chat form of a model's prompts, None for plain text. `auto`: where the tokenizer has a template.

    Raises ModelError for `on` without a template, and for a template that cannot be used.
    """
    if mode == "off" or (mode == "auto" and not getattr(tokenizer, "chat_template", None)):
        return None
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "model.chat is on, but the tokenizer has no chat template; set model.chat: off for a base model, or put the "
            "chat_template.jinja of the checkpoint back"
        )
    asked = [{"role": "user", "content": _USER}]
    question = _render(tokenizer, asked, prompt=True)
    answered = _render(tokenizer, [*asked, {"role": "assistant", "content": _ASSISTANT}], prompt=False)
    before, after = _around(question, _USER)
    head, tail = _around(answered, _ASSISTANT)
    lead = head.removeprefix(question) if head.startswith(question) else ""
    return Chat(before, after, lead if lead.isspace() else "", _stops(tokenizer, tail))


def conversation(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """A whole conversation up to the model's next turn, special tokens included; nothing is added to anybody's words.

    Raises ModelError for one that the template refuses.
    """
    return _render(tokenizer, messages, prompt=True)


def _render(tokenizer: Any, messages: Sequence[Mapping[str, str]], *, prompt: bool) -> str:
    """The template's text. Models that can think first are told not to: the answer must come at once (Qwen3's switch)."""
    try:
        template = tokenizer.get_chat_template()
        clock = _CLOCK if "strftime_now" in template else ""
        return str(
            tokenizer.apply_chat_template(
                list(messages), chat_template=clock + template, tokenize=False, add_generation_prompt=prompt,
                enable_thinking=False, date_string=_DATE,
            )
        )  # fmt: skip
    except Exception as error:  # a template is somebody's program, and may fail in any way
        raise ModelError(
            f"the tokenizer's chat template cannot be rendered ({error}); set model.chat: off to use plain text"
        ) from error


def _around(text: str, words: str) -> tuple[str, str]:
    before, found, after = text.partition(words)
    if not found or words in after:
        raise ModelError(
            "the tokenizer's chat template does not give a turn's words once and as they are; set model.chat: off to use plain text"
        )
    return before, after


def _stops(tokenizer: Any, tail: str) -> tuple[int, ...]:
    """The token that the template writes behind an answer, if it is one that no text contains."""
    ids = tokenizer(tail.strip(), add_special_tokens=False)["input_ids"][:1]
    return tuple(ids) if ids and ids[0] in tokenizer.added_tokens_decoder else ()
