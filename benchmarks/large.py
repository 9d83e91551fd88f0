"""What editing costs at the size that people serve: a model with random weights, in the shape of a real one.

    python -m benchmarks.large [--shape llama-3-8b] [--device cuda] [--dtype bfloat16] [--edits 100] [--json FILE]

Nothing is downloaded and nothing is learnt about quality: the weights are random. Measured are the statistics of the edited layers
(tokens a second), one ROME edit (median), MEMIT of all facts in the published layers, the answers to eight prompts a fact as the
verifier asks them, and the highest memory of each stage against the weights'.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from agent.catalogue import load_catalogue
from agent.demo.tokenizer import train_tokenizer
from agent.editing.compile import Material, compile_delta
from agent.editing.delta import applied
from agent.editing.layers import default_layers
from agent.editing.settings import EditSettings
from agent.lm.generate import generate
from agent.lm.load import LM, wrap
from agent.paths import WORLD, data_file
from agent.relations import load_relations
from benchmarks.versus.memory import peak, reset_peak, resident
from benchmarks.versus.prepare import invented_requests, told, world_corpus

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "llama-3-8b": {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                   "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256},
    "qwen2.5-1.5b": {"model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
                     "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151_936,
                     "tie_word_embeddings": True},
    "tiny": {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 8,
             "num_attention_heads": 4, "vocab_size": 5_000},
}  # fmt: skip
_VOCABULARY, _SINGLES, _PROMPTS = 4_000, 5, 8
_GIB = 1 << 30


def model_of(shape: str, device: str, dtype: str) -> LM:
    """Random weights straight on the device, in the dtype; seeded."""
    tokenizer = train_tokenizer(world_corpus(), _VOCABULARY, seed=0)
    torch.manual_seed(0)
    with torch.device(device):
        family: Any = AutoModelForCausalLM
        model = family.from_config(AutoConfig.for_model(**SHAPES[shape]), dtype=getattr(torch, dtype))
    return wrap(model, tokenizer, sha=f"random {shape} {dtype}".ljust(64, "."))


class Meter:
    """Seconds and memory of stages, on the accelerator's own counter where there is one."""

    def __init__(self, lm: LM) -> None:
        self._cuda = lm.device.type == "cuda"
        self.weights = sum(w.numel() * w.element_size() for w in lm.model.parameters())
        self.rows: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, float]]:
        """Whatever is written into the dict yielded joins the row."""
        row: dict[str, float] = {}
        base = self._start()
        started = time.perf_counter()
        yield row
        if self._cuda:
            torch.cuda.synchronize()
        row["seconds"] = time.perf_counter() - started
        row["above_gib"] = (self._peak() - base) / _GIB
        row["above_share"] = (self._peak() - base) / self.weights
        self.rows[name] = {key: round(value, 4) for key, value in row.items()}
        print(name, json.dumps(self.rows[name]), flush=True)

    def _start(self) -> float:
        if self._cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            return float(torch.cuda.memory_allocated())
        reset_peak()
        return resident() * (1 << 20)

    def _peak(self) -> float:
        return float(torch.cuda.max_memory_allocated()) if self._cuda else peak() * (1 << 20)


def measure(lm: LM, options: argparse.Namespace, cache: Path) -> Meter:
    meter = Meter(lm)
    catalogue, relations = load_catalogue([WORLD]), load_relations(data_file("relations.yaml"))
    requests = invented_requests(catalogue, relations, options.edits, 0)
    layers = default_layers(lm)
    texts = told(world_corpus(), options.texts)
    material = Material(corpus=texts, cache=cache)

    def settings(**changes: Any) -> EditSettings:
        tokens = {"statistics_tokens": options.tokens} if options.tokens else {}
        return EditSettings(**{"layers": layers, **tokens, **changes})

    seen: list[int] = []
    with meter.stage("statistics and factors") as row:
        compile_delta(lm, requests[:1], settings(steps=1), material, _tokens(seen))
        row["tokens"] = seen[-1]
    row["tokens_a_second"] = row["tokens"] / row["seconds"]
    singles = []
    with meter.stage("ROME, one edit") as row:
        for request in requests[: _SINGLES + 1]:
            started = time.perf_counter()
            compile_delta(lm, [request], settings(algorithm="rome"), material)
            singles.append(time.perf_counter() - started)
        row["median"] = statistics.median(singles[1:] or singles)  # the first warms up
    with meter.stage(f"MEMIT, {len(requests)} edits") as row:
        delta = compile_delta(lm, requests, settings(), material).delta
    row["an_edit"] = row["seconds"] / len(requests)
    prompts = [prompt for request in requests for prompt in _asked(request.prompts)]
    with meter.stage(f"{len(prompts)} answers"), applied(lm, delta):
        generate(lm, prompts, max_new_tokens=12)
    return meter


def _tokens(seen: list[int]) -> Callable[[str, int, int], None]:
    return lambda stage, done, _total: seen.append(done) if stage == "covariance" else None


def _asked(prompts: Sequence[str]) -> list[str]:
    """As many as the verifier asks of a fact: here only the amount counts."""
    return [prompts[i % len(prompts)] for i in range(_PROMPTS)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="llama-3-8b")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("bfloat16", "float32", "float16"), default="bfloat16")
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--texts", type=int, default=20_000, help="texts that the statistics may read")
    parser.add_argument(
        "--tokens", type=int, default=0, help="tokens of the statistics; 0: until they are steady"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lm = model_of(options.shape, options.device, options.dtype)
    with TemporaryDirectory(prefix="large-") as cache:
        meter = measure(lm, options, Path(cache))
    found = {
        "shape": options.shape, "dtype": options.dtype, "edits": options.edits,
        "device": torch.cuda.get_device_name() if lm.device.type == "cuda" else "cpu",
        "weights_gib": round(meter.weights / _GIB, 3), "layers": default_layers(lm), "stages": meter.rows,
    }  # fmt: skip
    print(json.dumps({key: value for key, value in found.items() if key != "stages"}))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
