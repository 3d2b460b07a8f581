"""``acaikit plugin check``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext, redirect_stdout
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from acaikit.cli import options
from acaikit.cli.completion import complete_binding, complete_part
from acaikit.cli.terminal import out, print_json, say

if TYPE_CHECKING:
    from acaikit.testing.findings import Finding
    from acaikit.testing.subjects import Subject

MARKS = {"kept": ("✓", "green"), "broken": ("✗", "bold red"), "skipped": ("–", "dim"), "refused": ("–", "dim")}


class DataName(StrEnum):
    """What a part is checked on."""

    images = "images"
    sequences = "sequences"
    vectors = "vectors"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("check", epilog="Example: acaikit plugin check ACAI --data vectors")(check)


def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A part, such as Sparse, or a distribution, such as acaikit-sparse: its parts and its recipes.",
            autocompletion=complete_part,
            show_default=False,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="BINDING",
            help="A parameter, such as Sparse.weight=0.1.",
            autocompletion=complete_binding,
        ),
    ] = None,
    data: Annotated[
        DataName | None,
        typer.Option(help="Check on this kind of data only; a dataset brings its own.", show_default="each in turn"),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the traceback where a rule is broken.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Check that a part keeps the rules that acaikit relies on, one line per rule: ✓ kept, ✗ broken, – no verdict.

    What is wrong is told with what to do about it. The same rules are checked by
    acaikit.testing, in a test of your own. The data of a dataset are fetched if
    need be. Exit code 1 if a rule is broken, 2 if there is no such part.
    """
    # What a part prints while it is checked is not part of the answer.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        from acaikit.testing.subjects import subjects

        told, everything = [], []
        for subject in subjects(name, settings or [], None if data is None else data.value):
            if as_json:
                findings = list(subject.findings)
            else:
                _begin(subject)
                findings = _print_all(subject.findings, verbose)
            told.append(_plain(subject, findings, verbose))
            everything += findings
    conforms = all(finding.verdict != "broken" for finding in everything)
    if as_json:
        print_json({"name": name, "conforms": conforms, "checked": told})
    else:
        _summarise(name, everything)
    if not conforms:
        raise typer.Exit(1)


def _begin(subject: Subject) -> None:
    what = "" if subject.kind == "distribution" else f"{subject.kind[:-1]}, from {subject.distribution} "
    name = Text(subject.name, style="bold").append(f"  {what}{subject.version}", style="not bold")
    out.print(name, soft_wrap=True)


def _print_all(findings: Iterable[Finding], verbose: bool) -> list[Finding]:
    """Print each finding as it is found; return them."""
    from acaikit.testing.findings import NOT_TRIED

    printed: list[Finding] = []
    for (on, not_tried), group in groupby(findings, lambda finding: (finding.data, finding.message == NOT_TRIED)):
        if on is not None and on not in {finding.data for finding in printed}:
            say(f"  on {on}", out)
        if not_tried:
            rest = list(group)
            line = f"{len(rest)} more rule{'s' * (len(rest) > 1)}, not tried before this is mended"
            _indent(Text(line, style="dim"), 4 if on else 2, Text("– ", style="dim"))
            printed += rest
            continue
        for finding in group:
            _print(finding, _same(finding, printed), verbose)
            printed.append(finding)
    return printed


def _same(finding: Finding, before: Iterable[Finding]) -> str | None:
    """Return the kind of data on which the same rule was broken in the same words before."""
    found = (other.data for other in before if (other.rule, other.message) == (finding.rule, finding.message))
    return next(found, None) if finding.verdict == "broken" else None


def _print(finding: Finding, same: str | None, verbose: bool) -> None:
    mark, style = MARKS[finding.verdict.value]
    depth = 4 if finding.data else 2
    if same is not None:
        _indent(Text(f"{finding.rule}: as on {same}", style=style), depth, Text(f"{mark} ", style=style))
        return
    told = {"kept": finding.rule, "broken": finding.rule, "refused": finding.message}
    line = _printable(told.get(finding.verdict.value, f"{finding.rule}: {finding.message}"))
    plain = finding.verdict == "kept"
    _indent(Text(line, style="" if plain else style), depth, Text(f"{mark} ", style=style))
    if finding.verdict == "broken":
        _indent(Text(_printable(finding.message)), depth + 2)
        if finding.where is not None:
            say(f"{' ' * (depth + 2)}at {_short(finding.where)}", out)
        if verbose and finding.traceback is not None:
            say(indent(_printable(finding.traceback), " " * (depth + 2)), out)


def _indent(text: Text, depth: int, mark: Text = Text()) -> None:  # noqa: B008 (it is never changed)
    """Print a text as wide as the terminal, the lines after the first under its words, not under its mark."""
    before = Text(" " * depth).append_text(mark)
    for line in text.wrap(out, max(out.width - len(before), 20)):
        whole = before.copy().append_text(line)
        whole.rstrip()
        out.print(whole, soft_wrap=True)
        before = Text(" " * len(before))


def _printable(text: str) -> str:
    """Return a text with the characters that would steer the terminal written as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text.expandtabs(4))


def _short(where: str) -> str:
    path = Path(where)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else where


def _summarise(name: str, findings: list[Finding]) -> None:
    counts = Counter(finding.verdict.value for finding in findings)
    others = counts["skipped"] + counts["refused"]
    said = {"kept": counts["kept"], "broken": counts["broken"], "without a verdict": others}
    numbers = ", ".join(f"{number} {what}" for what, number in said.items() if number)
    verdict = "doesn't conform" if counts["broken"] else "conforms"
    say(f"{name} {verdict}: of {counts.total()} rules {numbers}{_restricted(findings)}", out)


def _restricted(findings: list[Finding]) -> str:
    """Return how to check on a kind of data on which no rule is broken, where that is so of some kinds."""
    broken = {finding.data for finding in findings if finding.verdict == "broken"}
    kept = [on for on in dict.fromkeys(f.data for f in findings if f.verdict == "kept") if on and on not in broken]
    if not broken or None in broken or not kept:
        return ""
    return f"; on {' and '.join(kept)} it does, and --data {kept[0]} checks on {kept[0]} alone"


def _plain(subject: Subject, findings: list[Finding], verbose: bool) -> dict[str, Any]:
    rules = []
    for finding in findings:
        told = {
            "rule": finding.rule,
            "data": finding.data,
            "verdict": finding.verdict.value,
            "message": finding.message,
        }
        rules.append(told | {"where": finding.where} | ({"traceback": finding.traceback} if verbose else {}))
    return {
        "name": subject.name,
        "kind": subject.kind,
        "distribution": subject.distribution,
        "version": subject.version,
        "rules": rules,
    }
