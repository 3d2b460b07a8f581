"""A user's own proof: every file of a run is what it was, and training it again comes to the same bits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.rundir import RunDir
from acaikit.artifacts.tree import Tree
from acaikit.config import Config, build, telling_places
from acaikit.engine import Trainer
from acaikit.errors import RunError
from acaikit.experiment import Experiment
from acaikit.fingerprint import changes, fingerprint
from acaikit.fit import check_newest, check_state, completed
from acaikit.objective import players
from acaikit.progress import progress
from acaikit.rng import global_states, set_global_states
from acaikit.runs.files import File, Files, check_files
from acaikit.runs.provenance import began_with, changed_versions, check_data, run_info
from acaikit.runs.replay import Replay, replay
from acaikit.runs.restoring import lacking_rows

MOST_THREADS = 1024
"""More than a run can have been trained with: OpenMP would take the memory of each."""


@dataclass(frozen=True)
class Verdict:
    """What was found of a run.

    Attributes
    ----------
    path : Path
        The run directory.
    files : Files
        Its files, each with its fault.
    replay : Replay or None
        What came of training the last stretch again; None where no sound checkpoint is there to compare with.
    changes : list of str
        A line about each condition that isn't as when the last stretch was trained, and so may change its bits.
    """

    path: Path
    files: Files
    replay: Replay | None = None
    changes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether no file has a fault, and the last stretch came to the same bits."""
        return not self.files.faults and self.replay is not None and not self.replay.differences


def verify(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str | None = None,
    threads: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Verdict:
    """Check every file of a run, and train its last stretch again: between the two newest checkpoints, in memory.

    Where there is only one checkpoint, that is all from the start of the run. What lies between two checkpoints was
    trained by the session that saved the later one, and so under the conditions that this one holds. No lock is taken
    and nothing is written: the run may lie on a read-only disk, or be training.

    Parameters
    ----------
    path : str or path
        The run directory.
    device : torch.device or str, optional
        Where to train; left out, where the run was trained.
    threads : int, optional
        CPU threads while it trains; left out, as many as the newest checkpoint was trained with.
    say : callable
        Takes a line about what is done, before it is done.

    Raises
    ------
    RunError
        If it is no run, has no checkpoint yet, began with a plugin that is not installed, was trained on another
        device, or with other data than there are now.
    UserError
        If its config can't be built here.
    """
    directory = RunDir(Path(path))
    try:
        info = run_info(directory)
    except BrokenFile as fault:
        broken = File(directory.run_file.name, "run", str(fault))
        return Verdict(directory.path, check_files(directory, broken, None, lambda state: None))
    config = began_with(directory.path, info)
    device = _device(directory.path, info, device)
    with _alone(device):
        trainer = _trainer(directory.path, info, config, device)
        whole = File(directory.run_file.name, "run")
        files = check_files(directory, whole, info["run_id"], _fitting(trainer))
        if not any(file.kind == "checkpoint" for file in files.checked):
            raise RunError(f"{path} has no checkpoint yet: it can be verified once training has saved one")
        if not files.newest:
            return Verdict(directory.path, files)
        newest = completed(files.newest[-1][1])
        then = newest["fingerprint"]
        precision = then.get("precision", newest["precision"])  # of what was trained; the setting is of what comes next
        count = threads or _threads(directory.path, then)
        torch.set_num_threads(count)
        # Made anew, since what the first weights are may depend on the number of threads, too.
        fresh = Trainer(trainer.experiment, device, precision=precision)
        changed = [*changes(then, fingerprint(device, precision)), *changed_versions(info)]
        as_before = "as before" if threads is None else "as asked for"
        for line in (*changed, f"training on {device.type} with {count} thread{'s' * (count > 1)}, {as_before}"):
            say(line)
        again = _again(files, fresh)
        _check_rows(files, trainer.experiment)
        return Verdict(directory.path, files, again, changed)


def _again(files: Files, trainer: Trainer) -> Replay:
    *before, (end, after) = files.newest
    begin, state = before[0] if before else (0, None)
    parts = None if files.metrics_faulty else files.parts
    where = f"from step {begin:,} to {end:,}" if before else f"from the start to step {end:,}"
    steps = end - begin
    with progress(f"training {where} again, {steps:,} step{'s' * (steps != 1)}", steps) as advance:
        return replay(trainer, state, after, parts, advance)


def _check_rows(files: Files, experiment: Experiment) -> None:
    """Hold it against the metrics where rows are missing that were measured before the newest checkpoint."""
    if files.metrics_faulty:
        return
    step, state = files.newest[-1]
    rows = np.concatenate([np.empty(0, np.int64), *(steps for steps, _ in files.parts)])
    if lacking := lacking_rows(step, state["samples"], experiment.evaluate_every, rows):
        lost = f"{lacking:,} of the rows up to step {step:,} are missing"
        files.checked.append(File("metrics", "metrics", f"metrics: {lost}"))


def _trainer(path: Path, info: dict[str, Any], config: Config, device: torch.device) -> Trainer:
    experiment = build(config)
    check_newest(Checkpoints(RunDir(path).checkpoints, info["run_id"]), experiment, path)
    with telling_places(config):
        players(*experiment.build())  # what doesn't fit together is said before gigabytes are got
    experiment.dataset.prepare()
    check_data(path, info, experiment.dataset)
    return Trainer(experiment, device)


def _fitting(trainer: Trainer) -> Callable[[Tree], None]:
    """Return what raises `RunError` where a checkpoint's state is none of this trainer."""

    def check(state: Tree) -> None:
        try:
            check_state(completed(state), trainer.state_dict(), trainer.optimizers)
        except ValueError as error:
            raise RunError(f"it doesn't fit the experiment: {error}") from error

    return check


def _device(path: Path, info: dict[str, Any], asked: torch.device | str | None) -> torch.device:
    then = info["fingerprint"]["device"]
    if then not in ("cpu", "cuda"):
        raise RunError(f"{path} is broken: its run.h5 doesn't say where it was trained")
    device = torch.device(asked or then)
    if device.type != then:
        raise RunError(f"{path} was trained on {then}: on {device.type} other bits come out, so use --device {then}")
    if then == "cuda" and not torch.cuda.is_available():
        raise RunError(f"{path} was trained on a GPU, and torch sees none here: verify it where there is one")
    return device


def _threads(path: Path, then: Mapping[str, Any]) -> int:
    threads = then.get("threads")
    if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
        raise RunError(f"{path} doesn't say with how many threads it was trained: choose a number with --threads")
    return threads


@contextmanager
def _alone(device: torch.device) -> Iterator[None]:
    """Give the process its number of threads, and its generators, back after the block."""
    threads, states = torch.get_num_threads(), global_states(device)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        set_global_states(states, device)
