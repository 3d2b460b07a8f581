"""Evaluating a run from outside: results go to its eval folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from acaikit.artifacts.evaluations import write_evaluation
from acaikit.errors import UserError
from acaikit.evaluators.base import Evaluator
from acaikit.registry import parts
from acaikit.report.pictures import draw
from acaikit.runs.opened import OpenRun
from acaikit.runs.provenance import check_data
from acaikit.types import Scores


def evaluate_run(run: OpenRun, keys: Sequence[str], say: Callable[[str], None]) -> tuple[dict[str, Scores], list[Path]]:
    """Measure a run and write what was found.

    Parameters
    ----------
    run : OpenRun
        The run.
    keys : sequence of str
        Which evaluators, by key; all that fit, if empty.
    say : callable
        Takes a line about what could not be written.

    Returns
    -------
    scores : dict of str to dict
        By evaluator and score.
    files : list of Path
        The result files and pictures written.

    Raises
    ------
    UserError
        If an evaluator that was asked for doesn't fit the run.
    RunError
        If the dataset's examples are not those that the run began with.
    """
    scores: dict[str, Scores] = {}
    files: list[Path] = []
    check_data(run.path, run.info, run.experiment.dataset)
    split = run.experiment.dataset.test()
    measured_on = {
        "dataset": type(run.experiment.dataset).__name__,
        "shape": list(run.experiment.dataset.shape),
        "test_examples": len(split),
        **_measured(run.experiment.dataset.digests),
    }
    for evaluator in _chosen(run, keys, say):
        with run.trained.evaluating():
            found = evaluator.evaluate(run.trained)
        scores[evaluator.key] = found.scores
        try:
            files.append(
                write_evaluation(
                    run.directory.eval,
                    evaluator.key,
                    run.step,
                    run.info["run_id"],
                    found.scores,
                    evaluator.protocol | measured_on,
                    found.arrays,
                )
            )
        except OSError as error:
            say(f"the result of {evaluator.key} could not be written: {error}")
    if "interpolation" in scores:
        try:
            title = f"{run.path.name} · {run.samples:,} samples"
            files += draw(run.trained, run.directory.figures, title, run.experiment.evaluators)
        except OSError as error:
            say(f"the pictures could not be written: {error}")
    return scores, files


def _measured(digests: Mapping[str, str]) -> dict[str, str]:
    # Where there is no split of that name, as in CelebA, what is trained on is what is tested on.
    return {"data": digests.get("test", digests["train"])} if digests else {}


def _chosen(run: OpenRun, keys: Sequence[str], say: Callable[[str], None]) -> list[Evaluator]:
    """Return the evaluators asked for, with the recipe's own settings where the recipe has them."""
    known: dict[str, Evaluator] = {e.key: e for e in run.experiment.evaluators}
    for part in parts():
        if part.kind == "evaluators":
            try:
                evaluator: Evaluator = part.load()()
            except (TypeError, UserError) as error:
                say(f"the evaluator {part.name} is left out: {error}")
                continue
            known.setdefault(evaluator.key, evaluator)
    if not keys:
        return [evaluator for evaluator in known.values() if evaluator.fits(run.trained)]
    for key in keys:
        if not known[key].fits(run.trained):
            name = type(run.experiment.dataset).__name__
            raise UserError(f"the {key} evaluator doesn't fit this run on {name}: it needs {known[key].needs}")
    return [known[key] for key in keys]
