"""Files that run code, fill the memory or reach out when they are loaded by who trusts them."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy
import torch


class _Runs:
    """Unpickled, it makes a file: proof that code of a stranger ran."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[str, int]]:
        return os.open, (str(self.proof), os.O_CREAT | os.O_WRONLY)


def content(kind: str, weights: Path, proof: Path) -> bytes:
    """The bytes of a file of that kind. `weights`: sound ones in safetensors; `proof`: the file that code would make."""
    code = pickle.dumps(_Runs(proof))
    match kind:
        case "weights":
            return weights.read_bytes()
        case "empty":
            return b""
        case "pickle":
            return code
        case "torch":
            return _saved({"weight": torch.zeros(2), "x": _Runs(proof)})
        case "bin index":
            return _index({"lm_head.weight": "pytorch_model-00001-of-00001.bin"})
        case "index to pickle":
            return _index(dict.fromkeys(_names(weights), "weights.bin"))
        case "index upwards":
            return _index(dict.fromkeys(_names(weights), f"../{weights.parent.name}/{weights.name}"))
        case "huge header":
            return struct.pack("<Q", (1 << 63) - 1) + b"{}"
        case "broken header":
            return struct.pack("<Q", 8) + b"{{{{{{{{"
        case "beyond":
            return _header(
                {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, b"\0" * 8
            )
        case "overlap":
            one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
            return _header({"a": one, "b": one}, b"\0" * 8)
        case "code":
            return f"import os\nos.open({str(proof)!r}, os.O_CREAT | os.O_WRONLY)\n".encode()
        case "auto_map":
            config = json.loads((weights.parent / "config.json").read_text())
            auto = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
            return json.dumps({**config, "model_type": "evil", "auto_map": auto}).encode()
        case "tokenizer auto_map":
            config = json.loads((weights.parent / "tokenizer_config.json").read_text())
            auto = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
            return json.dumps({**config, "auto_map": auto}).encode()
        case "escape":
            return f"{{{{ cycler.__init__.__globals__.os.open('{proof}', 65) }}}}".encode()
        case "endless":
            return b"{% for i in range(1000000000) %}x{% endfor %}"
    return _npz(kind, proof)


def _saved(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _names(weights: Path) -> list[str]:
    data = weights.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return [name for name in json.loads(data[8 : 8 + size]) if name != "__metadata__"]


def _index(weight_map: dict[str, str]) -> bytes:
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()


def _header(entries: dict[str, Any], data: bytes) -> bytes:
    head = json.dumps(entries).encode()
    return struct.pack("<Q", len(head)) + head + data


def _npz(kind: str, proof: Path) -> bytes:
    stream = io.BytesIO()
    if kind == "object array":
        objects = numpy.array([_Runs(proof)], dtype=object)
        numpy.savez(stream, **{"mom2.mom2": objects, "mom2.count": objects})
        return stream.getvalue()
    shape = (1 << 20, 1 << 20) if kind == "huge shape" else (128, 128)
    head = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    numpy.lib.format.write_array_header_1_0(head, described)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        member = pickle.dumps(_Runs(proof)) if kind == "pickled member" else head.getvalue()
        archive.writestr("mom2.mom2.npy", member + (b"\0" * (256 << 20) if kind == "bomb" else b""))
        archive.writestr("mom2.count.npy", member if kind != "bomb" else member + b"\0" * (256 << 20))
    return stream.getvalue()
