"""Text as it comes is the text: whole characters only, and stop strings found wherever the pieces are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from agent.lm.detokenise import Detokeniser, StopStrings
from tests.models import make_tokenizer

BYTES = make_tokenizer()
HALF = "\ufffd"


def sentencepiece() -> Any:
    """Like Llama 2's: a word's space belongs to it, and goes where the word begins a text."""
    words = ["<s>", "▁is", "▁Paris", "▁is", "Pa", "ris", "▁", "."]
    bare = Tokenizer(models.WordLevel({word: i for i, word in enumerate(dict.fromkeys(words))}, "<s>"))
    bare.pre_tokenizer = pre_tokenizers.Metaspace()
    bare.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=bare, bos_token="<s>", eos_token="<s>")


def pieces(tokenizer: Any, ids: list[int], before: tuple[int, ...] = ()) -> list[str]:
    detokeniser = Detokeniser(tokenizer, before)
    return [*(detokeniser.add(token) for token in ids), detokeniser.rest()]


@given(st.text(max_size=30), st.text(max_size=10))
def test_the_pieces_are_the_text(text: str, before: str) -> None:
    """Every character here is bytes, so that most are cut somewhere."""
    ids = BYTES(text)["input_ids"] if text else []
    came = pieces(BYTES, ids, tuple(BYTES(before)["input_ids"]) if before else ())
    assert "".join(came) == text
    assert HALF in text or not any(HALF in piece for piece in came)


@given(st.lists(st.integers(0, len(BYTES) - 1), max_size=30))
def test_any_tokens_give_what_decoding_them_at_once_gives(ids: list[int]) -> None:
    assert "".join(pieces(BYTES, ids)) == BYTES.decode(ids, skip_special_tokens=True)


def test_no_half_of_a_character_comes_out() -> None:
    ids = BYTES("a日é")["input_ids"]
    assert len(ids) > 5
    assert [piece for piece in pieces(BYTES, ids) if piece] == ["a", "日", "é"]


def test_half_a_character_at_the_end_is_not_lost() -> None:
    assert pieces(BYTES, BYTES("a日")["input_ids"][:-1])[-1] == HALF


def test_the_space_behind_the_prompt_is_there() -> None:
    tokenizer = sentencepiece()
    before, answer = (tokenizer("is")["input_ids"]), tokenizer("Paris")["input_ids"]
    assert tokenizer.decode(answer) == "Paris"
    assert "".join(pieces(tokenizer, answer, tuple(before))) == " Paris"


@given(st.data(), st.text("ab", max_size=14), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_a_stop_string_is_found_however_the_text_is_cut(
    data: st.DataObject, text: str, stops: list[str]
) -> None:
    """What gets through, at every moment: never a stop string, and nothing that one may begin with."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    filter_, came, rest = StopStrings(stops), "", text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        came += filter_.add(rest[:size])
        rest = rest[size:]
        assert text.startswith(came)
        assert not any(stop in came for stop in stops)
    came += filter_.rest()
    # The stop that is complete first ends the text, and of those complete at once the one that began first.
    ends = [at + len(stop) for stop in stops if (at := text.find(stop)) >= 0]
    assert filter_.stopped == bool(found)
    assert came == text if not found else text.startswith(came) and len(came) <= min(ends)
    assert not any(stop in came for stop in stops)


def test_a_text_in_one_piece_ends_before_its_first_stop_string() -> None:
    filter_ = StopStrings(["\n", "User:"])
    assert (filter_.add("Voss. User: more\n"), filter_.stopped) == ("Voss. ", True)
    assert (filter_.add("again"), filter_.rest()) == ("", "")


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_white_space_before_the_first_word_only(cut: int) -> None:
    text, filter_ = " \n  Voss is. ", StopStrings([], stripped=True)
    came = [filter_.add(text[i : i + cut]) for i in range(0, len(text), cut)]
    assert "".join(came) == "Voss is. "


def test_what_may_begin_a_stop_string_waits_and_comes_when_it_does_not() -> None:
    filter_ = StopStrings(["\nUser:"])
    assert [filter_.add(text) for text in ("Voss\n", "Us", "es", "\n")] == ["Voss", "", "\nUses", ""]
    assert filter_.rest() == "\n"
