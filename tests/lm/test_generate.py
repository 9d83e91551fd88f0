"""Free generation does not depend on the batch, and is greedy whatever the checkpoint's own settings say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agent.lm.generate import generate, sample
from agent.lm.load import LM
from agent.lm.tokens import encode, encode_prompts, encode_target
from tests.models import build, questions

LONG = "Tallisk's leader is Quill. Merovia's leader is Stroud. " * 2 + "The capital of Zorland is"
MIXED = ["X", "The capital of Zorland is", "Quenia's leader is", LONG, "Ostrina"]
WINDOWED = {"use_sliding_window": True, "sliding_window": 3,
            "layer_types": ["sliding_attention", "full_attention"] * 2}  # fmt: skip


def greedy(lm: LM, prompt: str, tokens: int) -> str:
    """The definition: the likeliest token, then again; no padding, no cache."""
    ids = encode(lm, [prompt])[0]
    new: list[int] = []
    with torch.no_grad():
        for _ in range(tokens):
            new.append(int(lm.model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
            if new[-1] == lm.tokenizer.eos_token_id:
                break
    return str(lm.tokenizer.decode(new, skip_special_tokens=True))


@pytest.mark.parametrize(("family", "options"), [
    ("gpt2", {}), ("llama", {"bos": True}), ("gptj", {}), ("qwen3", WINDOWED), ("bloom", {}), ("gemma3_text",
    {}),
])  # fmt: skip
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_generation_is_greedy_decoding(family: str, options: dict[str, object], batch_size: int) -> None:
    lm = build(family, **options)
    assert generate(lm, MIXED, max_new_tokens=8, batch_size=batch_size) == [greedy(lm, p, 8) for p in MIXED]


def test_a_sliding_window_is_really_there() -> None:
    windowed, plain = build("qwen3", **WINDOWED), build("qwen3")
    plain.model.load_state_dict(windowed.model.state_dict())
    assert generate(windowed, MIXED, max_new_tokens=8) != generate(plain, MIXED, max_new_tokens=8)


def test_the_checkpoints_sampling_settings_are_not_used() -> None:
    lm = build("llama")
    wanted = generate(lm, MIXED, max_new_tokens=8)
    settings = lm.model.generation_config
    settings.do_sample, settings.temperature, settings.repetition_penalty, settings.top_k = True, 5.0, 3.0, 4
    assert generate(lm, MIXED, max_new_tokens=8) == wanted


def test_a_taught_model_says_what_it_was_taught(taught: LM) -> None:
    pairs = questions()
    answers = generate(taught, [prompt for prompt, _ in pairs], max_new_tokens=6)
    assert all(a.strip().startswith(answer + ".") for a, (_, answer) in zip(answers, pairs, strict=True))


def test_progress_counts_every_prompt(tiny: Callable[..., LM]) -> None:
    seen: list[tuple[int, int]] = []
    generate(
        tiny("llama"),
        MIXED,
        max_new_tokens=1,
        batch_size=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert generate(tiny("llama"), []) == []


def test_sampling_leaves_the_global_generator_alone(tiny: Callable[..., LM]) -> None:
    lm = tiny("gpt2")
    before = torch.get_rng_state()
    sample(lm, ["The"], max_new_tokens=3, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_an_answer_can_be_begun_for_the_model(taught: LM) -> None:
    """It goes on as if it had said so itself, and other rows of the batch are not concerned."""
    prompt, other = "The capital of Zorland is", "Quenia's leader is"
    free = generate(taught, [prompt, other], max_new_tokens=8)
    begun = generate(taught, [prompt, other], leads=["Stroud", ""], max_new_tokens=8)
    assert begun[0].startswith(" Stroud")
    assert begun[1] == free[1]
    ids = [*encode_prompts(taught, [prompt])[0], *encode_target(taught, "Stroud")]
    said = taught.tokenizer.decode(ids, skip_special_tokens=True)
    assert begun[0] == " Stroud" + generate(taught, [said], max_new_tokens=8)[0]
