"""Bringing a run back to its last checkpoint that is sound and fits; what is damaged is moved aside out loud."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import is_running
from acaikit.artifacts.parts import list_parts
from acaikit.artifacts.publish import is_temporary, remove_stale, sync_folder
from acaikit.artifacts.quarantine import move_aside, move_damaged_parts
from acaikit.artifacts.rundir import RunDir
from acaikit.engine import Trainer
from acaikit.errors import RunError

_LONG = 86_400.0
"""Seconds after which a temporary file is nobody's."""


class State(Enum):
    """What a run directory holds, seen from a recipe that is to be run there."""

    NEW = "new"
    UNFINISHED = "unfinished"
    FINISHED = "finished"


def restore(directory: RunDir, trainer: Trainer, info: dict[str, Any], report: Callable[[str], None]) -> State:
    """Load the newest checkpoint that passes into `trainer`, and leave only whole metrics. The caller holds the lock.

    Raises
    ------
    RunError
        The run is trained on another kind of device, or was trained before and has no checkpoint that can be read.
    UserError
        It has sound checkpoints and none that fits the experiment.
    OSError
        Something can't be moved.
    """
    then = info["fingerprint"]["device"]
    if then != trainer.device.type:
        raise RunError(
            f"{directory.path} is trained on {then}, whose random generators can't go on on {trainer.device.type}: "
            f"use --device {then}"
        )
    checkpoints = Checkpoints(directory.checkpoints, info["run_id"])
    latest = checkpoints.latest(report=report, quarantine=directory.quarantine, accept=trainer.load_state_dict)
    if latest is None and _began(directory, checkpoints):
        damaged = f"damaged ones are in {directory.quarantine}, and " if directory.quarantine.is_dir() else ""
        raise RunError(
            f"{directory.path} was trained before, but has no checkpoint left that can be read; {damaged}its "
            f"metrics are as they were. Put a copy of a checkpoint back, or start anew in another folder: acaikit run "
            f"RECIPE --dir FOLDER"
        )
    if latest is not None:
        checkpoints.move_damaged(directory.quarantine, report, below=latest[0])
    rows = move_damaged_parts(directory.metrics, directory.quarantine, report)
    if latest is None:
        if len(rows) > 1:  # a first row, and the process killed before its checkpoint, is nothing to tell
            for part in reversed(list_parts(directory.metrics)):
                move_aside(part, directory.quarantine)
            report(
                f"no checkpoint was ever saved: begun anew; the {len(rows)} rows so far are in {directory.quarantine}"
            )
        return State.NEW
    if lacking := lacking_rows(trainer.steps, trainer.samples, trainer.experiment.evaluate_every, rows):
        report(f"metrics: {lacking} of the rows up to step {trainer.steps} are missing, and stay so")
    return State.FINISHED if trainer.finished else State.UNFINISHED


def lacking_rows(steps: int, samples: int, evaluate_every: int, rows: np.ndarray[Any, Any]) -> int:
    """Return how many rows of metrics are missing at least, that were measured on the way to a checkpoint.

    Parameters
    ----------
    steps, samples : int
        Of the checkpoint.
    evaluate_every : int
        The experiment's.
    rows : numpy.ndarray
        int64, ``(rows,)``: the steps of the rows that there are.
    """
    # A step that passes several evaluations at once has one row.
    measured = min(steps, samples // evaluate_every)
    return max(measured - int(np.count_nonzero(rows <= steps)), 0)


def _began(directory: RunDir, checkpoints: Checkpoints) -> bool:
    """Say whether there was a checkpoint: one that is of no use, or a whole folder that is gone."""
    if checkpoints.steps() or any(directory.quarantine.glob("step-*")):
        return True
    return not directory.checkpoints.is_dir() and directory.metrics.is_dir()


def remove_leftovers(directory: RunDir) -> None:
    """Remove the temporary files that killed processes left. The caller holds the lock.

    `eval` and `figure` take no lock, and may run on another host: in their folders the file of a process that is still
    running stays, and any that is younger than a day.

    Raises
    ------
    OSError
        A file can't be removed.
    """
    for folder in (directory.path, directory.checkpoints, directory.metrics, directory.quarantine):
        remove_stale(folder)
    for folder in (directory.eval, directory.figures):
        for path in folder.iterdir() if folder.is_dir() else ():
            if is_temporary(path) and not is_running(_writer(path)):
                with suppress(FileNotFoundError):
                    if time.time() - path.lstat().st_mtime > _LONG:
                        path.unlink()
    sync_folder(directory.path.resolve().parent)  # a process killed when it had just made the run's folder didn't


def _writer(temporary: Path) -> int:
    return int(temporary.name.split(".")[-3])
