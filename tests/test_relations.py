"""The relations file: what is refused, how templates are filled, and what the shipped file promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.catalogue import LABELS, load_catalogue
from agent.errors import ConfigError
from agent.paths import MORE, WORLD, data_file
from agent.relations import PromptSet, Relation, RelationPolicy, fill, load_relations
from agent.types import Entity

GOOD: dict[str, Any] = {
    "subject": ["GPE"],
    "object": ["PERSON"],
    "edit": ["The {title} of {subject} is"],
    "probes": ["{subject} is led by"],
    "title": {"default": "president", "Japan": "emperor"},
}
SHIPPED = load_relations(data_file("relations.yaml"))
SETS: tuple[PromptSet, ...] = ("edit", "probes", "questions")
JAPAN = Entity("Japan", "country", "GPE")
DUTCH = Entity("Netherlands", "country", "GPE", article="the")


def loaded(path: Path, entry: Any, name: str = "leader") -> Relation:
    path.write_text(yaml.safe_dump({name: entry}), encoding="utf-8")
    return load_relations(path)[name]


def test_a_small_entry_gets_the_defaults(tmp_path: Path) -> None:
    relation = loaded(tmp_path / "r.yaml", GOOD)
    assert relation.cardinality == "one"
    assert relation.policy == RelationPolicy(editable=True, min_publishers=2, cool_off_h=24.0)
    assert relation.prompts("edit", JAPAN) == ("The emperor of Japan is",)
    assert relation.title_for("France") == "president"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quesitons": ["Who leads {subject}?"]}, "unknown key 'quesitons'; did you mean 'questions'"),
        ({"edit": None}, "'edit' is missing"),
        ({"probes": []}, "'probes' is missing"),
        ({"subject": []}, "'subject' is missing"),
        ({"cardinality": "two"}, "cardinality must be 'one' or 'many', got 'two'"),
        ({"probes": ["The {title} of {subject} is"]}, "both edits and verifies"),
        ({"questions": ["The {title} of {subject} is"]}, "both edits and verifies"),
        ({"probes": ["It is led by"]}, r"must contain \{subject\} exactly once"),
        ({"probes": ["{subject} and {subject}"]}, r"must contain \{subject\} exactly once"),
        ({"probes": ["{subject} in {year}"]}, r"unknown slot \{year\}"),
        ({"inverse": ["{subject} is led by"]}, r"must contain \{object\} exactly once"),
        ({"title": None}, r"unknown slot \{title\}"),
        ({"title": {"Japan": "emperor"}}, "needs a 'default'"),
        ({"edit": [3]}, "edit: expected a list of non-empty strings"),
        ({"edit": ["  "]}, "edit: expected a list of non-empty strings"),
        ({"policy": {"editable": "yes"}}, "editable must be true or false"),
        ({"policy": {"min_publishers": -1}}, "min_publishers must be a number, zero or more"),
        ({"policy": {"cool_off_h": True}}, "cool_off_h must be a number"),
        ({"policy": {"cooloff_h": 3}}, "did you mean 'cool_off_h'"),
        ({"policy": [1]}, "policy: expected a mapping"),
    ],
)
def test_a_mistake_names_file_and_relation(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        loaded(tmp_path / "r.yaml", {**GOOD, **change})
    assert f"{tmp_path / 'r.yaml'}: leader" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("", "no relations in it"), ("- a", "expected a mapping"), ("a: [", "YAML")]
)
def test_a_file_that_is_no_relations_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_relations(path)


@pytest.mark.parametrize(
    ("template", "entity", "expected"),
    [
        ("{subject}'s capital is", Entity("Japan", "", ""), "Japan's capital is"),
        ("{subject}'s capital is", DUTCH, "The Netherlands' capital is"),
        ("The capital of {subject} is", DUTCH, "The capital of the Netherlands is"),
        ("{subject}'s head is", Entity("iFlytek", "", ""), "iFlytek's head is"),
    ],
)  # fmt: skip
def test_templates_are_filled_as_english_wants_it(template: str, entity: Entity, expected: str) -> None:
    assert fill(template, entity) == expected


@given(
    st.sampled_from(sorted(SHIPPED)),
    st.text("abcs é'.-", min_size=1, max_size=12),
    st.sampled_from(["", "the"]),
)
def test_every_prompt_holds_its_subject_literally(name: str, subject: str, article: str) -> None:
    relation, entity = SHIPPED[name], Entity(subject, "", "", article=article)
    for which in SETS:
        for prompt in relation.prompts(which, entity):
            assert subject in prompt
            assert not re.search(r"\{\w+\}", prompt)
    for prompt in relation.inverse_prompts("Japan", subject):
        assert subject in prompt


def test_enough_shipped_prompts_are_left_to_verify_what_the_others_edit() -> None:
    """Titles can make a probe read like an edit prompt; then others must remain."""
    for entity in load_catalogue([WORLD, MORE]).entities.values():
        for relation in SHIPPED.values():
            if entity.label not in relation.subject or (relation.kinds and entity.kind not in relation.kinds):
                continue
            asked = {*relation.prompts("probes", entity), *relation.prompts("questions", entity)}
            assert len(asked - set(relation.prompts("edit", entity))) >= 3, (entity.name, relation.name)


def test_shipped_relations_are_of_kinds_and_labels_that_exist() -> None:
    labels = {*LABELS.values(), "LOC", "CURRENCY", "LANGUAGE", "INDUSTRY", "OCCUPATION", "POSITION"}
    for relation in SHIPPED.values():
        assert {*relation.subject, *relation.object} <= labels, relation.name
        assert set(relation.kinds) <= set(LABELS), relation.name
        assert {LABELS[kind] for kind in relation.kinds} <= set(relation.subject), relation.name


def test_shipped_relations_that_may_be_edited_need_two_publishers_and_a_day() -> None:
    editable = [r for r in SHIPPED.values() if r.policy.editable]
    assert len(SHIPPED) >= 14 and len(editable) >= 8
    for relation in editable:
        assert relation.policy.min_publishers >= 2 and relation.policy.cool_off_h >= 24, relation.name
        assert relation.cardinality == "one", relation.name
        assert len(relation.edit) >= 2 and len(relation.probes) >= 2, relation.name
