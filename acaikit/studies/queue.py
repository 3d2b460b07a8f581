"""Slurm's queue: which job each run of a study was handed to, and what becomes of those that are still in the queue.

Only ``squeue`` is asked: ``sacct`` needs accounting, which many clusters don't have, and what became of a job that has
left the queue the study's folder knows better.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from acaikit.artifacts.publish import make_folder, publish
from acaikit.errors import UserError
from acaikit.studies.layout import StudyDir
from acaikit.studies.todo import todo

MOST = 2**16
"""Bytes of a job's file at most."""
PATIENCE = 60
"""Seconds that Slurm has for an answer."""
UNKNOWN = "Invalid job id"


@dataclass(frozen=True)
class QueueEntry:
    """A job that is in Slurm's queue.

    Attributes
    ----------
    job : str
        Its id: ``123_4`` in an array, ``123`` alone.
    state : str
        Slurm's word: ``PENDING``, ``RUNNING``, ``COMPLETING``, ...
    reason : str
        Why it waits, in Slurm's word: ``Resources``, ``Priority``, ``PartitionTimeLimit``, ...; ``None`` where it
        doesn't.
    """

    job: str
    state: str
    reason: str


def remember(study: StudyDir, run: str, job: str) -> None:
    """Note the job that a run was handed to; raise `OSError` where that can't be written."""
    make_folder(study.task(run))
    publish(_file(study, run), json.dumps({"job": job}).encode())


def submitted(study: StudyDir, run: str) -> str | None:
    """Return the job that a run was handed to last, in the queue or not; None where there was none."""
    try:
        with _file(study, run).open("rb") as opened:
            return str(json.loads(opened.read(MOST))["job"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def queued(study: StudyDir) -> dict[str, QueueEntry]:
    """Return the runs of a study whose jobs wait, run or end in Slurm's queue.

    Runs that were handed to no job aren't there, nor are those whose job is over, even if another one has its number by
    now: what this study handed over runs a script of its own.

    Raises
    ------
    UserError
        There are jobs, and Slurm can't be asked.
    """
    jobs = {run.name: job for run in todo(study, study.read()) if (job := submitted(study, run.name))}
    listed = _list(jobs.values())
    entries = {entry.job: entry for entry, script in listed if script and (study.jobs / Path(script).name).exists()}
    return {run: entries[job] for run, job in jobs.items() if job in entries}


def ask(jobs: Iterable[str]) -> dict[str, QueueEntry]:
    """Return those of some jobs that are in Slurm's queue, by their ids.

    Raises
    ------
    UserError
        There is no ``squeue``, or it fails.
    """
    return {entry.job: entry for entry, _ in _list(jobs)}


def _list(jobs: Iterable[str]) -> list[tuple[QueueEntry, str]]:
    """Return the jobs, or all of their arrays, that are in the queue, and the script that each runs."""
    wanted = sorted({job.partition("_")[0] for job in jobs})  # a whole array at once, which makes a short command
    if not wanted:
        return []
    command = ["squeue", "--noheader", "--array", "--format=%i|%T|%r|%o", f"--jobs={','.join(wanted)}"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False)
    except FileNotFoundError:
        raise UserError("Slurm can't be asked for its queue: there is no squeue on this machine") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"Slurm can't be asked for its queue: {error}") from error
    if ran.returncode != 0 and UNKNOWN not in ran.stderr:
        said = next(iter(ran.stderr.strip().splitlines()[-1:]), f"exit code {ran.returncode}")  # one line for all
        raise UserError(f"Slurm can't be asked for its queue: {said}")
    lines = (line.split("|", 3) for line in ran.stdout.splitlines() if line.count("|") >= 3)
    return [(QueueEntry(job, state, reason), script) for job, state, reason, script in lines]


def _file(study: StudyDir, run: str) -> Path:
    return study.task(run) / "job.json"
