"""``acaikit data reference``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from acaikit.cli import options
from acaikit.cli.data import Name, make
from acaikit.cli.evaluate import Protocol, With
from acaikit.cli.terminal import out, print_json, say
from acaikit.registry import find

if TYPE_CHECKING:
    from acaikit.types import Scores

ANOTHER_PROBE = (
    "The paper's probe is a single layer, trained by Adam in tandem with an autoencoder; this one is a logistic "
    "regression, trained until it converges."
)

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="BINDING", help="A parameter of the dataset or of an evaluator, such as KMeans.restarts=50."
    ),
]


def register(data: typer.Typer) -> None:
    """Add the command to ``acaikit data``."""
    data.command("reference", epilog="Example: acaikit data reference MNIST --linear-probe --knn-probe")(reference)


def reference(
    name: Name,
    linear_probe: Annotated[
        bool, typer.Option("--linear-probe", help="Logistic regression.", show_default="without another flag")
    ] = False,
    knn_probe: Annotated[
        bool, typer.Option("--knn-probe", help="The labels of the nearest training examples.")
    ] = False,
    kmeans: Annotated[bool, typer.Option("--kmeans", help="Clustering; may take an hour.")] = False,
    others: With = None,
    protocol: Protocol = None,
    parameters: Parameters = None,
    data_dir: options.DataDir = None,
    threads: options.Threads = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a dataset itself, as if its examples were the codes of a model: what a model has to surpass.

    Data that are not here are fetched first. Nothing is stored.
    """
    options.apply(data_dir, threads, quiet=quiet)
    from acaikit.artifacts.evaluations import protocol_hash
    from acaikit.config import read_bindings
    from acaikit.evaluators.reference import measure_raw, of_codes
    from acaikit.report.paper import raw_data
    from acaikit.runs.chosen import choose
    from acaikit.runs.evaluation import measured_on

    flags = {"linear_probe": linear_probe, "knn_probe": knn_probe, "kmeans": kmeans}
    asked = [key for key, wanted in flags.items() if wanted] + (others or [])
    for_evaluators = [text for text in parameters or [] if _is_for_evaluator(text)]
    for_dataset = [text for text in parameters or [] if text not in for_evaluators]
    evaluators = of_codes(choose([], asked or ["linear_probe"], protocol, read_bindings(for_evaluators)))
    dataset = make(name, for_dataset)
    shown = not (as_json or quiet)
    if shown:
        say(f"{name}: the data themselves, in place of a model's codes", out)
    told: dict[str, Any] = {"dataset": type(dataset).__name__, "scores": {}, "protocols": {}, "paper": {}}
    for evaluator in evaluators:
        scores = measure_raw(dataset, evaluator).scores
        how = evaluator.protocol | measured_on(dataset) | {"codes": "the data themselves"}
        sha256, paper = protocol_hash(how), raw_data(evaluator.key, told["dataset"])
        told["scores"][evaluator.key] = scores
        told["protocols"][evaluator.key] = {**how, "sha256": sha256}
        told["paper"][evaluator.key] = paper
        if shown:
            _print(evaluator.key, scores, paper, sha256)
    if as_json:
        print_json(told)


def _is_for_evaluator(text: str) -> bool:
    """Whether a binding is for an evaluator, and not for the dataset."""
    from acaikit.config import read_bindings

    names = [binding.name for binding in read_bindings([text]).bindings.values() if binding.name]
    return any(find(name).kind == "evaluators" for name in names)


def _print(key: str, scores: Scores, paper: float | None, sha256: str) -> None:
    from acaikit.artifacts.evaluations import SHORT
    from acaikit.report.progress import number

    title = Text(f"{key} · protocol {sha256[:SHORT]}")
    table = Table("score", title=title, title_justify="left", title_style="bold", min_width=title.cell_len)
    table.add_column("value", justify="right")
    beside = {} if paper is None else {"accuracy": number(paper)}
    if beside:
        table.add_column("paper", justify="right")
    for score, value in scores.items():
        table.add_row(score, number(value), *([beside.get(score)] if beside else []))
    out.print(table)
    if paper is not None and key == "linear_probe":
        say(ANOTHER_PROBE, out)
