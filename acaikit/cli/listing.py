"""``acaikit list``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from acaikit import recipes, registry
from acaikit.catalogue import Entry, catalogue
from acaikit.cli import options
from acaikit.cli.completion import complete_kind
from acaikit.cli.terminal import out, print_json, say
from acaikit.errors import UserError
from acaikit.recipes import NAMED, RECIPE, Kind
from acaikit.registry import KINDS, ONLY, Part, parts, shortest_name, unknown

WIDEST = 10_000
"""Columns of a table that no terminal bounds, at most."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("list", epilog="Example: acaikit list regularizers")(list_parts)


def list_parts(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help=f"One of {', '.join(KINDS)}; recipes or studies.",
            autocompletion=complete_kind,
            show_default="all kinds of parts",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the traceback of what can't be imported.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List what is installed: each part, its parameters with defaults, its distribution and file; recipes; or studies.

    A part that acaikit or another plugin has too is listed under the name that reaches it. What can't be imported is
    BROKEN, and harms no command that doesn't name it. ACAIKIT_PLUGINS=acaikit-one,acaikit-two restricts which plugins
    count; set and empty, none does.
    """
    gin = {of.plural: of for of in NAMED}
    plurals = {of.name: of.plural for of in NAMED} | {name.removesuffix("s"): name for name in KINDS}
    chosen = plurals.get(kind, kind) if kind is not None else None
    known = (*KINDS, *gin)
    if chosen is not None and chosen not in known:
        raise UserError(unknown("no kind of part is called", chosen, known))
    notes = _notes()
    if chosen in gin:
        _list_named(gin[chosen], notes, as_json)
        return
    entries = catalogue(part for part in parts() if part.kind in KINDS and chosen in (None, part.kind))
    if as_json:
        print_json({"parts": [_plain(entry, verbose) for entry in entries], "notes": notes})
        return
    for group in KINDS:
        rows = [entry for entry in entries if entry.part.kind == group]
        if rows:
            _print(_table(group, rows))
    for entry in entries:
        if verbose and entry.traceback is not None:
            say(f"\n{entry.part.full_name}:\n{entry.traceback}", out)
    _say(notes)


def _notes() -> list[str]:
    """Return what the list lacks, and why."""
    left_out, absent = registry.left_out(), registry.absent()
    notes = registry.faults()
    if left_out:
        notes.append(f"{ONLY} leaves out {', '.join(left_out)}")
    if absent:
        hints = [f"{name}{_meant(name)}" for name in absent]
        notes.append(f"{ONLY} names what brings no parts here: {', '.join(hints)}")
    return notes


def _meant(distribution: str) -> str:
    others = sorted({part.distribution for part in registry.installed() if part.distribution != registry.OURS})
    near = registry.nearest(distribution, others)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _say(notes: Iterable[str]) -> None:
    for note in notes:
        say(f"note: {note}")


def _table(kind: str, entries: list[Entry]) -> Table:
    table = _begin(kind, "name", "what it is", "parameters", "from")
    for entry in entries:
        part = entry.part
        parameters = "\n".join(name if v is None else f"{name}={v}" for name, v in (entry.parameters or {}).items())
        name = Text("\n".join(filter(None, (shortest_name(part), entry.key and f"key {entry.key}"))))
        table.add_row(name, _what(entry.description, entry.broken), Text(parameters), _origin(part, entry.file))
    return table


def _begin(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    return table


def _print(table: Table) -> None:
    """Print a table, which a terminal alone makes narrower: a file or a pipe is searched by lines."""
    if not out.is_terminal:
        table.width = out.measure(table, options=out.options.update(max_width=WIDEST)).maximum
    out.print(table, crop=out.is_terminal)


def _what(description: str, broken: str | None) -> Text:
    return Text(description) if broken is None else Text(f"BROKEN: {broken}", style="red")


def _origin(part: Part, file: Path | None) -> Text:
    return Text("\n".join([f"{part.distribution} {part.version}", *(_short(file) if file else [])]))


def _short(file: Path) -> list[str]:
    """Return lines of a file's path as Python imports it: below the innermost folder of `sys.path` that it is in."""
    folders = [folder for folder in map(Path, sys.path) if folder.is_absolute() and file.is_relative_to(folder)]
    inner = max(folders, key=lambda folder: len(folder.parts), default=None)
    shown = str(file.relative_to(inner) if inner else file)
    if not out.is_terminal:
        return [shown]
    return [line.replace("/ ", "/") for line in wrap(shown.replace("/", "/ "), out.width // 5, break_long_words=False)]


def _plain(entry: Entry, verbose: bool) -> dict[str, object]:
    part = entry.part
    told: dict[str, object] = {
        "kind": part.kind,
        "name": part.name,
        "shortest_name": shortest_name(part),
        "distribution": part.distribution,
        "version": part.version,
        "file": None if entry.file is None else str(entry.file),
        "description": entry.description,
        "parameters": entry.parameters,
        "broken": entry.broken,
    }
    if part.kind == "evaluators":
        told["key"] = entry.key
    if verbose:
        told["traceback"] = entry.traceback
    return told


def _list_named(kind: Kind, notes: list[str], as_json: bool) -> None:
    named, broken = recipes.named(kind), recipes.broken() if kind is RECIPE else {}
    if as_json:
        found = [
            {"name": name, "distribution": r.distribution, "file": str(r.file), "description": r.description}
            for name, r in named.items()
        ]
        packages = [
            {"package": p.entry_point.value, "distribution": p.distribution, "version": p.version, "broken": reason}
            for p, reason in broken.items()
        ]
        print_json({kind.plural: found, "broken": packages, "notes": notes})
        return
    table = _begin(kind.plural, "name", "what it is", "from")
    for name, recipe in named.items():
        table.add_row(
            Text(name), Text(recipe.description), Text("\n".join([recipe.distribution, *_short(recipe.file)]))
        )
    for package, reason in broken.items():
        table.add_row(Text(package.name), _what("", reason), _origin(package, None))
    _print(table)
    _say(notes)
