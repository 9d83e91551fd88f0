"""What the solves want of a layer's statistics and what costs d³ to make: Cholesky factors and null spaces, kept on disk.

One file per matrix, named after everything it depends on. They are only a shortcut: where they cannot be read or written they are
computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from agent.editing.solve import null_space, regularised
from agent.editing.statfile import save_tensors
from agent.editing.system import Prior, cholesky
from agent.errors import EditError

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Factors:
    """Of the key covariances by layer, (d_in, d_in). `key`: what identifies those statistics. Without a `folder` nothing is kept.

    A matrix is read or made when it is asked for and kept by nobody: of a large model one fits in memory, all layers' do not.
    """

    covariance: Mapping[int, Tensor]
    key: str = ""
    folder: Path | None = None

    def prior(self, layer: int, weight: float) -> Prior:
        """lambda C + ridge, lambda = weight * d_in."""
        covariance = self.covariance

        def dense() -> Tensor:
            return regularised(covariance[layer], weight)

        def factor() -> Tensor:
            # Kept as it lies in memory, by columns: another order would be another copy.
            return self._kept(f"cholesky-{weight!r}", layer, lambda: cholesky(dense()).mT).mT

        return Prior(dense, factor)

    def null_space(self, layer: int, share: float) -> Tensor:
        """`agent.editing.solve.null_space` of the layer's covariance. Raises EditError as it does."""
        return self._kept(f"null-space-{share!r}", layer, lambda: null_space(self.covariance[layer], share))

    def _kept(self, what: str, layer: int, make: Callable[[], Tensor]) -> Tensor:
        if self.folder is None:
            return make()
        path = self.folder / f"{what}-{self.key}-{layer}.safetensors"
        with suppress(SafetensorError, OSError, KeyError):
            return load_file(path)["matrix"]
        matrix = make()
        with suppress(EditError):  # a full disk: nothing is lost but time
            save_tensors(path, {"matrix": matrix.contiguous()}, {})
        return matrix
