"""What is left to do of a study: the one definition of when a run is done."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.rundir import RunDir
from acaikit.errors import RunError
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import State
from acaikit.studies.progress import saved

EXACT = 1.0
"""Seconds: an outcome gives times in whole ones."""


def todo(study: StudyDir, plan: Plan) -> list[Run]:
    """Return the runs that are not done, in their order."""
    return [run for run in plan.runs if not is_done(study, plan, run.name)]


def is_done(study: StudyDir, plan: Plan, name: str) -> bool:
    """Say whether a run is trained to its end, and all that the plan measures then is measured.

    The outcome alone isn't believed: the run directory may have been removed, or trained further, and the plan may name
    other evaluators by now. A checkpoint is read only if it is newer than the outcome, since a study has hundreds.
    """
    outcome = study.outcome(name)
    if outcome is None or outcome.state is not State.DONE:
        return False
    *measured, samples = outcome.evaluation or ("",)
    if plan.evaluation and tuple(measured) != plan.evaluation:
        return False
    run = study.run(name)
    with suppress(ValueError, TypeError):  # the file may be anybody's
        if (changed := _changed(run)) is None:
            return False
        if changed < datetime.fromisoformat(outcome.ended).timestamp() + EXACT:
            return True
    newest = next(iter(saved(run)), None)
    if newest is None or not newest.finished:
        return False
    return not plan.evaluation or samples == str(newest.samples)


def _changed(run: Path) -> float | None:
    """Return when the newest checkpoint was saved, in seconds since the epoch; None where there is none."""
    with suppress(RunError, OSError):
        checkpoints = Checkpoints(RunDir(run).checkpoints, "")
        for step in checkpoints.steps()[-1:]:
            return checkpoints.path(step).stat().st_mtime
    return None
