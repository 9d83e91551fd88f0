"""Answers that are written side by side, joining and leaving, are those that each prompt has alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
import torch

from agent.lm.generate import generate
from agent.lm.load import LM
from agent.lm.sampling import Sampling
from agent.lm.stream import Decoder, Row, Wanted, context_of
from agent.lm.tokens import continuation, encode, encode_prompts
from tests.lm.test_chat import biased
from tests.lm.test_generate import MIXED
from tests.models import TEMPLATE

# A plain one, learned positions, a sliding window on every layer and on some, ALiBi, one shared key head, local attention.
FAMILIES = ("llama", "gpt2", "qwen3", "qwen3-windowed", "gemma3_text", "bloom", "gpt_bigcode", "gpt_neo")


def written(lm: LM, wanted: Sequence[Wanted], joining: Callable[[], int]) -> list[str]:
    """The texts of all rows; before every step `joining()` more of them are admitted."""
    decoder, rows = Decoder(lm), [Row.of(lm, one) for one in wanted]
    texts, waiting = dict.fromkeys(rows, ""), list(rows)
    while waiting or decoder.rows:
        count = joining()
        new, waiting = waiting[:count], waiting[count:]
        pieces = decoder.admit(new) if new else []
        pieces += decoder.step() if decoder.rows else []
        for row, text in pieces:
            texts[row] += text
        assert all(row.finish is None for row in decoder.rows)
    return [texts[row] for row in rows]


def wanted(lm: LM, prompts: Sequence[str], tokens: Sequence[int], **options: object) -> list[Wanted]:
    return [
        Wanted(tuple(ids), n, **options)  # type: ignore[arg-type]
        for ids, n in zip(encode_prompts(lm, prompts), tokens, strict=True)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_generate(tiny: Callable[..., LM], family: str) -> None:
    """All at once, one by one, and some now and then, so that every row has longer and shorter neighbours."""
    lm, dice = tiny(family), random.Random(1)
    prompts = [dice.choice(MIXED) for _ in range(12)]
    tokens = [dice.randint(1, 12) for _ in prompts]
    alone = [generate(lm, [p], max_new_tokens=n)[0] for p, n in zip(prompts, tokens, strict=True)]
    rows = wanted(lm, prompts, tokens)
    for joining in (lambda: 99, lambda: 1, lambda: dice.randint(0, 2)):
        assert written(lm, rows, joining) == alone


def test_a_chat_model_ends_its_turn(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama", bos=True, chat=TEMPLATE)
    end = lm.tokenizer.convert_tokens_to_ids("<|end|>")
    with biased(lm, end, after=3):
        # The bias counts calls, so one row only.
        assert written(lm, wanted(lm, MIXED[1:2], [9]), lambda: 9) == generate(
            lm, MIXED[1:2], max_new_tokens=3
        )


def test_rows_that_nobody_waits_for_leave_and_disturb_nobody(tiny: Callable[..., LM]) -> None:
    lm = tiny("qwen3-windowed")
    decoder, rows = Decoder(lm), [Row.of(lm, one) for one in wanted(lm, MIXED, [8] * 5)]
    texts = dict.fromkeys(rows, "")
    for row, text in decoder.admit(rows):
        texts[row] += text
    longest = max(rows, key=lambda row: len(row.wanted.prompt))
    decoder.drop([longest, rows[0]])
    assert len(decoder.rows) == 3
    while decoder.rows:
        for row, text in decoder.step():
            texts[row] += text
    alone = generate(lm, MIXED, max_new_tokens=8)
    kept = [row for row in rows if row not in (longest, rows[0])]
    assert [texts[row] for row in kept] == [alone[rows.index(row)] for row in kept]


def test_columns_that_no_row_needs_are_forgotten(tiny: Callable[..., LM]) -> None:
    """Or a batch that never empties would grow beyond the model's context."""
    lm = tiny("gemma3_text")
    decoder = Decoder(lm)
    prompts = encode(lm, [MIXED[3], *["The capital"] * 40])
    decoder.admit([Row.of(lm, Wanted(tuple(prompts[0]), 2))])
    for ids in prompts[1:]:
        decoder.admit([Row.of(lm, Wanted(tuple(ids), 4))])
        decoder.step()
        assert decoder._mask is not None
        longest = max(len(row.wanted.prompt) + row.written for row in decoder.rows)
        assert decoder._mask.shape[1] <= longest
    assert len(decoder.rows) > 1


def test_a_seed_gives_the_same_answer_alone_and_in_company(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    sampled = wanted(lm, MIXED * 2, [10] * 10, sampling=Sampling(1.0, 0.9, 3))
    apart = [written(lm, [one], lambda: 1)[0] for one in sampled]
    assert written(lm, sampled, lambda: 3) == apart
    assert apart[:5] == apart[5:]
    other = wanted(lm, MIXED, [10] * 5, sampling=Sampling(1.0, 0.9, 4))
    assert written(lm, other, lambda: 9) != apart[:5]


def test_what_an_answer_begins_with_is_part_of_it(taught_llama: LM) -> None:
    """And the model goes on behind it as if it had said so itself."""
    lm, prompt = taught_llama, "The capital of Zorland is"
    begin = tuple(continuation(lm, prompt, " Kelto"))
    (ids,) = encode(lm, [prompt])
    (went_on,) = generate(lm, [prompt + " Kelto"], max_new_tokens=4)
    one = Wanted(tuple(ids), len(begin) + 4, begin=begin)
    assert written(lm, [one], lambda: 1) == [" Kelto" + went_on]
    row = Row.of(lm, Wanted(tuple(ids), len(begin), begin=begin))
    assert Decoder(lm).admit([row]) == [(row, " Kelto")]
    assert (row.finish, row.written) == ("length", len(begin))
    stopped = Row.of(lm, Wanted(tuple(ids), 20, begin=begin, stops=("lto",)))
    assert Decoder(lm).admit([stopped]) == [(stopped, " Ke")]
    assert stopped.finish == "stop"


def test_stop_strings_and_limits_are_each_rows_own(taught_llama: LM) -> None:
    lm, prompt = taught_llama, "The capital of Zorland is"
    (ids,) = encode(lm, [prompt])
    (whole,) = generate(lm, [prompt], max_new_tokens=12)
    assert whole.startswith(" Mipa.")
    rows = [
        Wanted(tuple(ids), 12), Wanted(tuple(ids), 1), Wanted(tuple(ids), 12, stops=("pa.",)),
        Wanted(tuple(ids), 12, stops=("nowhere",)), Wanted(tuple(ids), 12, stripped=True),
    ]  # fmt: skip
    assert written(lm, rows, lambda: 9) == [
        whole, generate(lm, [prompt], max_new_tokens=1)[0], " Mi", whole, whole.lstrip(),
    ]  # fmt: skip


def test_why_an_answer_ended(taught_llama: LM) -> None:
    lm = taught_llama
    (ids,) = encode(lm, ["The capital of Zorland is"])
    for one, finish in (
        (Wanted(tuple(ids), 1), "length"), (Wanted(tuple(ids), 50, stops=(".",)), "stop"),
    ):  # fmt: skip
        decoder, row = Decoder(lm), Row.of(lm, one)
        decoder.admit([row])
        while decoder.rows:
            decoder.step()
        assert row.finish == finish
        assert row.written <= one.max_new_tokens


def test_after_a_failure_it_begins_anew(tiny: Callable[..., LM], monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("llama")
    decoder = Decoder(lm)
    decoder.admit([Row.of(lm, one) for one in wanted(lm, MIXED, [5] * 5)])

    def failing(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(lm.model, "forward", failing)
        with pytest.raises(torch.OutOfMemoryError):
            decoder.step()
    decoder.clear()
    assert written(lm, wanted(lm, MIXED, [5] * 5), lambda: 9) == generate(lm, MIXED, max_new_tokens=5)


def test_a_row_needs_something_to_begin_behind(tiny: Callable[..., LM]) -> None:
    for one in (Wanted((), 3), Wanted((1,), 0)):
        with pytest.raises(ValueError):
            Row.of(tiny("llama"), one)


@pytest.mark.parametrize(
    ("family", "context"), [("llama", 128), ("gpt2", 128), ("bloom", 2048), ("gemma3", 128)]
)
def test_how_far_a_model_looks_back(tiny: Callable[..., LM], family: str, context: int) -> None:
    assert context_of(tiny(family)) == context
