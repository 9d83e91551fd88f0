"""What the model says of itself: greedy free generation, batched, in a fixed order so that the same call
gives the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

import torch

from agent.lm.load import LM
from agent.lm.tokens import by_length, encode, encode_prompts, encode_targets, pad_id, pad_left

Progress = Callable[[int, int], None]


def generate(
    lm: LM,
    prompts: Sequence[str],
    *,
    leads: Sequence[str] = (),
    max_new_tokens: int = 12,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> list[str]:
    """The greedy continuation of each prompt as text, special tokens removed: of a chat model its turn, up to the turn's end.
    `leads[i]`, where it is not empty, is what answer i begins with; the model goes on from there. `progress(done, total)` is called
    per batch.
    """
    begun = _begun(lm, leads) or [[] for _ in prompts]
    rows = [[*row, *lead] for row, lead in zip(encode_prompts(lm, prompts), begun, strict=True)]
    stops, done = _stops(lm), 0
    answers = [""] * len(rows)
    for new in _continued(lm, rows, max_new_tokens, batch_size):
        for index, ids in new.items():
            said = [*begun[index], *takewhile(lambda token: token not in stops, ids)]
            answers[index] = str(lm.tokenizer.decode(said, skip_special_tokens=True))
        done += len(new)
        if progress:
            progress(done, len(rows))
    return answers


def _begun(lm: LM, leads: Sequence[str]) -> list[list[int]]:
    return [ids if lead else [] for lead, ids in zip(leads, encode_targets(lm, leads), strict=True)]


def greedy(lm: LM, prompts: Sequence[str], *, max_new_tokens: int, batch_size: int = 64) -> list[list[int]]:
    """Token ids of the greedy continuation of each prompt as they come: with what ends it, and padding behind that."""
    found: dict[int, list[int]] = {}
    for new in _continued(lm, encode_prompts(lm, prompts), max_new_tokens, batch_size):
        found.update(new)
    return [found[index] for index in range(len(prompts))]


def _continued(
    lm: LM, rows: Sequence[Sequence[int]], max_new_tokens: int, batch_size: int
) -> Iterator[dict[int, list[int]]]:
    """Batch by batch, the new token ids of each row by its index."""
    for indices in by_length([len(row) for row in rows], batch_size):
        new = _new_tokens(lm, [rows[i] for i in indices], max_new_tokens)
        yield dict(zip(indices, new, strict=True))


def _new_tokens(lm: LM, rows: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
    batch, stops = pad_left(lm, rows), _stops(lm)
    with torch.inference_mode():
        out = lm.model.generate(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            pad_token_id=pad_id(lm),
            **({"eos_token_id": stops} if stops else {}),
        )
    new: list[list[int]] = out[:, batch.input_ids.shape[1] :].tolist()
    return new


def _stops(lm: LM) -> list[int]:
    """What ends a chat model's turn besides what ends any text of it; empty for plain text, which transformers ends by itself."""
    return sorted(end_tokens(lm)) if lm.chat is not None and lm.chat.stops else []


def end_tokens(lm: LM) -> frozenset[int]:
    """The tokens behind which nothing is written: those of the model's own settings, and of a chat model the end of its turn."""
    own = getattr(lm.model.generation_config, "eos_token_id", None)
    ends = own if isinstance(own, list) else [] if own is None else [own]
    return frozenset(ends) | frozenset(lm.chat.stops if lm.chat is not None else ())


def sample(lm: LM, prompts: Sequence[str], *, max_new_tokens: int, seed: int, top_k: int = 50) -> list[str]:
    """One sampled continuation of each prompt, prompt included; the same seed gives the same text. Raw text, also of a chat model: what
    it writes when nobody asks.
    """
    if not prompts:
        return []
    generator = torch.Generator(device="cpu").manual_seed(seed)
    batch = pad_left(lm, encode(lm, prompts))
    cache = None
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            unread = (
                slice(None) if cache is None else slice(-1, None)
            )  # the cache holds all but the newest token
            inputs = batch.model_inputs
            out = lm.model(
                input_ids=inputs["input_ids"][:, unread],
                position_ids=inputs["position_ids"][:, unread],
                attention_mask=batch.attention_mask,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = out.past_key_values
            batch = batch.plus(_draw(out.logits[:, -1].float().cpu(), top_k, generator))
    rows = [ids[mask.bool()] for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)]
    return [str(lm.tokenizer.decode(row, skip_special_tokens=True)) for row in rows]


def _draw(logits: torch.Tensor, top_k: int, generator: torch.Generator) -> torch.Tensor:
    """(rows, vocab) -> (rows, 1): one token of each row's likeliest `top_k`."""
    values, ids = logits.topk(min(top_k, logits.shape[-1]), dim=-1)
    return ids.gather(1, torch.multinomial(values.softmax(-1), 1, generator=generator))
