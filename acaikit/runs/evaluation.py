"""Evaluating a run from outside: results go to its eval folder, or to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acaikit.artifacts.evaluations import protocol_hash, write_evaluation
from acaikit.artifacts.rundir import RunDir
from acaikit.data.base import Dataset
from acaikit.data.location import writable
from acaikit.errors import RunError, UserError
from acaikit.evaluators.base import Evaluator
from acaikit.report.pictures import draw
from acaikit.runs.opened import OpenRun
from acaikit.runs.provenance import check_data
from acaikit.types import Scores


@dataclass(frozen=True)
class Measured:
    """What one evaluator found of a run.

    Attributes
    ----------
    key : str
        The evaluator's.
    scores : dict of str to float
        The numbers.
    protocol : dict
        How they were measured, and on which data.
    protocol_sha256 : str
        The protocol's hash: numbers compare only where it is equal.
    files : list of Path
        The result file and pictures, where they could be written.
    """

    key: str
    scores: Scores
    protocol: dict[str, Any]
    protocol_sha256: str
    files: list[Path]


def destination(run: Path, out: Path | None) -> RunDir:
    """Return where a run's results go: into the run itself, or a folder of its name in `out`.

    Raises
    ------
    RunError
        If that can't be written, which is better said before hours of measuring.
    """
    place = RunDir(run if out is None else out / run.resolve().name)
    for folder in (place.eval, place.figures):
        if not writable(folder):
            remedy = "give a folder for the results with --out" if out is None else "choose another --out"
            raise RunError(f"{folder} can't be written: {remedy}")
    return place


def check(run: OpenRun, evaluators: Sequence[Evaluator]) -> None:
    """Refuse what can't be measured before anything is.

    Raises
    ------
    UserError
        If an evaluator doesn't fit the run.
    RunError
        If the dataset's examples are not those that the run began with.
    """
    dataset = run.experiment.dataset
    check_data(run.path, run.info, dataset)
    for evaluator in evaluators:
        if not evaluator.fits(run.trained):
            name = type(dataset).__name__
            raise UserError(f"the {evaluator.key} evaluator doesn't fit this run on {name}: it needs {evaluator.needs}")


def measure(run: OpenRun, evaluator: Evaluator, place: RunDir, say: Callable[[str], None]) -> Measured:
    """Measure a run and write what was found.

    Parameters
    ----------
    run : OpenRun
        The run.
    evaluator : Evaluator
        What is to be measured; it must fit, see `check`.
    place : RunDir
        Where results go, see `destination`.
    say : callable
        Takes a line about what could not be written.

    Raises
    ------
    EvaluationError
        If there is nothing that can be measured.
    """
    with run.trained.evaluating():
        found = evaluator.evaluate(run.trained)
    protocol, run_id = evaluator.protocol | measured_on(run.experiment.dataset), run.info["run_id"]
    files = []
    try:
        files.append(
            write_evaluation(place.eval, evaluator.key, run.step, run_id, found.scores, protocol, found.arrays)
        )
    except OSError as error:
        say(f"the result of {evaluator.key} could not be written: {error}")
    if evaluator.key == "interpolation":
        try:
            files += draw(run.trained, place.figures, f"{run.path.name} · {run.samples:,} samples", [evaluator])
        except OSError as error:
            say(f"the pictures could not be written: {error}")
    return Measured(evaluator.key, found.scores, protocol, protocol_hash(protocol), files)


def measured_on(dataset: Dataset) -> dict[str, Any]:
    """Return what a protocol says of the data: name, shape, number and hash of the test examples."""
    return {
        "dataset": type(dataset).__name__,
        "shape": list(dataset.shape),
        "test_examples": len(dataset.test()),
        **_test_digest(dataset.digests),
    }


def _test_digest(digests: Mapping[str, str]) -> dict[str, str]:
    # Where there is no split of that name, as in CelebA, what is trained on is what is tested on.
    return {"data": digests.get("test", digests["train"])} if digests else {}
