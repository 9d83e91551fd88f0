"""What the key statistics of several layers cost: one pass for all of them, and the ways of the reference implementations.

    python -m benchmarks.statistics MODEL [--layers 4-8] [--tokens N] [--dtype NAME] [--json FILE]
    python -m benchmarks.statistics --width 512 --depth 8      a random Llama of these sizes, made on the spot
    python -m benchmarks.statistics --quick                    a tiny one

Every way reads the same windows of random tokens, and all must come to the same matrices (the relative error against the last way is told).

    ours           all layers in one pass that ends at the last of them, float32 products, float64 sums
    per layer      memit's and EasyEdit's layer_stats: one pass a layer that ends there, products and sums in float32
    ... float64    the same in float64, the default of that function
    full, float64  the same without an end: the whole model, with its logits
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from agent.editing.corpus import Rows
from agent.editing.covariance import Amount, key_statistics
from agent.editing.layers import default_layers
from agent.lm.arch import as_out_in, down_module
from agent.lm.hooks import capture, truncated
from agent.lm.load import LM, load_lm, wrap
from agent.lm.tokens import pad_left

Tensor = torch.Tensor
Matrices = Mapping[int, Tensor]
_CHUNK = 64


def random_llama(width: int, depth: int, vocab: int) -> LM:
    """Llama's proportions: an MLP of 8/3 of the width, heads of 64."""
    torch.manual_seed(0)
    heads = max(1, width // 64)
    config = AutoConfig.for_model(
        "llama", vocab_size=vocab, hidden_size=width, intermediate_size=width * 8 // 3, num_hidden_layers=depth,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=1024,
    )  # fmt: skip
    tokenizer_class: Any = PreTrainedTokenizerFast
    model_class: Any = AutoModelForCausalLM
    words = Tokenizer(models.WordLevel({"a": 0}, "a"))
    return wrap(
        model_class.from_config(config), tokenizer_class(tokenizer_object=words, eos_token="a"), sha="0" * 64
    )


def random_rows(vocab: int, tokens: int, length: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    rows: list[list[int]] = torch.randint(
        vocab, (max(1, tokens // length), length), generator=generator
    ).tolist()
    return rows


def ours(lm: LM, rows: Sequence[list[int]], layers: Sequence[int]) -> Matrices:
    def chunks(start: int) -> Any:
        return (rows[i : i + _CHUNK] for i in range(start * _CHUNK, len(rows), _CHUNK))

    return key_statistics(lm, Rows("random", chunks), layers, Amount(1, None)).matrices


def per_layer(
    lm: LM, rows: Sequence[list[int]], layers: Sequence[int], *, dtype: torch.dtype, full: bool
) -> Matrices:
    """One pass a layer, written from the description of the method: three windows a batch, the mean of k kᵀ in `dtype`."""
    found = {}
    for layer in layers:
        down = down_module(lm.model, lm.arch, layer)
        d_in = as_out_in(down).shape[1]
        total, count = torch.zeros(d_in, d_in, dtype=dtype, device=lm.device), 0
        for start in range(0, len(rows), 3):
            batch = pad_left(lm, rows[start : start + 3])
            with torch.inference_mode(), capture(down, "input") as seen:
                if full:
                    lm.model(**batch.model_inputs, use_cache=False)
                else:
                    with truncated(lm, layer):
                        lm.model(**batch.model_inputs, use_cache=False, logits_to_keep=1)
            keys = seen[0].flatten(0, -2).to(dtype)
            total += keys.T @ keys
            count += len(keys)
        found[layer] = (total / count).cpu()
    return found


WAYS: Mapping[str, Callable[[LM, Sequence[list[int]], Sequence[int]], Matrices]] = {
    "ours": ours,
    "per layer": lambda lm, rows, layers: per_layer(lm, rows, layers, dtype=torch.float32, full=False),
    "per layer, float64": lambda lm, rows, layers: per_layer(lm, rows, layers, dtype=torch.float64, full=False),
    "full, float64": lambda lm, rows, layers: per_layer(lm, rows, layers, dtype=torch.float64, full=True),
}  # fmt: skip


def compare(lm: LM, layers: Sequence[int], tokens: int, length: int) -> dict[str, Any]:
    """Seconds, tokens a second and relative error of every way; how many times ours is faster."""
    rows = random_rows(lm.model.config.vocab_size, tokens, length)
    read = sum(map(len, rows))
    seconds: dict[str, float] = {}
    found: dict[str, Matrices] = {}
    ours(lm, rows[:1], layers)  # whatever the first call brings with it
    for name, way in WAYS.items():
        started = time.perf_counter()
        found[name] = way(lm, rows, layers)
        seconds[name] = time.perf_counter() - started
    exact = found["full, float64"]
    return {
        "layers": list(layers), "d_in": len(exact[layers[0]]), "tokens": read, "window": length,
        "dtype": str(next(lm.model.parameters()).dtype), "device": lm.device.type, "threads": torch.get_num_threads(),
        "ways": {
            name: {
                "seconds": round(seconds[name], 3),
                "tokens_per_s": round(read / seconds[name], 1),
                "ours_is_faster": round(seconds[name] / seconds["ours"], 2),
                "relative_error": max(_error(matrices[n], exact[n]) for n in layers),
            }
            for name, matrices in found.items()
        },
    }  # fmt: skip


def _error(matrix: Tensor, exact: Tensor) -> float:
    return float((matrix.double() - exact.double()).norm() / exact.double().norm())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="a checkpoint folder or hub id; else one is made")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--vocab", type=int, default=32000)
    parser.add_argument("--layers", help="4-8; else the published span of the model's depth, five at least")
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--length", type=int, default=256, help="tokens of a window")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few tokens")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.width, arguments.depth, arguments.vocab, arguments.tokens = 128, 8, 2000, 4096
    lm = (
        load_lm(arguments.model, dtype=arguments.dtype)
        if arguments.model
        else random_llama(arguments.width, arguments.depth, arguments.vocab)
    )
    first = default_layers(lm)[0]
    layers = range(first, min(first + 5, lm.n_layers))
    if arguments.layers:
        low, _, high = arguments.layers.partition("-")
        layers = range(int(low), int(high or low) + 1)
    result = compare(lm, list(layers), arguments.tokens, arguments.length)
    print(
        f"{result['tokens']} tokens, layers {result['layers']}, keys of {result['d_in']}, {result['dtype']}"
    )
    for name, way in result["ways"].items():
        print(
            f"{name:<20} {way['seconds']:>9.2f} s {way['tokens_per_s']:>10.0f} tokens/s "
            f"{way['ours_is_faster']:>7.2f} x   error {way['relative_error']:.1e}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
