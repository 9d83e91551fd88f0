"""Load the pipeline that finds names: a named one, an installed `en_core_web_*`, or the embedded one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import spacy
from spacy.language import Language
from thinc.api import Model, NumpyOps

from agent.errors import ModelError
from agent.ner import lexicon as _lexicon  # registers the pipe that the embedded pipeline names
from agent.ner import tidy as _tidy

EMBEDDED = Path(__file__).parent / "model"
INSTALLED = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")
_UNUSED = ("parser", "tagger", "lemmatizer", "attribute_ruler", "morphologizer", "textcat")


def load_nlp(name: str | None = None) -> Language:
    """A pipeline with a recogniser and a sentence splitter by rule; everything else is left out, for speed.

    `name` is a package or a folder. Without one, the largest installed `en_core_web_*` is taken, else the
    embedded pipeline. Raises ModelError where it cannot be loaded or has no recogniser.
    """
    if name is None:
        name = next((n for n in INSTALLED if importlib.util.find_spec(n)), None)
    return _prepare(EMBEDDED if name is None else name)


def _prepare(source: str | Path) -> Language:
    if source == EMBEDDED and not EMBEDDED.is_dir():
        raise ModelError(
            f"{source}: the embedded pipeline is missing; run `python -m agent.ner.train --out {source}`"
        )
    try:
        nlp = spacy.load(source, exclude=list(_UNUSED))
    except (OSError, ImportError, ValueError, KeyError) as error:
        raise ModelError(
            f"the spaCy pipeline {str(source)!r} cannot be loaded ({_first_line(error)}); install it, or "
            f"leave `ner.pipeline` "
            "empty to use the embedded one"
        ) from error
    if "ner" not in nlp.pipe_names:
        raise ModelError(f"the spaCy pipeline {str(source)!r} has no 'ner' component; choose one that has")
    if "sentencizer" not in nlp.pipe_names:
        nlp.add_pipe("sentencizer", first=True)
    if "factd_lexicon" in nlp.pipe_names:  # the embedded one, or another that our script trained
        nlp.add_pipe("factd_tidy", last=True)
    _multiply_with_blas(nlp)
    return nlp


def _multiply_with_blas(nlp: Language) -> None:
    """Matrix products by NumPy's BLAS: thinc's own BLIS is built for any processor and takes four times as long on most."""
    ops = NumpyOps(use_blis=False)
    models = [model for _, pipe in nlp.pipeline if isinstance(model := getattr(pipe, "model", None), Model)]
    for node in (node for model in models for node in model.walk()):
        if isinstance(node.ops, NumpyOps):
            node.ops = ops


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


REGISTERED = (_lexicon.make_tagger, _tidy.make_tidy)
