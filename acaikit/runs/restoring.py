"""Bringing a run back to its last checkpoint that is sound and fits; what is damaged is moved aside out loud."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import is_running
from acaikit.artifacts.publish import is_temporary, remove_stale, sync_folder
from acaikit.artifacts.quarantine import move_damaged_parts
from acaikit.artifacts.rundir import RunDir
from acaikit.engine import Trainer
from acaikit.errors import RunError


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
        The run is trained on another kind of device, or has checkpoints and none that can be read.
    UserError
        It has sound checkpoints and none that fits the experiment.
    OSError
        Something can't be moved.
    """
    then = info["fingerprint"].get("device")
    if then != trainer.device.type:
        raise RunError(
            f"{directory.path} is trained on {then}, whose random generators can't go on on {trainer.device.type}: "
            f"use --device {then}"
        )
    checkpoints = Checkpoints(directory.checkpoints, info["run_id"])
    latest = checkpoints.latest(report=report, quarantine=directory.quarantine, accept=trainer.load_state_dict)
    if latest is None and any(directory.quarantine.glob("step-*")):
        raise RunError(
            f"{directory.path} has no checkpoint left that can be read; the damaged ones are in "
            f"{directory.quarantine}, its metrics are as they were. To start anew choose another folder with --dir"
        )
    move_damaged_parts(directory.metrics, directory.quarantine, report)
    if latest is None:
        return State.NEW
    return State.FINISHED if trainer.finished else State.UNFINISHED


def remove_leftovers(directory: RunDir) -> None:
    """Remove the temporary files that killed processes left. The caller holds the lock.

    `eval` and `figure` take no lock, so in their folders the file of a process that is still running stays.

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
                    path.unlink()
    sync_folder(directory.path.resolve().parent)  # a process killed when it had just made the run's folder didn't


def _writer(temporary: Path) -> int:
    return int(temporary.name.split(".")[-3])
