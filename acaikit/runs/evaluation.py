"""Evaluating a run from outside: results go to its eval folder, or to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acaikit.artifacts.evaluations import protocol_hash, write_evaluation
from acaikit.artifacts.faults import TooMuch
from acaikit.artifacts.rundir import RunDir
from acaikit.data.location import writable
from acaikit.errors import EvaluationError, RunError
from acaikit.evaluators.base import Evaluator
from acaikit.evaluators.interpolation import Interpolation
from acaikit.evaluators.measure import result_of
from acaikit.report.names import about
from acaikit.report.pictures import draw_paths
from acaikit.runs.foreign import telling_of_parts
from acaikit.runs.opened import OpenRun
from acaikit.runs.provenance import data_protocol
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
    fault : str or None
        Why the result file is missing.
    """

    key: str
    scores: Scores
    protocol: dict[str, Any]
    protocol_sha256: str
    files: list[Path]
    fault: str | None = None


def destination(run: Path, out: Path | None) -> RunDir:
    """Return where a run's results go: into the run itself, or a folder of its name in `out`.

    Raises
    ------
    RunError
        If that can't be written, which is better said before hours of measuring.
    """
    place = RunDir(run if out is None else out / run.resolve().name)
    if not writable(place.eval):
        remedy = "give a folder for the results with --out" if out is None else "choose another --out"
        raise RunError(f"{place.eval} can't be written: {remedy}")
    return place


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
        Takes a line about pictures that could not be written.

    Raises
    ------
    EvaluationError
        If the evaluator doesn't fit the run, or there is nothing that it can measure.
    UserError
        If what it finds is no `Result` of numbers, or it is a plugin's and fails.
    """
    dataset, run_id = run.experiment.dataset, run.info["run_id"]
    files, fault = [], None
    with telling_of_parts(evaluator.evaluate):
        with run.trained.evaluating():
            if not evaluator.fits(run.trained):
                said = f"it doesn't fit this run on {type(dataset).__name__}"
                raise EvaluationError(f"{said}: it needs {evaluator.needs}")
            found = result_of(evaluator, run.trained)
        protocol = evaluator.protocol | {"data": data_protocol(dataset, dataset.digests)}
        try:
            files.append(
                write_evaluation(place.eval, evaluator.key, run.step, run_id, found.scores, protocol, found.arrays)
            )
        except (OSError, TooMuch) as error:
            fault = f"the result could not be written: {error}"
    if isinstance(evaluator, Interpolation):
        words = about(run.path.resolve().name, run.samples)
        try:
            files += draw_paths(dataset, evaluator, found.arrays["paths"], place.figures, words)
        except OSError as error:
            say(f"the pictures could not be written: {error}")
    return Measured(evaluator.key, found.scores, protocol, protocol_hash(protocol), files, fault)
