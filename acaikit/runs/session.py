"""A session: one process's turn at training a run, from its last checkpoint to its budget or a stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.publish import is_temporary, make_folder, remove_stale
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config, build, telling_places
from acaikit.config.resolve import differences
from acaikit.engine import Callback, Trainer, train
from acaikit.errors import RunError
from acaikit.objective import players
from acaikit.runs.provenance import began_with, changed_versions, check_data, describe, fingerprint
from acaikit.types import Scores

SAVE_EVERY = 600.0
"""Seconds after which a checkpoint is due even if no evaluation is."""

Say = Callable[[str], None]


class State(Enum):
    """What a run directory holds, seen from a recipe that is to be run there."""

    NEW = "new"
    UNFINISHED = "unfinished"
    FINISHED = "finished"


@dataclass
class Session:
    """A run that this process holds the lock of.

    Attributes
    ----------
    directory : RunDir
        The run directory.
    trainer : Trainer
        At the run's last checkpoint.
    state : State
        What the directory held when the session was opened.
    """

    directory: RunDir
    trainer: Trainer
    state: State
    info: dict[str, Any]
    say: Say

    def __post_init__(self) -> None:
        self.checkpoints = Checkpoints(self.directory.checkpoints, self.info["run_id"])
        self.metrics = Metrics(self.directory.metrics, self.info["run_id"])
        self.metrics.truncate(self.trainer.steps)
        self._saved_at, self._saved_step = time.monotonic(), self.trainer.steps
        if self.state is State.NEW:
            self._saved_step = -1

    def train(self, callbacks: Sequence[Callback], stop: Callable[[], bool]) -> None:
        """Train to the budget or to a stop, and save what was reached."""
        if self.state is State.UNFINISHED:
            self._tell_what_changed()
        # An exception may leave half a step behind: nothing is saved then, and the last checkpoint stands.
        train(self.trainer, [self, *callbacks], stop)
        self.save()

    def _tell_what_changed(self) -> None:
        now, then = fingerprint(self.trainer.device), self.info["fingerprint"]
        changed = [f"{name} {then.get(name)} -> {value}" for name, value in now.items() if then.get(name) != value]
        if changed:
            said = ", ".join(changed)
            self.say(f"this run began under other conditions, so its bits may differ from here on: {said}")
        for line in changed_versions(self.info):
            self.say(line)

    def extend(self, samples: int) -> None:
        """Raise the budget, and save it at once; asking for the budget that the run has changes nothing.

        Raises
        ------
        RunError
            If the run's budget is larger.
        """
        if samples < self.trainer.budget:
            raise RunError(
                f"{self.directory.path} has a budget of {self.trainer.budget:,} samples already; --samples extends it"
            )
        if samples > self.trainer.budget:
            self.trainer.budget = samples
            self.state = State.UNFINISHED
            self._saved_step = -1
            self.save()

    @property
    def saved(self) -> bool:
        """Whether what was trained is all in a checkpoint."""
        return self._saved_step == self.trainer.steps

    def save(self) -> None:
        """Save a checkpoint, unless this step has one; a failure is told, and the one before it stays."""
        if self.saved:
            return
        self._saved_at = time.monotonic()
        try:
            self.checkpoints.save(self.trainer.steps, self.trainer.state_dict())
            self._saved_step = self.trainer.steps
        except OSError as error:
            self.say(
                f"the checkpoint of step {self.trainer.steps} could not be saved ({error}); the one before it is intact"
            )

    def on_step(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        """Save when no checkpoint was saved for a long time."""
        if time.monotonic() - self._saved_at > SAVE_EVERY:
            self.save()

    def on_row(self, trainer: Trainer, losses: dict[str, float], scores: Scores) -> None:
        """Write the row, then the checkpoint that holds it."""
        row = {"samples": float(trainer.samples), **{f"loss/{k}": v for k, v in losses.items()}, **scores}
        try:
            self.metrics.append(trainer.steps, row)
        except OSError as error:
            self.say(f"the metrics of step {trainer.steps} could not be written ({error}); those before are intact")
        self.save()


@contextmanager
def open_session(
    path: Path,
    *,
    config: Config | None = None,
    overrides: Sequence[str] = (),
    device: torch.device | str = "cpu",
    say: Say = print,
) -> Iterator[Session]:
    """Take a run's lock and bring its trainer to the last checkpoint.

    What the dataset needs from the network and the disk is got first: without it, the run directory isn't made.

    Parameters
    ----------
    path : Path
        The run directory.
    config : Config, optional
        What to run there; left out, the run must exist.
    overrides : sequence of str
        Remembered with a new run.
    device : torch.device or str
        Where to train.
    say : callable
        Takes a line that the user should see.

    Raises
    ------
    RunError
        If another process holds the run, it began with a plugin that is not installed, or the directory holds another
        experiment or something that is no run.
    DataError
        If the data can't be had.
    """
    directory, device = RunDir(path), torch.device(device)
    check(path, config)
    recipe = config if config is not None else began_with(path, directory.read_run())
    experiment = build(recipe)
    with telling_places(recipe):
        players(*experiment.build())  # what doesn't fit together is said before gigabytes are got
    experiment.dataset.prepare()
    trainer = Trainer(experiment, device)
    lock = FileLock(directory.lock_file)
    try:
        make_folder(path)
        lock.acquire(blocking=False)
    except Timeout:
        raise RunError(f"{path} is being trained by another process") from None
    except OSError as error:
        raise RunError(f"{path} can't be written: {error}") from error
    try:
        for folder in (path, directory.checkpoints, directory.metrics, directory.eval, directory.figures):
            if folder.is_dir():
                remove_stale(folder)
        if not directory.exists():
            assert config is not None
            directory.write_run(describe(config, list(overrides), experiment.seed, device, experiment.dataset.digests))
        info = directory.read_run()
        check_data(path, info, experiment.dataset)
        state = _restore(directory, trainer, info, say)
        yield Session(directory, trainer, state, info, say)
    finally:
        lock.release()


def check(path: Path, config: Config | None) -> None:
    """Raise `RunError` unless `path` is free or holds the run of `config` (any run, where `config` is None)."""
    directory = RunDir(path)
    if not directory.exists():
        if config is None:
            directory.read_run()
        # What a process killed before the run was written leaves behind is no obstacle.
        if path.exists() and (
            not path.is_dir() or any(f.name != ".lock" and not is_temporary(f) for f in path.iterdir())
        ):
            raise RunError(f"{path} exists and is no run: choose another folder with --dir")
        return
    if config is not None:
        different = list(differences(began_with(path, directory.read_run()), config))
        if different:
            shown = "\n  ".join(map(str, different))
            raise RunError(
                f"{path} holds another experiment (its value -> the one asked for):\n  {shown}\n"
                f"choose another folder with --dir, or continue that run with: acaikit resume {path} [--samples N]"
            )


def _restore(directory: RunDir, trainer: Trainer, info: dict[str, Any], say: Say) -> State:
    then = info["fingerprint"]["device"]
    if then != trainer.device.type:
        raise RunError(
            f"{directory.path} is trained on {then}, whose random generators can't go on on {trainer.device.type}: "
            f"use --device {then}"
        )
    latest = Checkpoints(directory.checkpoints, info["run_id"]).latest(report=say, quarantine=directory.quarantine)
    if latest is None:
        if directory.quarantine.is_dir():
            raise RunError(
                f"{directory.path} has no checkpoint left that can be read; the damaged ones are in "
                f"{directory.quarantine}, its metrics are as they were. To start anew choose another folder with --dir"
            )
        return State.NEW
    trainer.load_state_dict(cast("dict[str, Any]", latest[1]))
    return State.FINISHED if trainer.finished else State.UNFINISHED
