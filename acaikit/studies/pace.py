"""How fast a run goes, by what it saved: how far it is by now, and how long it still takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from acaikit.studies.progress import Progress


@dataclass(frozen=True)
class Pace:
    """How far a run is, about.

    Attributes
    ----------
    samples : int
        Training examples that it was shown by now.
    rate : float or None
        Training examples per second; None where too little was saved to tell.
    left : float or None
        Seconds until its budget is spent.
    """

    samples: int
    rate: float | None = None
    left: float | None = None


def pace(saved: Sequence[Progress], began: float, now: float) -> Pace:
    """Tell how far a run is that has been training since `began`.

    The rate is that between the two newest checkpoints or, where only one is of this turn, since the turn began: what
    was trained before may have been on another machine. Since the newest checkpoint the run is taken to have gone on at
    that rate, but for no longer than to where the next checkpoint is due.

    Parameters
    ----------
    saved : sequence of Progress
        The newest checkpoints, one at least, the newest first.
    began, now : float
        Seconds since the epoch.
    """
    newest = saved[0]
    start, at = (saved[1].samples, max(saved[1].at, began)) if len(saved) > 1 else (0, began)
    seconds, gained = newest.at - at, newest.samples - start
    if seconds <= 0 or gained <= 0:  # nothing was saved in this turn, or it went back; clocks may differ, too
        return Pace(newest.samples)
    rate = gained / seconds
    since = int(min((now - newest.at) * rate, gained))
    samples = max(newest.samples, min(newest.budget, newest.samples + since))
    return Pace(samples, rate, max(newest.budget - samples, 0) / rate)


def at_once(turns: Collection[tuple[float, float]]) -> int:
    """Return how many of some turns were at work when the last of them began.

    Parameters
    ----------
    turns : collection of tuple of float
        When each began and when it was over, in seconds since the epoch.
    """
    last = max((began for began, _ in turns), default=0)
    return sum(began <= last < ended for began, ended in turns)


def roughly(seconds: float) -> str:
    """Return a duration as exactly as an estimate deserves: ``40s``, ``7m``, ``2h05m``, ``3d 4h``."""
    if round(seconds) < 60:
        return f"{round(seconds)}s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours >= 24:
        return "{}d {}h".format(*divmod(round(seconds / 3600), 24))
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m"
