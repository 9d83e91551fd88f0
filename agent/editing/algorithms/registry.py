"""The algorithms by their names in the settings."""

from __future__ import annotations

from collections.abc import Mapping

from agent.editing.algorithms.alphaedit import alphaedit
from agent.editing.algorithms.base import AlgorithmSpec
from agent.editing.algorithms.emmet import emmet
from agent.editing.algorithms.ft import fine_tune
from agent.editing.algorithms.memit import memit
from agent.editing.algorithms.pmet import pmet
from agent.editing.algorithms.rome import rome
from agent.editing.pmet_values import optimise_mlp_values
from agent.editing.values import optimise_values

ALGORITHMS: Mapping[str, AlgorithmSpec] = {
    "alphaedit": AlgorithmSpec(alphaedit, optimise_values),
    "emmet": AlgorithmSpec(emmet, optimise_values, spread=False),
    "ft": AlgorithmSpec(fine_tune, None, covariance=False, columns=False, spread=False),
    "memit": AlgorithmSpec(memit, optimise_values),
    "pmet": AlgorithmSpec(pmet, optimise_mlp_values, value_name="mlp"),
    "rome": AlgorithmSpec(rome, optimise_values, spread=False),
}
