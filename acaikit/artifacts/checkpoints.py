"""The checkpoints of a run: saved whole, the older ones pruned afterwards, a bad one passed over out loud."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from acaikit.artifacts.faults import BrokenFile, ForeignFile, MissingFile
from acaikit.artifacts.h5file import faults_of, peek_text, read_h5, write_h5
from acaikit.artifacts.quarantine import move_aside
from acaikit.artifacts.skeleton import parse_skeleton
from acaikit.artifacts.source import read_bytes
from acaikit.artifacts.text import text_attribute
from acaikit.artifacts.tree import Tree, read_tree, write_tree
from acaikit.errors import UserError

MIN_KEEP = 3
_NAME = re.compile(r"step-(\d{9,})\.h5")


class Checkpoints:
    """The files ``step-000004096.h5`` of one folder.

    Parameters
    ----------
    folder : Path
        Created at the first save.
    run_id : str
        The run that the checkpoints belong to; those of another run don't pass.
    keep : int
        How many to keep, at least 3: the newest may turn out to be damaged.

    Raises
    ------
    ValueError
        `keep` is too small.
    """

    def __init__(self, folder: Path, run_id: str, keep: int = MIN_KEEP) -> None:
        if keep < MIN_KEEP:
            raise ValueError(f"keep is {keep}, but at least {MIN_KEEP} checkpoints must be kept")
        self.folder = folder
        self.run_id = run_id
        self.keep = keep

    def path(self, step: int) -> Path:
        """Give the file that holds a step's checkpoint."""
        return self.folder / f"step-{step:09d}.h5"

    def steps(self) -> list[int]:
        """List the steps that have a checkpoint file, in rising order; none is opened."""
        if not self.folder.is_dir():
            return []
        return sorted(int(found[1]) for path in self.folder.iterdir() if (found := _NAME.fullmatch(path.name)))

    def save(self, step: int, tree: Tree) -> None:
        """Save a checkpoint and, once it is safe on disk, remove those beyond the newest `keep`.

        Parameters
        ----------
        step : int
            The number of finished steps, 0 or more.
        tree : Tree
            All that training needs to go on; see `write_tree`.

        Raises
        ------
        TypeError
            An entry can't be stored; the message gives its path.
        OSError
            The file can't be written. The earlier checkpoints are intact.
        """

        def fill(file: h5py.Group) -> None:
            write_tree(file.create_group("state"), tree)

        write_h5(self.path(step), fill, format="checkpoint", run_id=self.run_id, step=step)
        # Later steps can exist after a fall-back; counting them would prune the file just saved.
        for old in [other for other in self.steps() if other <= step][: -self.keep]:
            # The save itself has succeeded, and the next one tries again.
            with contextlib.suppress(OSError):
                self.path(old).unlink()

    def load(self, step: int) -> Tree:
        """Load one checkpoint, tensors on the CPU.

        Raises
        ------
        MissingFile, BrokenFile, NewerFormat, RunError
            See `read_h5`. A checkpoint of another run or step counts as broken.
        """
        path = self.path(step)
        with read_h5(path, format="checkpoint") as file:
            if (run_id := text_attribute(file, "run_id")) != self.run_id:
                raise ForeignFile(f"{path} belongs to run {run_id}, not to {self.run_id}")
            if int(file.attrs["step"]) != step:
                raise BrokenFile(f"{path} holds step {file.attrs['step']}, which isn't the one in its name")
            return read_tree(file["state"])

    def peek(self, step: int) -> dict[str, Any]:
        """Return the plain entries at the top of one checkpoint's state: its numbers and texts, without its tensors.

        Nothing else is read, and so the file's hash isn't checked.

        Raises
        ------
        MissingFile, BrokenFile, NewerFormat, RunError
            It isn't there, or can't be understood; see `peek_text`.
        """
        path = self.path(step)
        skeleton = peek_text(path, "state/skeleton", format="checkpoint")
        with faults_of(path):
            pairs = parse_skeleton(skeleton)["dict"]
            return {name: value for name, value in pairs if not isinstance(value, dict | list)}

    def latest(
        self,
        *,
        report: Callable[[str], None] = warnings.warn,
        quarantine: Path | None = None,
        accept: Callable[[Tree], None] = lambda tree: None,
    ) -> tuple[int, Tree] | None:
        """Load the newest checkpoint that passes.

        Parameters
        ----------
        report : callable, optional
            Takes one line about each checkpoint that doesn't pass; left out, that is a warning.
        quarantine : Path, optional
            A folder on the same file system that such a checkpoint is moved to. Without it nothing is touched. A
            sound one of another run stays where it is all the same.
        accept : callable, optional
            Takes each state that could be read, and raises `UserError` where it is of no use. Such a checkpoint is
            moved only if an older one passes: otherwise it isn't the file that is at fault.

        Returns
        -------
        tuple of int and Tree, or None
            The step and its state; None where there is no checkpoint that can be read.

        Raises
        ------
        UserError
            What `accept` raised about the newest, where it accepts none.
        NewerFormat, RunError
            A checkpoint needs a newer acaikit or can't be read: that is no reason to fall back.
        OSError
            A checkpoint can't be moved.
        """

        def pass_over(step: int, fault: UserError) -> None:
            own = not isinstance(fault, ForeignFile)
            moved = f"; moved to {move_aside(self.path(step), quarantine)}" if quarantine and own else ""
            report(f"checkpoint of step {step} passed over: {fault}{moved}")

        unfit: dict[int, UserError] = {}
        for step in reversed(self.steps()):
            try:
                tree = self.load(step)
            except MissingFile:  # pruned by the running training since it was listed
                continue
            except BrokenFile as fault:
                pass_over(step, fault)
                continue
            try:
                accept(tree)
            except UserError as fault:
                unfit[step] = fault
                continue
            for newer, reason in unfit.items():
                pass_over(newer, reason)
            return step, tree
        for reason in unfit.values():
            raise reason
        return None

    def move_damaged(self, quarantine: Path, report: Callable[[str], None], *, below: int) -> None:
        """Move away earlier checkpoints whose bytes aren't those that were saved: they would count among those kept.

        Parameters
        ----------
        quarantine : Path
            Where to; on the same file system.
        report : callable
            Takes a line about each.
        below : int
            Only earlier steps than this one are looked at.

        Raises
        ------
        RunError
            A file can't be read.
        OSError
            One can't be moved.
        """
        for step in [step for step in self.steps() if step < below]:
            try:
                read_bytes(self.path(step))
            except BrokenFile as fault:
                moved = move_aside(self.path(step), quarantine)
                report(f"checkpoint of step {step} is of no use: {fault}; moved to {moved}")
