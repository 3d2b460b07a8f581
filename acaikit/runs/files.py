"""The files of a run, each read whole and checked: hash, content, kind, run, step, and that a checkpoint fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acaikit.artifacts.evaluations import SHORT, read_evaluation
from acaikit.artifacts.faults import BrokenFile, MissingFile
from acaikit.artifacts.h5file import read_h5
from acaikit.artifacts.parts import list_parts, rows_in
from acaikit.artifacts.publish import is_temporary
from acaikit.artifacts.rundir import RunDir
from acaikit.artifacts.text import text_attribute
from acaikit.artifacts.tree import Tree, read_tree
from acaikit.errors import UserError
from acaikit.progress import progress

_HASHED = {
    "checkpoint": r"checkpoints/step-(\d{9,})\.h5",
    "metrics": r"metrics/part-\d{6,}\.h5",
    "evaluation": r"eval/.+\.h5",
}
"""The kinds of file that carry a hash, beside ``run.h5``, and their names."""

_PLAIN = re.compile(r"\.lock|\.holder|\.lock\.holder|log\.txt|figures/[^/]+\.png")


@dataclass(frozen=True)
class File:
    """One checked file.

    Attributes
    ----------
    name : str
        Its path in the run directory.
    kind : str
        "run", "checkpoint", "metrics" or "evaluation".
    fault : str or None
        What is wrong with it.
    """

    name: str
    kind: str
    fault: str | None = None


@dataclass
class Files:
    """What was found in a run directory.

    Attributes
    ----------
    checked : list of File
        The files that carry a hash.
    temporary : list of str
        Temporary files: a live writer's, or what a killed process left behind.
    quarantined : list of str
        Damaged checkpoints that a resume has moved away.
    unknown : list of str
        What acaikit has no name for.
    newest : list of tuple of int and Tree
        Step and state of the newest sound checkpoints, at most two, the newest last.
    parts : list of tuple of numpy.ndarray and dict
        Steps and columns of the sound parts of the metrics.
    """

    checked: list[File] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    newest: list[tuple[int, Tree]] = field(default_factory=list)
    parts: list[tuple[np.ndarray, dict[str, np.ndarray]]] = field(default_factory=list)

    @property
    def faults(self) -> list[File]:
        """The files that are not well."""
        return [file for file in self.checked if file.fault is not None]

    @property
    def metrics_faulty(self) -> bool:
        """Whether a part of the metrics has a fault or is missing."""
        return any(file.kind == "metrics" for file in self.faults)


def check_files(directory: RunDir, run: File, run_id: str | None, check_state: Callable[[Tree], None]) -> Files:
    """Read and check every file of a run but ``run.h5``, each once; nothing is written.

    Parameters
    ----------
    directory : RunDir
        The run directory.
    run : File
        What was found of ``run.h5``.
    run_id : str or None
        The run's id; None where it can't be known, and then no file is held against it.
    check_state : callable
        Raises `UserError` where a checkpoint's state doesn't fit the experiment.
    """
    found, due = Files([run]), []
    for path in _listing(directory):
        name = path.relative_to(directory.path).as_posix()
        kind = next((kind for kind, names in _HASHED.items() if re.fullmatch(names, name)), None)
        if is_temporary(path):
            found.temporary.append(name)
        elif path.parent == directory.quarantine:
            found.quarantined.append(name)
        elif kind is not None:
            due.append((name, kind, path))
        elif path != directory.run_file and not _PLAIN.fullmatch(name):
            found.unknown.append(name)
    with progress(f"checking {len(due):,} file{'s' * (len(due) != 1)}", len(due)) as advance:
        for name, kind, path in due:
            try:
                content = _read(path, kind, run_id)
                if kind == "checkpoint":
                    check_state(content)
                    found.newest = [*found.newest, (_step(path), content)][-2:]
                elif kind == "metrics":
                    found.parts.append(content)
                found.checked.append(File(name, kind))
            except MissingFile:  # pruned by the running training since it was listed
                pass
            except UserError as fault:
                found.checked.append(File(name, kind, str(fault)))
            advance(1)
    try:
        list_parts(directory.metrics)
    except BrokenFile as gap:
        found.checked.append(File(directory.metrics.name, "metrics", str(gap)))
    return found


def _listing(directory: RunDir) -> Iterator[Path]:
    """Yield what lies in a run's folder and in those that acaikit makes there, checkpoints in the order of steps."""
    folders = [directory.checkpoints, directory.metrics, directory.eval, directory.figures, directory.quarantine]
    for folder in (directory.path, *folders):
        if folder.is_dir():
            inside = [path for path in folder.iterdir() if path not in folders or not path.is_dir()]
            yield from sorted(inside, key=lambda path: (len(path.name), path.name))


def _read(path: Path, kind: str, run_id: str | None) -> Any:
    """Read a file whole; return the state that a checkpoint holds, or the steps and columns of a part."""
    if kind == "evaluation":
        found = read_evaluation(path)
        _check_owner(path, found.run_id, run_id)
        if path.name != (proper := f"{found.name}-{found.step:09d}-{found.protocol_sha256[:SHORT]}.h5"):
            raise BrokenFile(f"{path} holds another result than its name says: it should be called {proper}")
        return None
    with read_h5(path, format=kind) as file:
        _check_owner(path, text_attribute(file, "run_id"), run_id)
        content = read_tree(file["state"]) if kind == "checkpoint" else rows_in(file)
        step = file.attrs["step"]
    if kind == "checkpoint" and step != _step(path):
        raise BrokenFile(f"{path} holds step {step}, which isn't the one in its name")
    if kind == "metrics" and step != content[0][-1]:
        raise BrokenFile(f"{path} doesn't end at step {step}, as it says")
    return content


def _check_owner(path: Path, owner: str, run_id: str | None) -> None:
    if run_id not in (None, owner):
        raise BrokenFile(f"{path} belongs to run {owner}, not to {run_id}")


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
