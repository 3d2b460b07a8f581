"""``acaikit list``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from acaikit.catalogue import Entry, catalogue
from acaikit.cli import options
from acaikit.cli.terminal import out, print_json
from acaikit.errors import UserError
from acaikit.registry import KINDS, parts, unknown


def _complete_kind(incomplete: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("list", epilog="Example: acaikit list regularizers")(list_parts)


def list_parts(
    kind: Annotated[
        str | None,
        typer.Argument(help=f"One of {', '.join(KINDS)}.", autocompletion=_complete_kind, show_default="all kinds"),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List every installed part: what it is, its parameters with defaults, and which distribution it comes from."""
    chosen = kind if kind is None or kind in KINDS else f"{kind}s"
    if chosen is not None and chosen not in KINDS:
        raise UserError(unknown("no kind of part is called", str(kind), KINDS))
    entries = catalogue(part for part in parts() if part.kind in KINDS and chosen in (None, part.kind))
    if as_json:
        print_json({"parts": [_plain(entry) for entry in entries]})
        return
    for group in KINDS:
        rows = [entry for entry in entries if entry.part.kind == group]
        if rows:
            out.print(_table(group, rows))


def _table(kind: str, entries: list[Entry]) -> Table:
    table = Table(
        "name", "what it is", "parameters", "from", title=kind, title_justify="left", title_style="bold", expand=True
    )
    for entry in entries:
        part = entry.part
        what = Text(entry.description) if entry.broken is None else Text(f"BROKEN: {entry.broken}", style="red")
        parameters = "\n".join(name if v is None else f"{name}={v}" for name, v in (entry.parameters or {}).items())
        table.add_row(Text(part.name), what, Text(parameters), Text(f"{part.distribution} {part.version}"))
    return table


def _plain(entry: Entry) -> dict[str, object]:
    part = entry.part
    return {
        "kind": part.kind,
        "name": part.name,
        "distribution": part.distribution,
        "version": part.version,
        "description": entry.description,
        "parameters": entry.parameters,
        "broken": entry.broken,
    }
