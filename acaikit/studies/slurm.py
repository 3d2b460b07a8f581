"""Handing runs to Slurm, through submitit: what each job asks for, and one array of jobs for all of them."""

from __future__ import annotations

import io
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from typing import Any

from acaikit.artifacts.publish import make_folder
from acaikit.errors import UserError
from acaikit.runs.stopping import STOPPING, handling
from acaikit.studies.job import Job, teardown
from acaikit.studies.layout import StudyDir
from acaikit.studies.queue import remember
from acaikit.studies.worker import Worker

MINUTES = 240
"""A job's limit where none is asked for. A run takes as many jobs as it needs, so the limit costs it no more than a
restart: four hours are few enough to fit into gaps of the schedule and into nearly every partition, and long beside a
restart. submitit's own five minutes would be little more than the time between the signal to save and the limit."""
WARNED = 90
"""Seconds before its limit at which a job is told to save."""
EARLIER = 60
"""Seconds by which Slurm may tell it even earlier."""
PROGRAMS = ("sbatch", "srun", "squeue", "scontrol", "scancel")
OURS = (
    *("array", "output", "error", "open-mode", "signal", "requeue", "no-requeue"),
    *("nodes", "ntasks", "ntasks-per-node", "wrap", "parsable", "test-only", "wait"),
)
"""Options of sbatch that can't be given: jobs would not go on where they were, or a run would begin twice."""


@dataclass(frozen=True)
class Resources:
    """What a job asks Slurm for.

    Attributes
    ----------
    minutes : int
        Its limit of time.
    cpus : int
        Its processors.
    pack : int
        Runs that it does at once.
    others : mapping of str to str or True
        Further options of sbatch, without the dashes; True for an option without a value.
    """

    minutes: int = MINUTES
    cpus: int = 1
    pack: int = 1
    others: Mapping[str, str | bool] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        """CPU threads for each run: the job's processors, divided among its pack."""
        return max(1, self.cpus // self.pack)

    @classmethod
    def read(cls, given: Sequence[str], pack: int = 1, threads: int = 1) -> Resources:
        """Read what ``--slurm`` was given.

        Parameters
        ----------
        given : sequence of str
            Texts like ``partition=gpu,time=8:00:00,gres=gpu:1``. A name is a long option of sbatch, with ``-`` or
            ``_``, in lower case; one without a value is written ``exclusive=``; values may hold commas, also those of
            ``export=ALL,DATA=/data``. ``time`` has any of Slurm's formats, and ``cpus_per_task`` is what the runs of
            the pack have as threads where it is left out.
        pack : int
            Runs that a job does at once.
        threads : int
            CPU threads of each.

        Raises
        ------
        UserError
            A text is no such list, or what it asks for can't be.
        """
        options = dict(_pairs(given))
        for name in OURS:
            if name in options:
                raise UserError(f"--slurm {name}=...: acaikit sets this itself")
        if options.get("job-name") == "":
            raise UserError("--slurm job_name=: write a name")
        minutes, cpus = MINUTES, pack * threads
        if (text := options.pop("time", None)) is not None:
            minutes = parse_minutes(text)
            if minutes * 60 <= WARNED + EARLIER:
                raise UserError(
                    f"--slurm time={text}: a job is told to save up to {WARNED + EARLIER} s before its limit, so that "
                    "none of this would be left: ask for more, such as time=30"
                )
        if (text := options.pop("cpus-per-task", None)) is not None:
            if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
                raise UserError(f"--slurm cpus_per_task={text}: write a number from 1 on")
            cpus = int(text)
        return cls(minutes, cpus, pack, {name: value or True for name, value in options.items()})


def parse_minutes(text: str) -> int:
    """Return the minutes, rounded up, in one of Slurm's formats of time.

    They are ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M`` and ``D-H:M:S``.

    Raises
    ------
    UserError
        If the text has none of them.
    """
    match = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,7})(?::(\d{1,4}))?(?::(\d{1,4}))?", text, re.ASCII)
    if match is None:
        raise UserError(
            f"--slurm time={text}: no time of Slurm's: write minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S, "
            "such as 90, 1:30:00 or 2-12"
        )
    days, *rest = match.groups()
    numbers = [int(number) for number in rest if number is not None]
    # Without days, the first of one or two numbers are minutes; of three, and after days, hours.
    units = (60, 1) if days is None and len(numbers) < 3 else (3600, 60, 1)
    seconds = int(days or 0) * 86_400 + sum(number * unit for number, unit in zip(numbers, units, strict=False))
    return math.ceil(seconds / 60)


def submit(study: StudyDir, workers: Sequence[Worker], resources: Resources, jobs: int | None = None) -> list[str]:
    """Hand workers to Slurm, as one array of jobs (or one job), and remember which job has which run.

    Parameters
    ----------
    study : StudyDir
        The study; its ``jobs`` folder gets what submitit writes. It must be on a file system that all nodes see.
    workers : sequence of Worker
        Those that are neither done nor in the queue (see `acaikit.studies.queue.queued`), with `Resources.threads`
        threads each, in the order in which they are to begin.
    resources : Resources
        What each job asks for.
    jobs : int, optional
        Jobs that run at once at most; left out, as many as Slurm lets.

    Returns
    -------
    list of str
        The jobs' ids, ``123_0``, ``123_1``, ..., without repetition.

    Raises
    ------
    UserError
        submitit or Slurm's programs are missing, sbatch refuses, with its own words, or the study's folder can't be
        written. Then no job is left in the queue.
    """
    check_programs()
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    packs = [workers[first : first + resources.pack] for first in range(0, len(workers), resources.pack)]
    if not packs:
        return []
    folder = study.jobs.absolute()
    if any(letter in str(folder) for letter in "%\\\n"):
        raise UserError(
            f"{study.path}: Slurm can't write where a path has %, \\ or a line break: choose another folder, with --dir"
        )
    others = {"job-name": f"acaikit-{study.path.resolve().name}", "requeue": True, **resources.others}
    # -P, or else a random.py beside the study would be taken for Python's own.
    executor = SlurmExecutor(folder, python=f"{shlex.quote(sys.executable)} -P")
    executor.update_parameters(
        job_name=others.pop("job-name"),
        time=resources.minutes,
        cpus_per_task=resources.cpus,
        srun_args=[f"--cpus-per-task={resources.cpus}"],  # from 22.05 on, srun doesn't take it from the job
        signal_delay_s=WARNED,
        array_parallelism=len(packs) if jobs is None else jobs,
        teardown=teardown(folder),
        wckey=None,  # submitit's own, which a cluster that asks for them wouldn't know
        additional_parameters=others,
    )
    # A Ctrl-C between would leave jobs in the queue that nobody knows of; sbatch gets it from a terminal as well.
    ignored: dict[int, Any] = dict.fromkeys(STOPPING, signal.SIG_IGN)
    try:
        with handling(ignored), _as_outside_a_job(), redirect_stderr(io.StringIO()):  # submitit prints what it raises
            make_folder(folder)
            submitted = [job.job_id for job in executor.submit_array([Job(pack) for pack in packs])]
            _remember(study, packs, submitted)
    except (FailedJobError, FailedSubmissionError) as error:
        said = "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines())
        few = f" ({len(packs)} jobs at once; fewer: --pack, or fewer seeds)" if "job array" in said else ""
        raise UserError(f"Slurm's sbatch refused the study: {said}{few}") from error
    except OSError as error:
        raise UserError(f"{study.path} can't be written, so that Slurm was handed nothing: {error}") from error
    return submitted


def check_programs() -> None:
    """Raise `UserError` unless submitit and Slurm's programs are here."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise UserError("--on slurm needs submitit: pip install 'acaikit[slurm]'") from None
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise UserError(
            f"--on slurm needs Slurm's programs, and there is no {', '.join(absent)} here: run it on a machine of a "
            "Slurm cluster from which jobs are submitted, or use --on local"
        )


def _remember(study: StudyDir, packs: Sequence[Sequence[Worker]], jobs: Sequence[str]) -> None:
    """Note which job has which run, or else cancel them all: the next sweep would hand them over again."""
    try:
        for pack, job in zip(packs, jobs, strict=True):
            for worker in pack:
                remember(study, worker.run, job)
    except OSError:
        subprocess.run(["scancel", jobs[0].partition("_")[0]], check=False)
        raise


def _pairs(given: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in given:
        for word in re.split(r",(?=\s*[a-z][a-z_-]*=)", text):
            name, equals, value = word.strip().partition("=")
            if not (equals and re.fullmatch(r"[a-z][a-z_-]*", name)):
                raise UserError(
                    f"--slurm {text}: {word!r} is no KEY=VALUE: write for example partition=gpu,time=8:00:00"
                )
            if "\n" in value:
                raise UserError(f"--slurm {name}=...: a value has one line")
            yield name.replace("_", "-"), value


@contextmanager
def _as_outside_a_job() -> Iterator[None]:
    """Hide that this is a job itself, as in an interactive allocation: its size would become that of the new jobs."""
    hidden = {name for name in os.environ if name.startswith(("SLURM_", "SRUN_")) and name != "SLURM_CONF"}
    saved = {name: os.environ.pop(name) for name in hidden}
    try:
        yield
    finally:
        os.environ.update(saved)
