"""Edit files in the forms that are in use: EasyEdit's, FastEdit's, CounterFact's. No torch is imported here.

A file is a JSON list of objects (or one object, or JSON Lines). Each is one edit:

    EasyEdit      {prompt, subject, target_new, ground_truth, rephrase_prompt, locality, portability}
                  rephrase_prompt: text or list of texts
                  locality, portability: {name: {prompt, ground_truth}}, each a text or a list of texts, or a
                  list of such objects; or flat: locality_prompt, locality_ground_truth
    FastEdit      {prompt with {}, subject, target, queries}; the queries count as paraphrases
    CounterFact   {requested_rewrite: {prompt with {}, subject, target_new: {str}, target_true: {str}},
                  paraphrase_prompts, neighborhood_prompts}

Other keys are ignored. Whatever is wrong is an InputError that names the entry, counted from 1, and the
field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import InputError
from agent.types import EditRequest

_NO_ANSWER = "<|endoftext|>"  # EasyEdit writes this where it has no ground truth


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and the accepted answers, none where the file gives none. `name` is the file's own."""

    name: str
    prompt: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EditEntry:
    """One edit of a file and the questions that judge it. `prompt` contains `subject`, placeholders are
    filled in.

    `ground_truth` is what held before, `rephrase` the paraphrases of the prompt, `locality` what must not
    change, and `portability` what should follow from the new fact.
    """

    prompt: str
    subject: str
    target_new: str
    ground_truth: str = ""
    rephrase: tuple[str, ...] = ()
    locality: tuple[Question, ...] = ()
    portability: tuple[Question, ...] = ()

    @property
    def request(self) -> EditRequest:
        """The edit in the compiler's form, with ROME's "{subject} is a" as the answer that must not move."""
        return EditRequest(
            self.subject, (self.prompt,), self.target_new, self.ground_truth, keep=(f"{self.subject} is a",)
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """One object of the file, with the words that say where it is."""

    fields: Mapping[str, Any]
    where: str

    def wrong(self, field: str, why: str) -> InputError:
        return InputError(f"{self.where}, field {field!r}: {why}")

    def has(self, field: str) -> bool:
        return self.fields.get(field) is not None

    def text(self, field: str, value: Any) -> str:
        """A text with more than spaces in it; a CounterFact object gives its `str`."""
        value = value.get("str") if isinstance(value, Mapping) else value
        if not isinstance(value, str):
            raise self.wrong(field, f"must be a text, got {_brief(value)}")
        if not value.strip():
            raise self.wrong(field, "must not be empty")
        return value.strip()

    def texts(self, field: str, value: Any) -> tuple[str, ...]:
        """A text, a list of texts, or a list of lists of texts (accepted names of one answer), flattened."""
        if value is None:
            return ()
        if isinstance(value, list):
            return tuple(text for item in value for text in self.texts(field, item))
        return (self.text(field, value),)

    def one(self, *fields: str) -> str:
        """The text of the first of these fields that is there."""
        for field in fields:
            if self.has(field):
                return self.text(field, self.fields[field])
        raise self.wrong(fields[0], "is missing")


def read_edits(path: Path) -> list[EditEntry]:
    """Every edit of the file, in its order. Raises InputError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    rows = _lines(path, text) if path.suffix == ".jsonl" else _document(path, text)
    if not rows:
        raise InputError(f"{path}: holds no edits; it must be a JSON list of objects, one for each edit")
    return [_entry(row, f"{path}: entry {number}") for number, row in enumerate(rows, 1)]


def _document(path: Path, text: str) -> list[Any]:
    document = _json(text, str(path))
    if isinstance(document, Mapping):
        return [document]
    if not isinstance(document, list):
        raise InputError(f"{path}: must be a JSON list of objects, one for each edit; got {_brief(document)}")
    return document


def _lines(path: Path, text: str) -> list[Any]:
    lines = enumerate(text.split("\n"), 1)
    return [_json(line, f"{path}, line {number}") for number, line in lines if line.strip()]


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{where}: is not JSON ({error.msg} at {at}); correct it there") from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"{where}: is no JSON that can be read ({type(error).__name__})") from error


def _entry(row: Any, where: str) -> EditEntry:
    if not isinstance(row, Mapping):
        raise InputError(
            f"{where}: must be an object like {{prompt, subject, target_new}}, got {_brief(row)}"
        )
    entry = _Entry(row, where)
    if not entry.has("requested_rewrite"):
        return _easyedit(entry)
    if not isinstance(row["requested_rewrite"], Mapping):
        raise entry.wrong("requested_rewrite", f"must be an object, got {_brief(row['requested_rewrite'])}")
    return _counterfact(entry, _Entry(row["requested_rewrite"], f"{where}, requested_rewrite"))


def _easyedit(entry: _Entry) -> EditEntry:
    """EasyEdit's form, and FastEdit's, which names two fields otherwise."""
    subject = entry.one("subject")
    rephrase = [
        text
        for field in ("rephrase_prompt", "rephrase", "queries")
        for text in entry.texts(field, entry.fields.get(field))
    ]
    truth = [
        text for text in entry.texts("ground_truth", entry.fields.get("ground_truth")) if text != _NO_ANSWER
    ]
    return EditEntry(
        prompt=_prompt(entry, subject),
        subject=subject,
        target_new=entry.one("target_new", "target"),
        ground_truth=truth[0] if truth else "",
        rephrase=_filled(rephrase, subject),
        locality=(*_questions(entry, "locality"), *_flat(entry, "locality")),
        portability=(*_questions(entry, "portability"), *_flat(entry, "portability")),
    )


def _counterfact(entry: _Entry, rewrite: _Entry) -> EditEntry:
    subject = rewrite.one("subject")
    truth = rewrite.one("target_true") if rewrite.has("target_true") else ""
    near = entry.texts("neighborhood_prompts", entry.fields.get("neighborhood_prompts"))
    return EditEntry(
        prompt=_prompt(rewrite, subject),
        subject=subject,
        target_new=rewrite.one("target_new"),
        ground_truth=truth,
        rephrase=entry.texts("paraphrase_prompts", entry.fields.get("paraphrase_prompts")),
        locality=tuple(Question("neighborhood", prompt, (truth,) if truth else ()) for prompt in near),
    )


def _prompt(entry: _Entry, subject: str) -> str:
    (prompt,) = _filled([entry.one("prompt")], subject)
    if subject not in prompt:
        raise entry.wrong(
            "subject", f"{subject!r} does not occur in the prompt {prompt!r}; write it there literally"
        )
    return prompt


def _filled(prompts: Iterable[str], subject: str) -> tuple[str, ...]:
    return tuple(prompt.replace("{}", subject) for prompt in prompts)


def _questions(entry: _Entry, field: str) -> list[Question]:
    """`{name: {prompt, ground_truth}}`; prompt and ground_truth may be lists of one length, or the object a
    list.
    """
    groups = entry.fields.get(field) or {}
    if not isinstance(groups, Mapping):
        raise entry.wrong(
            field, f"must be an object of the form {{name: {{prompt, ground_truth}}}}, got {_brief(groups)}"
        )
    found = []
    for name, group in groups.items():
        for item in group if isinstance(group, list) else [group]:
            at = f"{field}.{name}"
            if not isinstance(item, Mapping) or item.get("prompt") is None:
                raise entry.wrong(
                    at, f"must be an object of the form {{prompt, ground_truth}}, got {_brief(item)}"
                )
            found += _paired(entry, at, name, item["prompt"], item.get("ground_truth"))
    return found


def _flat(entry: _Entry, field: str) -> list[Question]:
    if not entry.has(f"{field}_prompt"):
        return []
    truth = entry.fields.get(f"{field}_ground_truth")
    return _paired(entry, f"{field}_prompt", field, entry.fields[f"{field}_prompt"], truth)


def _paired(entry: _Entry, at: str, name: str, prompt: Any, truth: Any) -> list[Question]:
    if not isinstance(prompt, list):
        return [Question(name, entry.text(at, prompt), entry.texts(at, truth))]
    truths = truth if isinstance(truth, list) else [truth] * len(prompt)
    if len(truths) != len(prompt):
        raise entry.wrong(
            at, f"has {len(prompt)} prompts and {len(truths)} ground truths; give as many of each"
        )
    return [
        Question(name, entry.text(at, text), entry.texts(at, answers))
        for text, answers in zip(prompt, truths, strict=True)
    ]


def _brief(value: Any) -> str:
    shown = "nothing" if value is None else f"{type(value).__name__} {value!r}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
