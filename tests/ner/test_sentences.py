"""The table of sentences: every claim that is said, none that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from agent.types import Claim
from tests.ner.conftest import HERE

TABLE: list[dict[str, Any]] = yaml.safe_load((HERE / "sentences.yaml").read_text(encoding="utf-8"))


def test_the_table_is_large_and_has_every_kind() -> None:
    kinds = {claim.rsplit("|", 1)[1].strip() for row in TABLE for claim in row["claims"]}
    assert len(TABLE) >= 80
    assert kinds == {"state", "change", "future", "end", "acting", "hedged"}


@pytest.mark.parametrize("row", TABLE, ids=[row["text"][:60] for row in TABLE])
def test_sentence(row: dict[str, Any], read: Callable[..., list[Claim]]) -> None:
    claims = read(row["text"], row.get("title", ""))
    found = sorted(f"{c.subject} | {c.relation} | {c.object} | {c.kind}" for c in claims)
    assert found == sorted(row["claims"])
