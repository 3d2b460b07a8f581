"""What names several runs: a study's folder stands for the runs of its plan."""

from __future__ import annotations

from glob import glob, has_magic
from pathlib import Path
from typing import Any

from acaikit.artifacts.rundir import RunDir
from acaikit.errors import RunError
from acaikit.recipes import STUDY, named
from acaikit.runs import expand as runs
from acaikit.studies.layout import Plan, StudyDir


def expand(text: str) -> list[Path]:
    """Return the run directories that `text` names: those of studies' folders, or what `acaikit.runs.expand` finds.

    A study's come experiment by experiment, in the order of its plan; a run that has not begun has none.

    Raises
    ------
    RunError
        If there is none.
    """
    return [path for place in places(text) for path in runs_of(place)]


def places(text: str) -> list[StudyDir | Path]:
    """Return the studies and the run directories that `text` names; it may be a glob of either.

    Raises
    ------
    RunError
        If there is none.
    """
    if directory := study(text):
        return [directory]
    if has_magic(text):
        fitting = sorted(glob(text, recursive=True))  # noqa: PTH207 (Path.glob refuses "**x")
        if studies := [directory for name in fitting if (directory := study(name))]:
            return [*studies, *(path for path in map(Path, fitting) if RunDir(path).exists())]
    check_run(text)
    return [*runs.expand(text)]


def runs_of(place: StudyDir | Path) -> list[Path]:
    """Return a run directory itself, or the run directories that there are of a study."""
    return _begun(place) if isinstance(place, StudyDir) else [place]


def unfolded(path: Path) -> list[Path]:
    """Return the run directories of a study if `path` is one, and `path` itself if not."""
    return runs_of(study(str(path)) or path)


def _begun(directory: StudyDir) -> list[Path]:
    """Return the run directories that there are of a study's plan; raise `RunError` if there is none."""
    plan = directory.read()
    experiments: dict[Any, list[Path]] = {}
    for run in plan.runs:
        experiments.setdefault((run.recipe, run.overrides), []).append(directory.run(run.name))
    found = [path for paths in experiments.values() for path in paths if RunDir(path).exists()]
    if not found:
        raise RunError(
            f"none of the {len(plan.runs)} runs of {directory.path} has begun: see acaikit status {directory.path}"
        )
    return found


def others(directory: StudyDir, plan: Plan) -> list[Path]:
    """Return the run directories in a study's folder that are no part of its plan, or none any more."""
    planned = {directory.run(run.name) for run in plan.runs}
    return [path for path in _inside(directory.run("")) if path not in planned]


def study(text: str) -> StudyDir | None:
    """Return the study whose folder `text` is; None where it is none."""
    directory = StudyDir(Path(text))
    try:
        return directory if directory.exists() else None
    except OSError:  # what can't be a path
        return None


def check_run(text: str) -> None:
    """Raise `RunError`, with what would work, where `text` is a study or has to do with one, but is no run."""
    path = Path(text)
    if study(text):
        raise RunError(f"{text} is a study, not a run: its runs are {path / 'runs'}/*; acaikit status {text} tells all")
    folder = next((folder for folder in (path, path / "runs") if _inside(folder)), None)
    if folder is not None and not RunDir(path).exists():
        raise RunError(f"{text} holds no run itself, but others that do: '{folder}/*'")
    if path.suffix == ".gin" or (text in named(STUDY) and not path.exists()):
        raise RunError(
            f"{text} is a gin file's name, not a run's: what was run lies in a folder, such as studies/{path.stem} of "
            f"a study, or runs/{path.stem}-s0 of a recipe"
        )


def _inside(folder: Path) -> list[Path]:
    """Return the run directories in a folder, in order; none where it can't be looked into."""
    try:
        return sorted(path for path in folder.iterdir() if RunDir(path).exists())
    except (OSError, ValueError):
        return []
