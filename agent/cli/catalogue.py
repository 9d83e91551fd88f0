"""`factd catalogue`: entries from Wikidata's files, a look at a catalogue file, and what a name means here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import Session, session
from agent.cli.text import emit, out, out_lines, plural, table, terminal_width
from agent.errors import UsageError
from agent.whole import write_whole

if TYPE_CHECKING:
    from agent.catalogue import Catalogue
    from agent.importing import Imported
    from agent.ner.linking import Linker
    from agent.settings import Settings

app = typer.Typer(
    help="The entities that factd knows: import, check, look up.", no_args_is_help=True, rich_markup_mode=None
)
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A file of Wikidata's, also .gz or .bz2.")]


@app.callback()
def _group() -> None:
    """The entities that factd knows: import, check, look up."""


@app.command("import")
def import_(
    ctx: typer.Context,
    file: File,
    out_file: Annotated[Path, typer.Option("--out", metavar="YAML", help="The catalogue file to write.")],
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="Only this kind. Repeatable; else all but people."),
    ] = None,
    as_kind: Annotated[
        str | None, typer.Option("--as", metavar="KIND", help="The kind of items whose class says none.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Also everything left out, and why.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Make a catalogue file from a Wikidata export: the result of a query, entities, or a dump.

    Left out are entries that the catalogue has, names that two would bear, and aliases that are words.
    """
    from agent.catalogue import load_catalogue
    from agent.importing import CLASSES, USUAL, import_export
    from agent.relations import load_relations

    asked = session(ctx)
    for given in (*(kind or ()), *((as_kind,) if as_kind else ())):
        if given not in CLASSES:
            raise UsageError(f"{given!r} is no kind; there are {', '.join(CLASSES)}")
    if out_file.exists() and not force:
        raise UsageError(f"{out_file} exists already; name another file, or add --force to write over it")
    settings = asked.settings()
    # The file itself may be among the settings' already: then it is made anew.
    catalogue = load_catalogue(p for p in settings.catalogue if p.absolute() != out_file.absolute())
    kinds = tuple(dict.fromkeys((*(kind or USUAL), *((as_kind,) if as_kind else ()))))
    with asked.progress() as line:
        found = import_export(
            file, catalogue, load_relations(settings.relations), asked.now(),
            kinds=kinds, fallback=as_kind or "", is_word=_everyday(),
            tell=lambda done, total: line("import", done >> 20, total >> 20),
        )  # fmt: skip
    _write(out_file, found)
    _tell(asked, file, out_file, found, settings, explain=explain)


@app.command()
def check(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A catalogue file, or a folder of them.")],
    json: Json = False,
) -> None:
    """Whether a catalogue file can be read, and what it would collide with beside the others."""
    from agent.catalogue import load_catalogue
    from agent.relations import load_relations

    settings = session(ctx).settings()
    own = load_catalogue([file])
    others = load_catalogue(p for p in settings.catalogue if p.absolute() != file.absolute())
    wrong = list(_refused(own, others))
    doubts = [*_homonyms(own, others), *_strange_facts(own, list(load_relations(settings.relations)))]
    if json:
        emit({"entries": len(own.entities), "errors": wrong, "warnings": doubts})
    else:
        kinds = Counter(e.kind for e in own.entities.values())
        told = ", ".join(f"{count} {name}" for name, count in kinds.most_common()) or "none"
        out(
            f"{file}: {plural(len(own.entities), 'entry', 'entries')} ({told}), {plural(len(own.facts), 'fact')}"
        )
        out_lines(f"error: {line}" for line in wrong)
        out_lines(f"warning: {line}" for line in doubts)
    if wrong:
        raise typer.Exit(1)


@app.command()
def find(
    ctx: typer.Context,
    name: Annotated[list[str], typer.Argument(metavar="NAME", help="A name, an adjective, or a ticker.")],
    json: Json = False,
) -> None:
    """What a name means to the reader of news: each reading with its kind. Of several, none is taken."""
    from agent.catalogue import load_catalogue
    from agent.ner.lexicon import load_lexicon
    from agent.ner.linking import build_linker

    wanted = " ".join(name)
    catalogue = load_catalogue(session(ctx).settings().catalogue)
    linker = build_linker(catalogue, load_lexicon())
    rows = _readings(wanted, catalogue, linker)
    if json:
        emit(
            {
                "name": wanted,
                "readings": [dict(zip(("entity", "kind", "as", "wikidata"), r, strict=True)) for r in rows],
            }
        )
    elif rows:
        out_lines(table(("entity", "kind", "as", "wikidata"), rows, width=terminal_width()))
        if len({row[:2] for row in rows}) > 1:
            out("a homonym: it is linked only where the sentence leaves one of these")
    else:
        out(f"{wanted!r} means nothing here; an entry in a catalogue file gives it a meaning")
    if not rows:
        raise typer.Exit(1)


def _everyday() -> Callable[[str], bool]:
    """Whether an alias is a word: in capitals any word of the language (IT, ALL), else a frequent one (Time)."""
    from agent.ner.lexicon import load_lexicon

    lexicon = load_lexicon()
    return lambda alias: (
        lexicon.is_common(alias.lower()) if alias.isupper() else lexicon.is_frequent(alias.lower())
    )


def _write(path: Path, found: Imported) -> None:
    """All of it or nothing."""
    from agent.strict import yaml_line

    head = "# Made by `factd catalogue import`. Name this file under `catalogue` in the settings."
    write_whole(path, "\n".join((head, *(map(yaml_line, found.rows) if found.rows else ("[]",)), "")))


def _tell(
    asked: Session, file: Path, out_file: Path, found: Imported, settings: Settings, *, explain: bool
) -> None:
    counts = found.counts()
    told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "none"
    out(f"{out_file}: {plural(len(found.rows), 'entry', 'entries')} ({told})")
    of_sort = Counter((one.what, one.code) for one in found.left_out)
    out_lines(
        f"left out: {plural(count, what, 'entries' if what == 'entry' else '')}, {_CODES[code]}"
        for (what, code), count in sorted(of_sort.items(), key=lambda pair: -pair[1])
    )
    if explain:
        rows = [(one.what, one.name, one.reason) for one in found.left_out]
        out_lines(table(("left out", "name", "why"), rows, width=terminal_width()))
    elif found.left_out:
        asked.note("--explain lists what was left out")
    if all(p.absolute() != out_file.absolute() for p in settings.catalogue):
        asked.note(
            f"to use it: catalogue: [shipped:demo/world, shipped:demo/more, {out_file}] in the settings"
        )


_CODES = {
    "unnamed": "without an English name",
    "kind": "of a kind that was not asked for",
    "dissolved": "no longer there",
    "name": "whose name is no plain name",
    "known": "in the catalogue already",
    "homonym": "whose name somebody else bears",
    "word": "words, codes or signs",
    "exchange": "of an exchange without a code",
    "several": "with several values at once",
}


def _refused(own: Catalogue, others: Catalogue) -> Iterator[str]:
    """What keeps the two from being loaded together."""
    for name in own.entities.keys() & others.entities.keys():
        yield f"{name!r} is in the catalogue already; take it out of this file"
    for item in own.items.keys() & others.items.keys():
        if own.items[item] != others.items[item]:
            yield f"{own.items[item]!r} and {others.items[item]!r} are both {item}; take one out"


def _homonyms(own: Catalogue, others: Catalogue) -> Iterator[str]:
    """Forms that mean one thing in one of the two, and nothing certain with both."""
    theirs = {
        form: name for e in others.entities.values() for form in (e.name, *e.aliases) for name in [e.name]
    }
    for entity in own.entities.values():
        for form in (entity.name, *entity.aliases):
            if theirs.get(form, entity.name) != entity.name:
                yield f"{form!r} would be both {entity.name} and {theirs[form]}: it would be linked to neither by name alone"
    for entity in own.entities.values():
        for ticker in entity.tickers:
            if others.tickers.get(ticker, entity.name) != entity.name:
                yield f"{ticker} is {others.tickers[ticker]}'s too"


def _strange_facts(own: Catalogue, relations: list[str]) -> Iterator[str]:
    from agent.cli.edits import unknown_relation

    for relation in sorted({fact.relation for fact in own.facts.values()} - set(relations)):
        yield f"facts: {unknown_relation(relation, relations)}"


def _readings(name: str, catalogue: Catalogue, linker: Linker) -> list[tuple[str, str, str, str]]:
    """(entity, kind, what the name is of it, item) for every reading."""
    rows: dict[tuple[str, str, str], tuple[str, str, str, str]] = {}
    for reading in linker.readings(name):
        entity = catalogue.entities.get(reading.name)
        how = _how(name, reading.name, catalogue, demonym=reading.demonym, metonym=reading.metonym)
        item = entity.wikidata if entity and entity.kind == reading.kind else ""
        rows[reading.name, reading.kind, how] = (reading.name, reading.kind, how, item)
    person = linker.link_person(name).entity
    if person and not any(row[1] == "person" for row in rows.values()):
        entity = catalogue.entities.get(person)
        how = "name" if person == name else "surname or spelling"
        rows[person, "person", how] = (person, "person", how, entity.wikidata if entity else "")
    return list(rows.values())


def _how(name: str, entity: str, catalogue: Catalogue, *, demonym: bool, metonym: bool) -> str:
    if demonym or metonym:
        return "demonym" if demonym else "metonym"
    known = catalogue.entities.get(entity)
    if name == entity:
        return "name" if known else "name, of a fact or the word lists"
    return "ticker" if ":" in name or (known and name not in known.aliases) else "alias"
