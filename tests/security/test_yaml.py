"""No YAML makes an object, runs code or fills the memory: every text of the list as each kind of file that we read, and as a variable."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.security.lists import ROOT, cases, ids

TAGS = cases("yaml_tags")
WAYS = ("settings", "relations", "catalogue", "variable")
# One process for all, with a bound on its memory.
READ = """
import json, resource, sys
from pathlib import Path
from agent.catalogue import load_catalogue
from agent.config import load
from agent.errors import FactdError
from agent.relations import load_relations
from tests.security.lists import cases
from tests.security.test_yaml import WAYS, filled, proof_of
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
folder = Path(sys.argv[1])
for case in cases("yaml_tags"):
    for way in WAYS:
        place = folder / f"{case['name']} {way}"
        place.mkdir()
        text = filled(case, place)
        file = place / "x.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            match way:
                case "settings": load(file, environ={})
                case "relations": load_relations(file)
                case "catalogue": load_catalogue([file])
                case "variable": load(None, environ={"FACTD_SOURCES": text.partition("state: ")[2] or text, "XDG_CONFIG_HOME": str(place)})
            came = "read"
        except FactdError as error:
            came = str(error)
        except BaseException as error:
            came = f"{type(error).__name__} came out"
        print(json.dumps([case["name"], way, came[:5000], len(came), proof_of(place).exists()]), flush=True)
"""


def filled(case: dict[str, Any], place: Path) -> str:
    text: str = case["text"]
    deep, digits = "[" * 100_000 + "]" * 100_000, "9" * 100_000
    return text.replace("{proof}", str(proof_of(place))).replace("{deep}", deep).replace("{digits}", digits)


def proof_of(place: Path) -> Path:
    return place / "proof"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[Any]]:
    folder = tmp_path_factory.mktemp("yaml")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=250
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(name, way): rest for name, way, *rest in found}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", TAGS, ids=ids(TAGS))
def test_no_yaml_is_more_than_data(
    rows: dict[tuple[str, str], list[Any]], case: dict[str, Any], way: str
) -> None:
    assert (case["name"], way) in rows, "it did not come to an end"
    came, length, ran = rows[case["name"], way]
    assert not ran, "its code ran"
    assert "came out" not in came, came
    assert came != "read" and length < 5000, came[:300]


def test_the_texts_do_run_code_where_nobody_forbids_it(tmp_path: Path) -> None:
    ran = 0
    for number, case in enumerate(TAGS[:3]):
        place = tmp_path / str(number)
        place.mkdir()
        yaml.unsafe_load(filled(case, place))
        ran += proof_of(place).exists()
    assert ran == 3


def test_nobody_else_reads_yaml() -> None:
    """`yaml.load` stands once, with the safe loader; all others are `safe_load`."""
    calls = [
        line.strip()
        for path in (ROOT / "agent").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "yaml.load(" in line or "unsafe_load" in line or "full_load" in line
    ]
    assert calls == ["return yaml.load(content, Loader=_Loader)"]
