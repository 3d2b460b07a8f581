"""A user's own proof: every file of a run is what it was, and training it again comes to the same bits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.artifacts.tree import Tree
from acaikit.config import Config, build, telling_places
from acaikit.engine import Trainer
from acaikit.errors import RunError
from acaikit.objective import players
from acaikit.progress import progress
from acaikit.rng import global_states, set_global_states
from acaikit.runs.files import Files, check_files
from acaikit.runs.fingerprint import changes, fingerprint
from acaikit.runs.provenance import began_with, changed_versions, check_data, run_info
from acaikit.runs.replay import Replay, replay
from acaikit.schema import check_fits


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
        A line about each condition that isn't as when the run began, and so may change its bits.
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

    Where there is only one checkpoint, that is all from the start of the run. No lock is taken and nothing is written:
    the run may lie on a read-only disk, or be training.

    Parameters
    ----------
    path : str or path
        The run directory.
    device : torch.device or str, optional
        Where to train; left out, where the run was trained.
    threads : int, optional
        CPU threads while it trains; left out, as many as the run began with.
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
    except BrokenFile:
        return Verdict(directory.path, check_files(directory, None, lambda state: None))
    config = began_with(directory.path, info)
    device = _device(directory.path, info, device)
    with _alone(device, threads or int(info["fingerprint"]["threads"])) as count:
        changed = [*changes(info["fingerprint"], fingerprint(device)), *changed_versions(info)]
        for line in changed:
            say(line)
        trainer = _trainer(directory.path, info, config, device)
        files = check_files(directory, info["run_id"], _fitting(trainer))
        if not any(file.kind == "checkpoint" for file in files.checked):
            raise RunError(f"{path} has no checkpoint yet: it can be verified once training has saved one")
        if not files.newest:
            return Verdict(directory.path, files, None, changed)
        as_before = "as the run began" if threads is None else "as asked for"
        say(f"training on {device.type} with {count} thread{'s' * (count > 1)}, {as_before}")
        return Verdict(directory.path, files, _again(directory, files, trainer), changed)


def _again(directory: RunDir, files: Files, trainer: Trainer) -> Replay:
    *before, (end, after) = files.newest
    begin, state = before[0] if before else (0, None)
    try:
        table = read_metrics(directory.metrics)
    except RunError:  # which is a fault among the files
        table = None
    where = f"from step {begin:,} to {end:,}" if before else f"from the start to step {end:,}"
    with progress(f"training {where} again, {end - begin:,} steps", end - begin) as advance:
        return replay(trainer, state, after, table, advance)


def _trainer(path: Path, info: dict[str, Any], config: Config, device: torch.device) -> Trainer:
    experiment = build(config)
    with telling_places(config):
        players(*experiment.build())  # what doesn't fit together is said before gigabytes are got
    experiment.dataset.prepare()
    check_data(path, info, experiment.dataset)
    return Trainer(experiment, device)


def _fitting(trainer: Trainer) -> Callable[[Tree], None]:
    """Return what raises `RunError` where a checkpoint's state is none of this trainer."""

    def check(state: Tree) -> None:
        try:
            check_fits(state, trainer.state_dict(), trainer.optimizers)
        except ValueError as error:
            raise RunError(f"it doesn't fit the experiment: {error}") from error

    return check


def _device(path: Path, info: dict[str, Any], asked: torch.device | str | None) -> torch.device:
    then = info["fingerprint"]["device"]
    device = torch.device(asked or then)
    if device.type != then:
        raise RunError(f"{path} was trained on {then}: on {device.type} other bits come out, so use --device {then}")
    if then == "cuda" and not torch.cuda.is_available():
        raise RunError(f"{path} was trained on a GPU, and torch sees none here: verify it where there is one")
    return device


@contextmanager
def _alone(device: torch.device, threads: int) -> Iterator[int]:
    """Compute with so many threads while the block runs; give the process its own, and its generators, back."""
    before, states = torch.get_num_threads(), global_states(device)
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)
        set_global_states(states, device)
