"""Precision, recall and F1 of a pipeline on labelled sets: `python -m benchmarks.ner --data DIR [--pipeline
NAME] [--json OUT]`.

`DIR` holds `uner_ewt`, `wikigold` and `wnut17` as published. Spans count only where both borders and the
label are right. Countries, cities and other places count as one label, since the sets have only one.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc

from agent.ner.load import load_nlp
from benchmarks.measures import measures

FILES = {
    "uner_ewt dev": ("uner_ewt/en_ewt-ud-dev.iob2", 1, 2),
    "uner_ewt test": ("uner_ewt/en_ewt-ud-test.iob2", 1, 2),
    "wikigold": ("wikigold/CONLL-format/data/wikigold.conll.txt", 0, 1),
    "wnut17 test": ("wnut17/emerging.test.annotated", 0, 1),
}
MAPPED = {
    "PER": "PERSON",
    "person": "PERSON",
    "PERSON": "PERSON",
    "ORG": "ORG",
    "corporation": "ORG",
    "group": "ORG",
    "LOC": "LOC",
    "location": "LOC",
    "GPE": "LOC",
    "FAC": "LOC",
}
Span = tuple[int, int, str]


def read_columns(path: Path, word: int, tag: int) -> Iterator[tuple[list[str], list[str]]]:
    """Sentences of a column file as words and IOB tags; `word` and `tag` are the columns' numbers."""
    words: list[str] = []
    tags: list[str] = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("# ") and len(line.split()) > 2:
            continue
        columns = line.split("\t") if "\t" in line else line.split()
        if len(columns) > max(word, tag):
            words.append(columns[word])
            tags.append(columns[tag])
        elif words:
            yield words, tags
            words, tags = [], []


def gold_spans(tags: Iterable[str]) -> set[Span]:
    """Spans of an IOB1 or IOB2 tag sequence, labels mapped to ours, others left out."""
    spans: set[Span] = set()
    start, label, number = 0, "", 0
    for number, tag in enumerate([*tags, "O"]):
        kind = tag[2:] if tag[:2] in {"B-", "I-"} else ""
        if label and (kind != label or tag.startswith("B-")):
            if label in MAPPED:
                spans.add((start, number, MAPPED[label]))
            label = ""
        if kind and not label:
            start, label = number, kind
    return spans


def score(nlp: Language, sentences: list[tuple[list[str], list[str]]]) -> dict[str, dict[str, float]]:
    """Per label: tp, fp, fn, precision, recall, f1."""
    counts: Counter[tuple[str, str]] = Counter()
    docs = [Doc(nlp.vocab, words=words) for words, _ in sentences]
    for doc, (_, tags) in zip(nlp.pipe(docs), sentences, strict=True):
        gold = gold_spans(tags)
        found = {(e.start, e.end, MAPPED[e.label_]) for e in doc.ents if e.label_ in MAPPED}
        for name, spans in (("tp", gold & found), ("fp", found - gold), ("fn", gold - found)):
            counts.update((label, name) for _, _, label in spans)
    return {
        label: measures(*(counts[label, n] for n in ("tp", "fp", "fn"))) for label in ("PERSON", "ORG", "LOC")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with uner_ewt, wikigold and wnut17")
    parser.add_argument(
        "--pipeline", default=None, help="a spaCy package or folder; the one factd would use by default"
    )
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    nlp = load_nlp(arguments.pipeline)
    result: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'set':<15}{'label':<8}{'precision':>10}{'recall':>8}{'F1':>7}{'gold':>7}")
    for name, (file, word, tag) in FILES.items():
        path = arguments.data / file
        if not path.is_file():
            print(f"{name:<15}not found: {path}")
            continue
        result[name] = score(nlp, list(read_columns(path, word, tag)))
        for label, m in result[name].items():
            line = f"{m['precision']:>10.3f}{m['recall']:>8.3f}{m['f1']:>7.3f}{int(m['tp'] + m['fn']):>7}"
            print(f"{name:<15}{label:<8}{line}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
