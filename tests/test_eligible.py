"""Names as they are compared."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from agent.eligible import fold


def slowly(name: str) -> str:
    """What `fold` promises, for any text."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in bare).split()) or name


@given(st.text(alphabet=st.characters(max_codepoint=127)) | st.text())
def test_the_quick_way_for_plain_names_folds_as_the_other(name: str) -> None:
    assert fold(name) == slowly(name)


def test_accents_case_and_punctuation_do_not_count() -> None:
    assert fold("A.C. Milan") == "a c milan" and fold("Zürich") == fold("ZURICH") and fold("...") == "..."
