"""``acaikit plugin check``."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import nullcontext, redirect_stdout
from enum import StrEnum
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

    What is wrong is told with what to do about it. The same rules are checked by acaikit.testing, in a test of your
    own. The data of a dataset are fetched if need be. Exit code 1 if a rule is broken, 2 if the part can't be found or
    made.
    """
    # What a part prints while it is checked is not part of the answer.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        from acaikit.testing.subjects import subjects

        counts: Counter[str] = Counter()
        told = []
        for subject in subjects(name, settings or [], None if data is None else data.value):
            if not as_json:
                _begin(subject)
            findings = []
            for finding in subject.findings:
                counts[finding.verdict.value] += 1
                findings.append(finding)
                if not as_json:
                    _print(finding, findings[-2].data if len(findings) > 1 else None, verbose)
            told.append(_plain(subject, findings, verbose))
    conforms = not counts["broken"]
    if as_json:
        print_json({"name": name, "conforms": conforms, "checked": told})
    else:
        _summarise(name, counts)
    if not conforms:
        raise typer.Exit(1)


def _begin(subject: Subject) -> None:
    what = "" if subject.kind == "distribution" else f"{subject.kind[:-1]}, from {subject.distribution} "
    name = Text(subject.name, style="bold").append(f"  {what}{subject.version}", style="not bold")
    out.print(name, soft_wrap=True)


def _print(finding: Finding, before: str | None, verbose: bool) -> None:
    if finding.data is not None and finding.data != before:
        say(f"  on {finding.data}", out)
    mark, style = MARKS[finding.verdict.value]
    depth = 4 if finding.data else 2
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


def _summarise(name: str, counts: Counter[str]) -> None:
    others = counts["skipped"] + counts["refused"]
    said = {"kept": counts["kept"], "broken": counts["broken"], "without a verdict": others}
    numbers = ", ".join(f"{number} {what}" for what, number in said.items() if number)
    verdict = "doesn't conform" if counts["broken"] else "conforms"
    say(f"{name} {verdict}: of {counts.total()} rules {numbers}", out)


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
