"""Edit files of every form, and what is said of those that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.editfiles import EditEntry, Question, read_edits
from agent.errors import InputError

PLAIN = {"prompt": "The capital of Zorland is", "subject": "Zorland", "target_new": "Sorna"}


def write(folder: Path, document: Any, name: str = "edits.json") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return path


def read_one(folder: Path, **fields: Any) -> EditEntry:
    (entry,) = read_edits(write(folder, [{**PLAIN, **fields}]))
    return entry


def test_easyedits_form(tmp_path: Path) -> None:
    entry = read_one(
        tmp_path,
        case_id=7,
        ground_truth="Mipa",
        rephrase_prompt="Zorland is governed from",
        locality={
            "neighborhood": {"prompt": "The capital of Quenia is", "ground_truth": "Kelto"},
            "others": {"prompt": ["A", "B"], "ground_truth": ["a", ["b", "bee"]]},
            "listed": [{"prompt": "C", "ground_truth": [["c"]]}, {"prompt": "D"}],
        },
        portability={"two_hop": {"prompt": "The mayor of Zorland's capital is", "ground_truth": "Yarrow"}},
    )
    assert entry == EditEntry(
        "The capital of Zorland is", "Zorland", "Sorna", "Mipa", ("Zorland is governed from",),
        (
            Question("neighborhood", "The capital of Quenia is", ("Kelto",)),
            Question("others", "A", ("a",)), Question("others", "B", ("b", "bee")),
            Question("listed", "C", ("c",)), Question("listed", "D"),
        ),
        (Question("two_hop", "The mayor of Zorland's capital is", ("Yarrow",)),),
    )  # fmt: skip
    request = entry.request
    assert (request.prompt, request.subject, request.target_new, request.target_old) == (
        "The capital of Zorland is", "Zorland", "Sorna", "Mipa",
    )  # fmt: skip
    assert all(request.subject in prompt for prompt in request.keep)


def test_easyedits_flat_locality_and_lists(tmp_path: Path) -> None:
    entry = read_one(
        tmp_path,
        ground_truth=["Mipa", "old Mipa"],
        rephrase_prompt=["P1", "P2"],
        locality_prompt="The capital of Quenia is",
        locality_ground_truth="Kelto",
    )
    assert (entry.ground_truth, entry.rephrase) == ("Mipa", ("P1", "P2"))
    assert entry.locality == (Question("locality", "The capital of Quenia is", ("Kelto",)),)


@pytest.mark.parametrize("nothing", [None, "<|endoftext|>", []])
def test_no_ground_truth(tmp_path: Path, nothing: Any) -> None:
    assert read_one(tmp_path, ground_truth=nothing, rephrase_prompt=None, locality=None).ground_truth == ""


def test_fastedits_form(tmp_path: Path) -> None:
    row: dict[str, Any] = {"prompt": "The prime minister of the {} is", "subject": "UK", "target": "Bo"}
    row["queries"] = ["Who runs the {}?"]
    (entry,) = read_edits(write(tmp_path, [row]))
    assert (entry.prompt, entry.target_new, entry.rephrase) == (
        "The prime minister of the UK is", "Bo", ("Who runs the UK?",),
    )  # fmt: skip


def test_counterfacts_own_form(tmp_path: Path) -> None:
    row = {
        "case_id": 0,
        "requested_rewrite": {
            "prompt": "The capital of {} is", "relation_id": "P36", "subject": "Zorland",
            "target_new": {"str": "Sorna", "id": "Q1"}, "target_true": {"str": "Mipa", "id": "Q2"},
        },
        "paraphrase_prompts": ["P1", "P2"], "neighborhood_prompts": ["N1"], "generation_prompts": ["G"],
    }  # fmt: skip
    (entry,) = read_edits(write(tmp_path, [row]))
    assert entry == EditEntry(
        "The capital of Zorland is", "Zorland", "Sorna", "Mipa", ("P1", "P2"),
        (Question("neighborhood", "N1", ("Mipa",)),),
    )  # fmt: skip


def test_one_object_json_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(PLAIN) for _ in range(3)) + "\n\n"
    assert len(read_edits(write(tmp_path, PLAIN))) == 1
    assert len(read_edits(write(tmp_path, lines, "edits.jsonl"))) == 3
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([PLAIN]).encode())
    assert len(read_edits(tmp_path / "bom.json")) == 1


@pytest.mark.parametrize(("row", "said"), [
    (["prompt"], "must be an object like"),
    ("text", "must be an object like"),
    ({k: v for k, v in PLAIN.items() if k != "prompt"}, "field 'prompt': is missing"),
    ({k: v for k, v in PLAIN.items() if k != "subject"}, "field 'subject': is missing"),
    ({k: v for k, v in PLAIN.items() if k != "target_new"}, "field 'target_new': is missing"),
    ({**PLAIN, "target_new": " "}, "field 'target_new': must not be empty"),
    ({**PLAIN, "target_new": 7}, "field 'target_new': must be a text, got int 7"),
    ({**PLAIN, "subject": "Narnia"}, "field 'subject': 'Narnia' does not occur in the prompt"),
    ({**PLAIN, "rephrase_prompt": ["fine", 3]}, "field 'rephrase_prompt': must be a text, got int 3"),
    ({**PLAIN, "locality": ["x"]}, "field 'locality': must be an object of the form"),
    ({**PLAIN, "locality": {"near": "x"}}, "field 'locality.near': must be an object of the form"),
    ({**PLAIN, "portability": {"hop": {"ground_truth": "x"}}}, "field 'portability.hop': must be an object"),
    ({**PLAIN, "locality": {"n": {"prompt": ["a", "b"], "ground_truth": ["c"]}}}, "2 prompts and 1 ground"),
    ({"requested_rewrite": 3}, "field 'requested_rewrite': must be an object, got int 3"),
    ({"requested_rewrite": {"prompt": "{} is", "subject": "Z"}}, "rewrite, field 'target_new': is missing"),
])  # fmt: skip
def test_a_bad_entry_is_named_by_number_and_field(tmp_path: Path, row: Any, said: str) -> None:
    path = write(tmp_path, [PLAIN, PLAIN, row])
    with pytest.raises(InputError) as raised:
        read_edits(path)
    assert str(raised.value).startswith(f"{path}: entry 3")
    assert said in str(raised.value)


@pytest.mark.parametrize(("content", "said"), [
    ("", "is not JSON"), ("[{]", "line 1, column 3"), ("[]", "holds no edits"), ("7", "must be a JSON list"),
    ("[" * 100_000, "no JSON that can be read"),
])  # fmt: skip
def test_a_bad_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=said) as raised:
        read_edits(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_a_folder_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes('["é"]'.encode("latin-1"))
    for path, said in ((tmp_path / "no.json", "cannot be read"), (tmp_path, "cannot be read"),
                       (tmp_path / "latin.json", "is not UTF-8")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            read_edits(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("prompt", "subject", "target_new", "ground_truth", "rephrase_prompt", "locality", "portability",
"queries",
          "locality_prompt", "locality_ground_truth", "requested_rewrite", "paraphrase_prompts")  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_anything_else_is_read_or_refused_in_words(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = write(tmp_path, [{**PLAIN, **fields}])
    try:
        (entry,) = read_edits(path)
    except InputError as error:
        assert "entry 1" in str(error)
    else:
        assert entry.subject in entry.prompt
        assert entry.target_new.strip()


def test_reading_edits_needs_no_torch() -> None:
    code = "import sys, agent.editfiles; sys.exit(bool({'torch', 'spacy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
