"""What the model says of itself: greedy free generation, batched, in a fixed order so that the same call gives the same words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from agent.lm.load import LM
from agent.lm.tokens import by_length, encode, pad_left

Progress = Callable[[int, int], None]


def generate(
    lm: LM, prompts: Sequence[str], *, max_new_tokens: int = 12, batch_size: int = 64, progress: Progress | None = None
) -> list[str]:
    """The greedy continuation of each prompt as text, special tokens removed. `progress(done, total)` is called per batch."""
    rows = encode(lm, prompts)
    answers = [""] * len(rows)
    done = 0
    for indices in by_length([len(row) for row in rows], batch_size):
        for index, new_ids in zip(indices, _continue(lm, [rows[i] for i in indices], max_new_tokens), strict=True):
            answers[index] = str(lm.tokenizer.decode(new_ids, skip_special_tokens=True))
        done += len(indices)
        if progress:
            progress(done, len(rows))
    return answers


def _continue(lm: LM, rows: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
    batch = pad_left(lm, rows)
    with torch.inference_mode():
        out = lm.model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=int(lm.tokenizer.pad_token_id),
        )
    new: list[list[int]] = out[:, batch.input_ids.shape[1] :].tolist()
    return new


def sample(lm: LM, prompts: Sequence[str], *, max_new_tokens: int, seed: int, top_k: int = 50) -> list[str]:
    """One sampled continuation of each prompt, prompt included; the same seed gives the same text."""
    rows = encode(lm, prompts)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    texts = list(rows)
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            batch = pad_left(lm, texts)
            logits = lm.model(**batch.model_inputs, logits_to_keep=1).logits[:, -1].float().cpu()
            values, ids = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
            picks = torch.multinomial(values.softmax(-1), 1, generator=generator)
            texts = [[*row, int(ids[i, picks[i, 0]])] for i, row in enumerate(texts)]
    return [str(lm.tokenizer.decode(row, skip_special_tokens=True)) for row in texts]
