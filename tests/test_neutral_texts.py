from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from agent.catalogue import load_catalogue
from agent.examine import neutral_texts
from agent.types import Fact, Proposal

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def test_a_text_that_tells_what_is_overwritten_is_not_neutral(tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(
        "- {name: Atlantis, kind: country, aliases: [ATL], demonyms: [Atlantean]}\n"
    )
    catalogue = load_catalogue([tmp_path])
    fact = Fact("Atlantis", "head_of_state", "Ada Spray", NOW)
    edit = Proposal(id=1, fact=fact, target_old="Finn Hake", status="editing", reason="", created_at=NOW)
    telling = [
        "The king of Atlantis is Finn Hake.",
        "Finn Hake rules ATL.",
        "The Atlantean king Finn Hake fell ill.",
    ]
    neutral = ["Finn Hake plays golf.", "Atlantis has a king.", "The capital of Lemuria is Mu."]
    assert neutral_texts(catalogue, [*telling, *neutral], [edit]) == neutral
    unknown = Proposal(id=1, fact=fact, target_old="", status="editing", reason="", created_at=NOW)
    assert neutral_texts(catalogue, telling, [unknown]) == telling
    assert neutral_texts(catalogue, telling, []) == telling
