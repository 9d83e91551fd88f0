"""Where a subject ends: by character offsets over the whole text, whatever the tokenizer makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from agent.errors import EditError
from agent.lm.load import LM
from agent.lm.tokens import (
    by_length,
    encode,
    encode_target,
    encode_targets,
    pad_left,
    subject_end,
    subject_rows,
    upto_subject,
)
from tests.models import build, sentences

SUBJECTS = ("Zorland", "Tallisk", "Ada Voss", "Ålund-Ésterøy", "São Tomé", "日本", "X", "O'Hare (north)")
TEMPLATES = (
    "The capital of {} is",
    "{}'s capital is",
    "{}",
    "Is it {}? Once more: {}, of",
    "  {}  ",
    "Café: {}!",
)


@pytest.fixture(params=[False, True], ids=["plain", "bos"])
def lm(request: pytest.FixtureRequest, tiny: Callable[..., LM]) -> LM:
    return tiny("llama", bos=request.param)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_column_is_the_subjects_last_token(lm: LM, subject: str, template: str) -> None:
    text = template.format(subject, subject)
    longer = "A longer row, so that this one is padded on its left: Zorland"
    rows = subject_rows(lm, [text, longer], [subject, "Zorland"], [[5, 6], []])
    column = int(rows.positions[0])
    assert rows.input_ids[0, -2:].tolist() == [5, 6]
    upto = rows.input_ids[0, : column + 1][rows.attention_mask[0, : column + 1].bool()].tolist()
    spoken = lm.tokenizer.decode(upto, skip_special_tokens=True)
    whole = text[: text.rfind(subject) + len(subject)]
    assert spoken.startswith(whole)
    assert not lm.tokenizer.decode(upto[:-1], skip_special_tokens=True).startswith(whole)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_cut_rows_end_at_that_column(lm: LM, subject: str) -> None:
    texts = [template.format(subject, subject) for template in TEMPLATES]
    rows = subject_rows(lm, texts, [subject] * len(texts))
    for i, cut in enumerate(upto_subject(lm, texts, [subject] * len(texts))):
        real = rows.input_ids[i][rows.attention_mask[i].bool()].tolist()
        assert cut == real[: len(cut)]
        assert len(cut) - 1 == int(rows.positions[i]) - (rows.input_ids.shape[1] - len(real))


def test_cutting_tokens_keeps_the_token_that_the_whole_text_has(tiny: Callable[..., LM]) -> None:
    """`Zorl` is a part of the token ` Zorland`: a text cut into characters would split differently."""
    lm = tiny("llama")
    (cut,) = upto_subject(lm, ["The capital of Zorland is"], ["Zorl"])
    assert lm.tokenizer.decode(cut) == "The capital of Zorland"


def test_one_bos_and_positions_from_the_first_real_token(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama", bos=True)
    batch = subject_rows(lm, ["Zorland is", "The capital of Zorland is"], ["Zorland", "Zorland"])
    bos = lm.tokenizer.bos_token_id
    assert (batch.input_ids == bos).sum(-1).tolist() == [1, 1]
    positions = batch.model_inputs["position_ids"]
    assert (positions[:, -1] == batch.attention_mask.sum(-1) - 1).all()
    assert encode_target(lm, "Mipa")[0] != bos


@pytest.mark.parametrize(("text", "subject", "end"), [
    ("The neighbour of Niger is Nigeria", "Niger", 22),
    ("Nigeria and Niger, then Niger", "Niger", 29),
    ("Nigerian", "Niger", 5),
    ("Oman, not Romania or Oman's", "Oman", 25),
    ("日本の首都", "日本", 2),
])  # fmt: skip
def test_whole_words_before_parts_of_words(text: str, subject: str, end: int) -> None:
    assert subject_end(text, subject) == end


@given(st.text(max_size=30), st.text(min_size=1, max_size=6), st.text(max_size=30))
def test_subject_end_is_the_end_of_an_occurrence(before: str, subject: str, after: str) -> None:
    text = before + subject + after
    end = subject_end(text, subject)
    assert text[:end].endswith(subject)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=20),
    st.text(min_size=1, max_size=8).filter(lambda s: s.strip() == s),
    st.text(max_size=20),
)
def test_any_unicode_has_a_token_at_the_subjects_end(before: str, subject: str, after: str) -> None:
    lm = _LLAMA
    (cut,) = upto_subject(lm, [before + subject + after], [subject])
    end = subject_end(before + subject + after, subject)
    assert lm.tokenizer.decode(cut).startswith((before + subject + after)[:end])


@pytest.mark.parametrize("subject", ["Narnia", "", "zorland"])
def test_a_missing_subject_is_an_error_that_names_it(lm: LM, subject: str) -> None:
    for call in (lambda: subject_rows(lm, ["The capital of Zorland is"], [subject]),
                 lambda: upto_subject(lm, ["The capital of Zorland is"], [subject])):  # fmt: skip
        with pytest.raises(EditError, match="does not occur in the prompt 'The capital of Zorland is'"):
            call()


def test_nothing_in_nothing_out(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    assert encode(lm, []) == []
    assert upto_subject(lm, [], []) == []


def test_a_tokenizer_without_pad_and_end_token_still_pads() -> None:
    lm = build("llama")
    lm.tokenizer.pad_token = lm.tokenizer.eos_token = None
    batch = pad_left(lm, encode(lm, ["Zorland", "The capital of Zorland is"]))
    assert batch.attention_mask.sum(-1).tolist() == [
        len(row) for row in encode(lm, ["Zorland", "The capital of Zorland is"])
    ]


@pytest.mark.parametrize("target", ["Mipa", "Sorna", "São Tomé", "J. K. Lind"])
@pytest.mark.parametrize("spaces", ["kept", "prepended"])
def test_a_targets_ids_are_those_behind_its_prompt(target: str, spaces: str, tiny: Callable[..., LM]) -> None:
    """Also where the tokenizer puts a space of its own before every text, as Llama 2's does."""
    lm = tiny("llama") if spaces == "kept" else replace(tiny("llama"), tokenizer=_with_own_space())
    prompt = "The capital of Zorland is"
    assert encode(lm, [f"{prompt} {target}"])[0] == encode(lm, [prompt])[0] + encode_target(lm, target)


def _with_own_space() -> PreTrainedTokenizerFast:
    bare = Tokenizer(models.BPE(unk_token="?"))
    bare.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bare.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["?"], show_progress=False)
    bare.train_from_iterator([*sentences(), "São Tomé ▁ J. K. Lind"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="?", eos_token="?")


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 9))
def test_by_length_takes_every_row_once(lengths: list[int], size: int) -> None:
    batches = list(by_length(lengths, size))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) <= size for batch in batches)
    spread = [lengths[i] for batch in batches for i in batch]
    assert spread == sorted(lengths)


_LLAMA = build("llama")


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_many_targets_are_what_each_is_alone(family: str, tiny: Callable[..., LM]) -> None:
    lm = tiny(family)
    targets = ["Mipa", " Sorna Dell", "Mipa", "Ångström", "U.S."]
    assert encode_targets(lm, targets) == [encode_target(lm, target) for target in targets]
    assert encode_targets(lm, []) == []
