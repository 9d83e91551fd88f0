"""How much of an article the page reader finds: words against a ground truth, per page and on average.

    python -m benchmarks.bodies --data DIR [--json FILE]

DIR is a checkout of https://github.com/scrapinghub/article-extraction-benchmark (181 pages, MIT) or anything of
its form: ground-truth.json ({id: {"articleBody": text}}) beside html/<id>.html.gz. Needs the extra `bodies`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections import Counter
from pathlib import Path

from agent.errors import SourceError
from agent.sources.pages import PageReader, PageReaderMissing
from agent.sources.text import words


def overlap(found: str, truth: str) -> tuple[float, float, float]:
    """Precision, recall and F1 of the bag of words of `found`."""
    got, wanted = Counter(words(found)), Counter(words(truth))
    both = (got & wanted).total()
    precision = both / got.total() if got else 0.0
    recall = both / wanted.total() if wanted else 0.0
    return precision, recall, 2 * both / (got.total() + wanted.total()) if both else 0.0


def measure(data: Path) -> dict[str, object]:
    truth = json.loads((data / "ground-truth.json").read_text(encoding="utf-8"))
    rows: list[tuple[float, float, float]] = []
    seconds: list[float] = []
    failures: dict[str, str] = {}
    with PageReader() as reader:
        for page_id, page in truth.items():
            body = gzip.decompress((data / "html" / f"{page_id}.html.gz").read_bytes())
            started = time.perf_counter()
            try:
                text = reader.read(body, url=page.get("url", ""), everything=True).text
            except PageReaderMissing:
                raise
            except SourceError as problem:
                failures[page_id], text = str(problem), ""
            seconds.append(time.perf_counter() - started)
            rows.append(overlap(text, page["articleBody"]))
    precision, recall, f1 = (round(statistics.mean(column), 4) for column in zip(*rows, strict=True))
    return {
        "pages": len(rows),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "f1_median": round(statistics.median(row[2] for row in rows), 4),
        "below_0.8": sum(row[2] < 0.8 for row in rows),
        "seconds_a_page": round(statistics.mean(seconds[1:] or seconds), 4),
        "slowest_s": round(max(seconds[1:] or seconds), 3),
        "failures": failures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    asked = parser.parse_args()
    found = measure(asked.data)
    for key, value in found.items():
        print(f"{key:<16}{value}")
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
