"""How far a run has come, by what its directory says; neither the model nor torch is loaded, and nothing is written."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.rundir import RunDir
from acaikit.artifacts.source import open_source
from acaikit.errors import RunError

MOST = 2**63
"""More samples than any run has."""


@dataclass(frozen=True)
class Progress:
    """What a checkpoint says of a run.

    Attributes
    ----------
    samples, budget : int
        Training examples shown, and how many are to be shown in all.
    at : float
        When it was saved, in seconds since the epoch.
    """

    samples: int
    budget: int
    at: float

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.samples >= self.budget


def saved(run: Path, most: int = 1) -> list[Progress]:
    """Return what the newest checkpoints of a run directory say, the newest first; none where nothing was saved yet.

    Parameters
    ----------
    run : Path
        The run directory.
    most : int
        Of how many checkpoints.
    """
    found: list[Progress] = []
    with suppress(RunError):
        checkpoints = Checkpoints(RunDir(run).checkpoints, "")
        for step in reversed(checkpoints.steps()):
            if len(found) == most:
                break
            # Broken or, while the run is training, pruned: those before it still tell.
            with suppress(RunError, OSError, KeyError, TypeError, ValueError):
                status = checkpoints.path(step).stat()
                samples, budget = _numbers(checkpoints.folder, step, status.st_ino, status.st_mtime_ns)
                found.append(Progress(samples, budget, status.st_mtime))
    return found


def newest(run: Path) -> str | None:
    """Return the sha256 of a run directory's newest checkpoint, as its header says it; None where there is none."""
    with suppress(RunError, OSError):
        checkpoints = Checkpoints(RunDir(run).checkpoints, "")
        for step in checkpoints.steps()[-1:]:
            with open_source(checkpoints.path(step)) as source:
                return source.header.sha256
    return None


@lru_cache(maxsize=4096)
def _numbers(folder: Path, step: int, inode: int, changed: int) -> tuple[int, int]:
    """Return samples and budget of a checkpoint, known by its inode and time: it is only ever replaced whole."""
    state = Checkpoints(folder, "").peek(step)
    samples, budget = int(state["samples"]), int(state["budget"])
    if not (0 <= samples < MOST and 0 < budget < MOST):
        raise ValueError(f"{samples} of {budget} samples can't be")
    return samples, budget
