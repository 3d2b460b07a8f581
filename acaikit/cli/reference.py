"""``acaikit data reference``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from acaikit.cli import options
from acaikit.cli.completion import complete_binding
from acaikit.cli.data import Name, make
from acaikit.cli.evaluate import Protocol, With
from acaikit.cli.terminal import fail, out, print_json, say
from acaikit.errors import UserError
from acaikit.registry import find

PROBE = (
    "Its probe is a single layer, trained by Adam in tandem with an autoencoder; this one is a logistic regression, "
    "trained until it converges."
)
CLUSTERING = (
    "It is taken from another paper, whose protocol is not known; here the data are clustered without whitening unless "
    "--set KMeans.whitened says so."
)
ANOTHER = {"linear_probe": PROBE, "kmeans": CLUSTERING, "kmeans_strict": CLUSTERING}

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="BINDING",
        help="A parameter of the dataset or of an evaluator, such as KMeans.restarts=50.",
        autocompletion=complete_binding,
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
    from acaikit.evaluators.of_codes import OfCodes
    from acaikit.evaluators.reference import measure_raw, of_raw_data
    from acaikit.report.paper import raw_data
    from acaikit.report.tables import evaluation_tables
    from acaikit.runs.chosen import choose
    from acaikit.runs.provenance import data_protocol

    flags = {"linear_probe": linear_probe, "knn_probe": knn_probe, "kmeans": kmeans}
    asked = [key for key, wanted in flags.items() if wanted] + (others or []) or ["linear_probe"]
    for_evaluators = [text for text in parameters or [] if _is_for_evaluator(text)]
    for_dataset = [text for text in parameters or [] if text not in for_evaluators]
    own = of_raw_data(choose([], asked, None, read_bindings([])))
    chosen = choose(own, asked, protocol, read_bindings(for_evaluators))
    evaluators = [evaluator for evaluator in chosen if isinstance(evaluator, OfCodes)]
    dataset = make(name, for_dataset)
    shown = not (as_json or quiet)
    if shown:
        say(f"{name}: the data themselves, in place of a model's codes", out)
    told: dict[str, Any] = {"dataset": type(dataset).__name__}
    told |= {"scores": {}, "protocols": {}, "paper": {}, "faults": {}}
    for evaluator in evaluators:
        try:
            scores = measure_raw(dataset, evaluator).scores
        except UserError as error:
            fail(f"{evaluator.key} can't be measured: {error}")
            told["faults"][evaluator.key] = str(error)
            continue
        how = evaluator.protocol | {"data": data_protocol(dataset, dataset.digests), "codes": "the data themselves"}
        sha256, paper = protocol_hash(how), raw_data(evaluator.key, told["dataset"])
        told["scores"][evaluator.key] = scores
        told["protocols"][evaluator.key] = {**how, "sha256": sha256}
        told["paper"][evaluator.key] = paper
        if shown:
            for table in evaluation_tables(evaluator.key, scores, sha256):
                out.print(table)
            if paper is not None:
                say(f"The paper's accuracy is {paper:g} %. {ANOTHER.get(evaluator.key, '')}".rstrip(), out)
    if as_json:
        print_json(told)
    if told["faults"]:
        raise typer.Exit(2)


def _is_for_evaluator(text: str) -> bool:
    """Whether a binding is for an evaluator, and not for the dataset."""
    from acaikit.config import read_bindings

    names = [binding.name for binding in read_bindings([text]).bindings.values() if binding.name]
    return any(find(name).kind == "evaluators" for name in names)
