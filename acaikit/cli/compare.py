"""``acaikit compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from acaikit.cli import options
from acaikit.cli.completion import complete_run_or_study_dir
from acaikit.cli.terminal import out, print_json, say

if TYPE_CHECKING:
    from acaikit.report.measured import Group
    from acaikit.runs.compared import Comparison


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("compare", epilog="Example: acaikit compare runs/lines_baseline_64 runs/lines_acai_64")(compare)


def _side(name: str) -> Any:
    return typer.Argument(
        metavar=name,
        help="A run directory, a quoted glob, the prefix of several seeds, or the folder of a study of one experiment.",
        autocompletion=complete_run_or_study_dir,
        show_default=False,
    )


def compare(
    a: Annotated[str, _side("A")],
    b: Annotated[str, _side("B")],
    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            metavar="NAME",
            help="Which scores, such as probe/accuracy or 'factor/*'.",
            show_default="every single number that both have",
        ),
    ] = None,
    results: options.Results = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare two experiments over the seeds that both have: B minus A, and in what the experiments differ.

    runs/lines_acai_64 stands for runs/lines_acai_64-s0, runs/lines_acai_64-s1, ... The interval is a 95 % percentile
    bootstrap of the mean paired difference, 10,000 resamples. What is not finished is left out.
    """
    from acaikit.runs.compared import compare as compared
    from acaikit.runs.groups import group, read_runs
    from acaikit.studies.expand import expand

    notes: list[str] = []
    one, two = (group(read_runs(expand(text), notes.append, results)) for text in (a, b))
    found = compared(one, two, scores or [])
    notes += found.notes
    if as_json:
        print_json(_plain(found, notes))
        return
    _show(found)
    for note in notes:
        say(f"note: {note}")


def _show(found: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    from acaikit.artifacts.evaluations import SHORT
    from acaikit.report.layout import said
    from acaikit.report.progress import number

    for name, side in (("A", found.a), ("B", found.b)):
        say(f"{name}: {side.name}", out)
    say("\n".join(["they differ in (A -> B):", *(f"  {line}" for line in found.settings or ["nothing"])]), out)
    table = Table()
    table.add_column("score", no_wrap=True)
    for heading in ("n", "A", "B", "B − A"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right")
    names = [score.score for score in found.scores]
    for score in found.scores:
        name = score.score + (f" [{score.protocol_sha256[:SHORT]}]" if names.count(score.score) > 1 else "")
        interval = "–" if score.interval is None else "{} to {}".format(*map(number, score.interval))
        means = [float(sum(values.values())) / len(values) for values in (score.a, score.b)]
        shown = [number(value) for value in (*means, float(score.paired.mean()))]
        table.add_row(Text(name), str(len(score.a)), *shown, interval)
    out.print(table)
    for sha256, protocol in {score.protocol_sha256: score.protocol for score in found.scores}.items():
        say(f"protocol {sha256[:SHORT]}: {said(protocol)}", out)


def _plain(found: Comparison, notes: list[str]) -> dict[str, Any]:
    return {
        "a": _about(found.a),
        "b": _about(found.b),
        "settings": list(found.settings),
        "scores": [
            {
                "score": score.score,
                "n": len(score.a),
                "a": {str(seed): value for seed, value in score.a.items()},
                "b": {str(seed): value for seed, value in score.b.items()},
                "mean_a": sum(score.a.values()) / len(score.a),
                "mean_b": sum(score.b.values()) / len(score.b),
                "difference": float(score.paired.mean()),
                "interval": score.interval,
                "protocol_sha256": score.protocol_sha256,
            }
            for score in found.scores
        ],
        "protocols": {score.protocol_sha256: dict(score.protocol) for score in found.scores},
        "notes": notes,
    }


def _about(group: Group) -> dict[str, Any]:
    return {"name": group.name, "recipe": group.recipe, "runs": [str(run.path) for run in group.runs]}
