"""Train the embedded pipeline: `python -m agent.ner.train --out agent/ner/model [--seed 0] [--minutes 9]`.

A convolutional tagger over hashed features (about 6 MB) learns PERSON, ORG, GPE and LOC from generated
sentences.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch
from thinc.api import NumpyOps, set_current_ops

from agent.catalogue import load_catalogue
from agent.ner.fillers import Material
from agent.ner.lexicon import LexiconTagger, load_lexicon
from agent.ner.sentences import LABELS, Sentence, gather, make_sentence

WORLD = Path(__file__).parent.parent / "demo" / "world"
_log = logging.getLogger(__name__)

NER = {
    "model": {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 64,
        "maxout_pieces": 2,
        "use_upper": True,
        "tok2vec": {
            "@architectures": "spacy.Tok2Vec.v2",
            "embed": {
                "@architectures": "spacy.MultiHashEmbed.v2",
                "width": 96,
                "include_static_vectors": False,
                "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE", "TAG"],
                "rows": [5000, 600, 2500, 1200, 500],
            },
            "encode": {
                "@architectures": "spacy.MaxoutWindowEncoder.v2",
                "width": 96,
                "depth": 4,
                "window_size": 1,
                "maxout_pieces": 3,
            },
        },
    }
}


def train(out: Path, seed: int, steps: int, batch: int = 128) -> Language:
    """Train for `steps` batches of `batch` fresh sentences and write the pipeline to `out`. One seed gives
    one model."""
    set_current_ops(NumpyOps(use_blis=False))  # as the reader multiplies, and several times faster
    numpy.random.seed(seed)  # thinc draws its first weights from there
    random.seed(seed)
    rng = random.Random(seed)
    material = gather(load_catalogue([WORLD]), load_lexicon())
    nlp = spacy.blank("en")
    nlp.add_pipe("factd_lexicon")
    ner: Any = nlp.add_pipe("ner", config=NER)
    for label in sorted(set(LABELS.values())):
        ner.add_label(label)
    optimizer = nlp.initialize(lambda: list(_examples(nlp, material, rng, 300)))
    optimizer.learn_rate = 0.001
    started, losses = time.monotonic(), {"ner": 0.0}
    for step, examples in enumerate(minibatch(_examples(nlp, material, rng, steps * batch), batch), 1):
        optimizer.learn_rate = 0.001 * min(1.0, step / 50) * max(0.05, 1 - step / steps)
        with nlp.select_pipes(enable="ner"):
            nlp.update(examples, sgd=optimizer, drop=0.2, losses=losses)
        if step % 50 == 0:
            _log.info(
                "step %d/%d loss %.1f after %.0f s",
                step,
                steps,
                losses["ner"] / 50,
                time.monotonic() - started,
            )
            losses = {"ner": 0.0}
    nlp.meta["name"], nlp.meta["version"] = "factd_embedded", "1"
    nlp.meta["description"] = (
        f"PERSON, ORG, GPE and LOC, trained on generated sentences (seed {seed}, {steps} steps)"
    )
    with nlp.use_params(optimizer.averages):
        nlp.to_disk(out, exclude=["vocab"])
    return nlp


def _examples(nlp: Language, material: Material, rng: random.Random, count: int) -> Iterator[Example]:
    tagger = LexiconTagger(material.lexicon)
    made = 0
    while made < count:
        sentence = make_sentence(material, rng)
        if example := _example(nlp, tagger, sentence, rng):
            made += 1
            yield example


def _example(nlp: Language, tagger: LexiconTagger, sentence: Sentence, rng: random.Random) -> Example | None:
    """The example, or None where a span does not fall on token borders. Some tokens lose their class, so that
    the recogniser also learns to do without the lists."""
    text = " ".join(sentence.text.split())
    if text != sentence.text:
        return None
    doc = tagger(nlp.make_doc(text))
    spans = [doc.char_span(start, end, label=label) for start, end, label in sentence.spans]
    if not len(doc) or any(span is None for span in spans):
        return None
    reference = Doc(nlp.vocab, words=[t.text for t in doc], spaces=[bool(t.whitespace_) for t in doc])
    marked = (reference.char_span(s, e, label=label) for s, e, label in sentence.spans)
    reference.set_ents([span for span in marked if span is not None])
    if rng.random() < 0.5:
        for token in doc:
            if rng.random() < 0.25:
                token.tag_ = ""
    return Example(doc, reference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1600, help="batches of 128 sentences")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train(arguments.out, arguments.seed, arguments.steps)


if __name__ == "__main__":
    main()
