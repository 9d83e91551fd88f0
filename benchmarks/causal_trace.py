"""Where the pocket model recalls its facts: ROME's causal tracing (2202.05262, section 2), drawn as a heat map.

    python -m benchmarks.causal_trace MODEL [--facts 120] [--png docs/causal-trace.png] [--json FILE]

The subject's embeddings are corrupted with noise of three times their spread; then the clean state of one layer at one group of tokens is
put back. Shown is how much of the lost probability of the right object's first token comes back (average indirect effect, 0 to 1).
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy
import torch

from agent.catalogue import load_catalogue
from agent.lm.arch import decoder_layers
from agent.lm.generate import generate
from agent.lm.hooks import capture_all, edit_output
from agent.lm.load import LM, load_lm
from agent.lm.tokens import SubjectRows, encode_target, subject_rows
from agent.paths import WORLD, data_file
from agent.relations import load_relations

GROUPS = ("subject, first", "subject, last", "behind the subject", "last token")
_NOISE = 3.0
_SAMPLES = 4


def known_prompts(lm: LM, count: int, seed: int) -> list[tuple[str, str, str]]:
    """(prompt, subject, object) of facts that the model answers right, over all relations."""
    catalogue = load_catalogue([WORLD])
    relations = load_relations(data_file("relations.yaml"))
    rows = []
    for fact in catalogue.facts.values():
        for prompt in relations[fact.relation].prompts("edit", catalogue.entity(fact.subject))[:1]:
            if not prompt.endswith(fact.subject):
                rows.append((prompt, fact.subject, fact.objects[0]))
    random.Random(seed).shuffle(rows)
    rows = rows[: 3 * count]
    answers = generate(lm, [prompt for prompt, _, _ in rows], max_new_tokens=8)
    return [row for row, answer in zip(rows, answers, strict=True) if answer.strip().startswith(row[2])][
        :count
    ]


def trace(lm: LM, prompt: str, subject: str, object_: str, generator: torch.Generator) -> torch.Tensor | None:
    """(layers, groups) share of the lost probability that each restoration brings back; None where nothing was lost."""
    target = encode_target(lm, object_)[0]
    batch = subject_rows(lm, [prompt], [subject])
    groups = token_groups(lm, prompt, subject, batch)
    layers = decoder_layers(lm.model, lm.arch)
    with torch.inference_mode():
        with ExitStack() as stack:
            seen = capture_all(layers, "output", stack)
            clean = _probability(lm, batch, target)
        states = [s[0] for s in seen]
        embed = lm.model.get_input_embeddings()
        columns = groups[0] + groups[1]
        spread = float(embed.weight.float().std()) * _NOISE
        noise = torch.randn(_SAMPLES, len(columns), embed.weight.shape[1], generator=generator) * spread
        result = torch.zeros(len(layers), len(GROUPS))
        lost = 0.0
        for sample in range(_SAMPLES):

            def corrupt(x: torch.Tensor, sample: int = sample) -> torch.Tensor:
                y = x.clone()
                y[0, columns] += noise[sample].to(y)
                return y

            with edit_output(embed, corrupt):
                corrupted = _probability(lm, batch, target)
                lost += clean - corrupted
                for index, layer in enumerate(layers):
                    for number, tokens in enumerate(groups):
                        if tokens:
                            with edit_output(layer, _restore(states[index], tokens)):
                                result[index, number] += _probability(lm, batch, target) - corrupted
    return result / lost if lost > 0.2 * _SAMPLES else None


def token_groups(lm: LM, prompt: str, subject: str, batch: SubjectRows) -> list[list[int]]:
    """Columns of the subject's earlier tokens, its last one, what stands behind it, and the last token of all."""
    encoded = lm.tokenizer(prompt, return_offsets_mapping=True)
    start = prompt.rfind(subject)
    last = int(batch.positions[0])
    end = batch.input_ids.shape[1] - 1
    first = [
        i
        for i, (a, b) in enumerate(encoded["offset_mapping"])
        if b > start and a < start + len(subject) and i < last
    ]
    return [first, [last], list(range(last + 1, end)), [end] if end != last else []]


def _restore(state: torch.Tensor, tokens: Sequence[int]) -> Any:
    def put_back(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[:, list(tokens)] = state[:, list(tokens)]
        return y

    return put_back


def _probability(lm: LM, batch: SubjectRows, target: int) -> float:
    logits = lm.model(**batch.model_inputs, use_cache=False, logits_to_keep=1).logits[0, -1]
    return float(logits.float().softmax(-1)[target])


def draw(effect: torch.Tensor, path: Path, facts: int) -> None:
    """The heat map as PNG. Raises ImportError without the extra `plots`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), constrained_layout=True)
    image = axes.imshow(effect.T.numpy(), cmap="Purples", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(effect.shape[0]), [str(i) for i in range(effect.shape[0])])
    axes.set_yticks(range(len(GROUPS)), GROUPS)
    axes.set_xlabel("layer whose output is restored")
    axes.set_title(f"Share of the lost probability that comes back ({facts} facts)", fontsize=10)
    for (layer, group), value in numpy.ndenumerate(effect.numpy()):
        axes.text(
            layer,
            group,
            f"{value:.2f}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if value > 0.6 else "black",
        )
    figure.colorbar(image)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--facts", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--png", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    lm = load_lm(arguments.model, dtype="float32", chat="off")  # columns are counted in the prompt itself
    generator = torch.Generator().manual_seed(arguments.seed)
    effects = [
        e
        for row in known_prompts(lm, arguments.facts, arguments.seed)
        if (e := trace(lm, *row, generator)) is not None
    ]
    mean = torch.stack(effects).mean(0)
    print(f"{'layer':>6}" + "".join(f"{group:>20}" for group in GROUPS))
    for layer, row in enumerate(mean.tolist()):
        print(f"{layer:>6}" + "".join(f"{value:>20.3f}" for value in row))
    if arguments.png:
        draw(mean, arguments.png, len(effects))
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"facts": len(effects), "groups": GROUPS, "effect": mean.tolist()}, indent=1)
        )


if __name__ == "__main__":
    main()
