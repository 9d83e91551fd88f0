"""EasyEdit's side: `python -m benchmarks.versus.easyedit JOB OUT` measures one job in this process.

Its code is imported from the checkout that the user names; nothing of it is here. Only the modules of ROME, MEMIT and AlphaEdit are
imported: the packages above them pull in timm, torchvision and a dozen more, so bare package modules stand in their place and their
`__init__` does not run. `datasets.load_dataset` gives the texts of the job instead of Wikipedia, and where matplotlib is missing an
empty module takes its place (one file imports a name from it that it never uses). All this holds in this process only.

Before the clock runs one edit is made, which fills its caches: context templates, statistics, inverse, projection.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from tokenizers import Tokenizer

from agent.lm.arch import down_name
from agent.lm.load import LM, load_lm
from agent.lm.tokens import subject_end
from agent.types import EditRequest
from benchmarks.edits import answers, scores
from benchmarks.versus.job import (
    Clock,
    EditSet,
    Job,
    outcome,
    read_edits,
    read_job,
    read_texts,
    write_outcome,
)
from benchmarks.versus.memory import peak, reset_peak, resident, touch
from benchmarks.versus.settings import Method, PeerSettings, with_changes

# Where its own files for the family say that things are.
_NAMES = {
    "transformer.h": {
        "layer_module_tmp": "transformer.h.{}",
        "mlp_module_tmp": "transformer.h.{}.mlp",
        "attn_module_tmp": "transformer.h.{}.attn",
        "ln_f_module": "transformer.ln_f",
    },
    "model.layers": {
        "layer_module_tmp": "model.layers.{}",
        "mlp_module_tmp": "model.layers.{}.mlp",
        "attn_module_tmp": "model.layers.{}.self_attn",
        "ln_f_module": "model.norm",
    },
}
# It looks for these words in the model's name to know which side of a weight is which.
_KNOWN_AS = {"transformer.h": "gpt2-xl", "model.layers": "llama"}
_PROJECTION = "null_space_project.pt"
_MAIN = {
    "rome": ("rome.rome_main", "ROMEHyperParams", "apply_rome_to_model"),
    "memit": ("memit.memit_main", "MEMITHyperParams", "apply_memit_to_model"),
    "alphaedit": ("alphaedit.AlphaEdit_main", "AlphaEditHyperParams", "apply_AlphaEdit_to_model"),
}


class Peer:
    """The imported modules of one checkout, with one model."""

    def __init__(self, checkout: Path, lm: LM, texts: Sequence[str], work: Path) -> None:
        self.lm, self.work, self.samples = lm, work, len(texts)
        stand_in(checkout, texts)
        lm.tokenizer.padding_side = "right"  # as its editor sets it for these three
        keep_spaces(lm.tokenizer)
        # Of any other name it cuts the attention mask of its generator short, and the sampled contexts are no sentences.
        lm.model.name_or_path = "llama"
        os.chdir(work)  # its projection goes to a file of a fixed name there

    def module(self, name: str) -> ModuleType:
        return importlib.import_module(f"easyeditor.models.{name}")

    def hparams(self, method: Method, settings: PeerSettings) -> Any:
        """Its dataclass of hyperparameters, for the CPU."""
        module, record, _ = _MAIN[method]
        values = asdict(settings) | {
            **_NAMES[self.lm.arch.layers],
            "layers": list(settings.layers),
            "rewrite_module_tmp": f"{self.lm.arch.layers}.{{}}.{self.lm.arch.down}",
            "lm_head_module": output_name(self.lm),
            "v_loss_layer": self.lm.n_layers - 1,
            "context_template_length_params": [[5, settings.templates // 2], [10, settings.templates // 2]],
            "fact_token": "subject_last",
            "layer_selection": "all",
            "mom2_dataset": "wikipedia",
            "mom2_n_samples": self.samples,
            "mom2_dtype": "float32",
            "alg_name": method,
            "device": "cpu",
            "model_name": _KNOWN_AS[self.lm.arch.layers],
            "stats_dir": str(self.work / "stats"),
            "P_loc": _PROJECTION,
        }
        cls = getattr(self.module(module), record)
        return cls(**{name: values[name] for name in values if name in cls.__dataclass_fields__})

    def apply(self, method: Method, hparams: Any, rows: list[dict[str, str]], **options: Any) -> None:
        """Write the edits into the model."""
        module, _, function = _MAIN[method]
        getattr(self.module(module), function)(
            self.lm.model, self.lm.tokenizer, rows, hparams, return_orig_weights=True, **options
        )

    def statistics(self, layer: int) -> torch.Tensor:
        """Second moment of a layer's keys; computed, or read from its cache file."""
        name = down_name(self.lm.arch, layer).removesuffix(".weight")
        stat = self.module("rome.layer_stats").layer_stats(
            self.lm.model, self.lm.tokenizer, name, str(self.work / "stats"), "wikipedia", ["mom2"],
            sample_size=self.samples, precision="float32", hparams=self.hparams("memit", PeerSettings(())),
        )  # fmt: skip
        moment: torch.Tensor = stat.mom2.moment()
        return moment


def stand_in(checkout: Path, texts: Sequence[str]) -> None:
    """Make `easyeditor.models.*` of the checkout importable without its packages' `__init__`, reading `texts` as its data set."""
    root = checkout / "easyeditor"
    for name, folder in (("easyeditor", root), ("easyeditor.models", root / "models")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    datasets = ModuleType("datasets")
    datasets.load_dataset = lambda *_: {"train": [{"text": text} for text in texts]}  # type: ignore[attr-defined]
    sys.modules["datasets"] = datasets
    if importlib.util.find_spec("matplotlib") is None:
        style = ModuleType("matplotlib.style")
        style.context = None  # type: ignore[attr-defined]
        sys.modules |= {"matplotlib": ModuleType("matplotlib"), "matplotlib.style": style}


def keep_spaces(tokenizer: Any) -> None:
    """Its prompts go on with the decoded target: a decoder that strips the first space (as the pocket model's, and Llama 2's) would
    glue it to the last word. Only decoding changes; what its contexts, targets and prompts are in tokens is as for us.
    """
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    steps = (described["decoder"] or {}).get("decoders", [])
    if any(step["type"] == "Strip" for step in steps):
        described["decoder"]["decoders"] = [step for step in steps if step["type"] != "Strip"]
        tokenizer.backend_tokenizer.decoder = Tokenizer.from_str(json.dumps(described)).decoder


def output_name(lm: LM) -> str:
    """The module that it reads the output weight from by name: tied weights have the embedding's."""
    weight = lm.model.get_output_embeddings().weight
    name: str = next(n for n, p in lm.model.named_parameters() if p is weight)
    return name.removesuffix(".weight")


def as_row(number: int, request: EditRequest) -> dict[str, str]:
    """One fact as it takes it: the first prompt, with `{}` where the subject is."""
    end = subject_end(request.prompt, request.subject)
    prompt = f"{request.prompt[: end - len(request.subject)]}{{}}{request.prompt[end:]}"
    return {"case_id": str(number), "prompt": prompt, "subject": request.subject, "target_new": request.target_new}  # fmt: skip


class Weights:
    """A copy of everything that an edit may change."""

    def __init__(self, lm: LM) -> None:
        self.model = lm.model
        names = [down_name(lm.arch, layer) for layer in range(lm.n_layers)]
        self.saved = {name: lm.model.get_parameter(name).detach().clone() for name in names}

    def restore(self) -> None:
        with torch.no_grad():
            for name, tensor in self.saved.items():
                self.model.get_parameter(name).copy_(tensor)


def measure(job: Job) -> dict[str, Any]:
    """Run the job's task. Raises what EasyEdit raises."""
    lm = load_lm(job.model, dtype="float32", device="cpu")
    if lm.arch.layers not in _NAMES:
        raise SystemExit(
            f"EasyEdit's names for the modules of a {lm.model.config.model_type} are not known here"
        )
    peer = Peer(Path(job.easyedit), lm, read_texts(Path(job.texts)), Path(job.work))
    weights = Weights(lm)
    touch(lm.model)
    base = resident()
    if job.task == "statistics":
        return _statistics(peer, job, base)
    edits = read_edits(Path(job.edits))
    if job.task == "tune":
        return {"rows": [_tried(peer, weights, edits, job.peer, dict(changes)) for changes in job.grid]}
    return _edits(peer, weights, edits, job, base)


def _statistics(peer: Peer, job: Job, base: float) -> dict[str, Any]:
    clock = Clock()
    importlib.import_module("easyeditor.models.rome.layer_stats")
    reset_peak()
    with clock.running():
        found = {layer: peer.statistics(layer) for layer in job.layers}
    traces = {str(layer): float(c.trace()) for layer, c in found.items()}
    return outcome(clock.seconds, base, peak(), {}) | {"traces": traces}


def _edits(peer: Peer, weights: Weights, edits: EditSet, job: Job, base: float) -> dict[str, Any]:
    """ROME: one edit after the other, each timed on the unedited model, then in sequence for the scores. Else all at once."""
    method: Method = job.task  # type: ignore[assignment]
    hparams = peer.hparams(method, job.peer)
    rows = [as_row(number, request) for number, request in enumerate(edits.requests)]
    options = {"reset_cache": True} if method == "alphaedit" else {}
    batches = [[row] for row in rows] if method == "rome" else [rows]
    peer.apply(method, hparams, rows[:1], **options)
    weights.restore()
    reset_peak()
    clock = Clock()
    for batch in batches:
        with clock.running():
            peer.apply(method, hparams, batch, **options)
        if len(batches) > 1:
            weights.restore()
    highest = peak()
    if len(batches) > 1 and edits.asks:
        for batch in batches:
            peer.apply(method, hparams, batch)
    quality = scores(edits.asks, edits.before, answers(peer.lm, edits.asks)) if edits.asks else {}
    return outcome(clock.seconds, base, highest, quality)


def _tried(
    peer: Peer, weights: Weights, edits: EditSet, settings: PeerSettings, changes: dict[str, str]
) -> dict[str, Any]:
    """Scores with some hyperparameters changed. Values that were optimised once are read from its own cache."""
    method: Method = changes.pop("method")  # type: ignore[assignment]
    settings = with_changes(settings, method, changes)
    hparams = peer.hparams(method, settings)
    rows = [as_row(number, request) for number, request in enumerate(edits.requests)]
    (peer.work / _PROJECTION).unlink(missing_ok=True)  # or it would go on with that of another threshold
    clock = Clock()
    with clock.running():
        if method == "rome":
            for row in rows:
                peer.apply(method, hparams, [row])
        else:
            cache = peer.work / "z" / f"{settings.v_lr}-{{}}-{{}}-{{}}.npz"
            options = {"reset_cache": True} if method == "alphaedit" else {}
            peer.apply(method, hparams, rows, cache_template=str(cache), **options)
    quality = scores(edits.asks, edits.before, answers(peer.lm, edits.asks))
    weights.restore()
    return {"method": method, "changes": changes, "seconds": clock.seconds[0], "quality": quality}


def main() -> None:
    job, out = (Path(a).absolute() for a in sys.argv[1:3])
    torch.manual_seed(0)
    write_outcome(out, measure(read_job(job)))


if __name__ == "__main__":
    main()
