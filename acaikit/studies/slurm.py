"""Handing runs to Slurm, through submitit: what each job asks for, and one array of jobs for all of them."""

from __future__ import annotations

import io
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field

from acaikit.artifacts.publish import make_folder
from acaikit.errors import UserError
from acaikit.studies.job import TEARDOWN, Job
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
    def read(cls, given: Sequence[str], pack: int = 1) -> Resources:
        """Read what ``--slurm`` was given.

        Parameters
        ----------
        given : sequence of str
            Texts like ``partition=gpu,time=8:00:00,gres=gpu:1``. A name is a long option of sbatch, with ``-`` or
            ``_``; one without a value is written ``exclusive=``; values may hold commas. ``time`` has any of Slurm's
            formats, and ``cpus_per_task`` is one for each run of the pack where it is left out.
        pack : int
            Runs that a job does at once.

        Raises
        ------
        UserError
            A text is no such list, or what it asks for can't be.
        """
        options = dict(_pairs(given))
        for name in OURS:
            if name in options:
                raise UserError(f"--slurm {name}=...: acaikit sets this itself")
        minutes, cpus = MINUTES, pack
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
        submitit or Slurm's programs are missing, or sbatch refuses: with its own words.
    OSError
        The study's folder can't be written.
    """
    check_programs()
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    packs = [workers[first : first + resources.pack] for first in range(0, len(workers), resources.pack)]
    if not packs:
        return []
    make_folder(study.jobs)
    others = {"job-name": f"acaikit-{study.path.resolve().name}", "requeue": True, **resources.others}
    executor = SlurmExecutor(study.jobs)
    executor.update_parameters(
        job_name=others.pop("job-name"),
        time=resources.minutes,
        cpus_per_task=resources.cpus,
        srun_args=[f"--cpus-per-task={resources.cpus}"],  # from 22.05 on, srun doesn't take it from the job
        signal_delay_s=WARNED,
        array_parallelism=len(packs) if jobs is None else jobs,
        teardown=TEARDOWN,
        wckey=None,  # submitit's own, which a cluster that asks for them wouldn't know
        additional_parameters=others,
    )
    try:
        with _as_outside_a_job(), redirect_stderr(io.StringIO()):  # submitit prints what it raises, too
            submitted = executor.submit_array([Job(pack) for pack in packs])
    except (FailedJobError, FailedSubmissionError) as error:
        said = "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines())
        raise UserError(f"Slurm's sbatch refused the study: {said}") from error
    for job, pack in zip(submitted, packs, strict=True):
        for worker in pack:
            remember(study, worker.run, job.job_id)
    return [job.job_id for job in submitted]


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


def _pairs(given: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in given:
        for word in re.split(r",(?=\s*[A-Za-z][A-Za-z_-]*=)", text):
            name, equals, value = word.strip().partition("=")
            if not (equals and re.fullmatch(r"[A-Za-z][A-Za-z_-]*", name)):
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
