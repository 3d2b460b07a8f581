"""What names several runs: a study's folder stands for the runs of its plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acaikit.artifacts.rundir import RunDir
from acaikit.errors import RunError
from acaikit.runs import groups
from acaikit.studies.layout import StudyDir


def expand(text: str) -> list[Path]:
    """Return the run directories that `text` names: those of a study's folder, or what `groups.expand` finds.

    A study's come experiment by experiment, in the order of its plan; a run that has not begun has none.

    Raises
    ------
    RunError
        If there is none.
    """
    directory = study(text)
    if directory is None:
        return groups.expand(text)
    plan = directory.read()
    experiments: dict[Any, list[Path]] = {}
    for run in plan.runs:
        experiments.setdefault((run.recipe, run.overrides), []).append(directory.run(run.name))
    found = [path for paths in experiments.values() for path in paths if RunDir(path).exists()]
    if not found:
        raise RunError(f"none of the {len(plan.runs)} runs of {text} has begun: see acaikit status {text}")
    return found


def study(text: str) -> StudyDir | None:
    """Return the study whose folder `text` is; None where it is none."""
    directory = StudyDir(Path(text))
    try:
        return directory if directory.exists() else None
    except OSError:  # what can't be a path
        return None
