"""What one job of Slurm's does, and what becomes of it: a limit of time is none for a run.

A job that nears its limit, or has to make way for another, saves, is requeued and continues from its checkpoint, as
often as it takes; one that is cancelled saves and ends; one whose run fails has failed, and isn't run again. A job that
was killed without a word is requeued too, by Slurm where the node broke down; failing that, the next ``acaikit sweep``
submits it again.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from acaikit.errors import UserError
from acaikit.runs.stopping import handling
from acaikit.studies.outcome import Outcome, State
from acaikit.studies.queue import ask
from acaikit.studies.worker import RETRIES, Worker


def teardown(folder: Path) -> list[str]:
    """Return the last lines of a job's script, which requeue a job whose own process was killed.

    What a signal killed is tried again, as the signal may not come twice; an error would.

    Parameters
    ----------
    folder : Path
        Where each job counts how often that happened: Slurm itself counts every requeue, also those for a limit.
    """
    # A job that is cancelled isn't RUNNING any more. Slurm takes the script's exit code for the job's.
    return f"""rc=$?
job=${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}${{SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}}
if [ $rc -gt 128 ] && [ "$(squeue --noheader --jobs=$job --format=%T)" = RUNNING ]; then
  kills={shlex.quote(str(folder))}/$job.kills
  echo $rc >> "$kills" && [ "$(wc -l < "$kills")" -le {RETRIES} ] && scontrol requeue $job
fi
exit $rc""".split("\n")


class Job:
    """What one job of Slurm's does: a pack of workers at once, stopped in good order and continued by another job.

    Parameters
    ----------
    workers : sequence of Worker
        The pack. A run that failed before this was made is tried again; one that fails later isn't, however often the
        job is requeued.
    """

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = tuple(workers)
        self._before = tuple(worker.study.outcome(worker.run) for worker in workers)
        self._stopped = False

    def __call__(self) -> None:
        """Do the runs.

        Raises
        ------
        SystemExit
            With code 1 unless all of them are done.
        """
        from submitit import JobEnvironment

        environment = JobEnvironment()
        told = getattr(signal, f"SIG{environment.USR_SIG}")
        # Slurm signals all processes of a job, also those that a worker started. Told to save, these would die of it
        # before their worker can ask them to; they inherit the mask of the thread that starts them.
        masked: dict[str, Any] = {"initializer": signal.pthread_sigmask, "initargs": (signal.SIG_BLOCK, {told})}
        with handling({told: self._told, signal.SIGTERM: self._told}):
            with ThreadPoolExecutor(len(self.workers), **masked) as pool:
                turns = [pool.submit(_turn, *each) for each in zip(self.workers, self._before, strict=True)]
                states = set()
                for turn in as_completed(turns):
                    states.add(turn.result().state)
                    if State.UNWRITABLE in states:
                        self._stop()
            if State.UNWRITABLE in states:
                _cancel_waiting(environment)
            elif self._stopped and State.STOPPED in states:
                _requeue(environment.job_id)
        if states != {State.DONE}:
            sys.exit(1)

    def _told(self, number: int, frame: object) -> None:
        self._stop()

    def _stop(self) -> None:
        # Several signals come for one reason, and a worker that is stopped twice ends its run at once.
        if not self._stopped:
            self._stopped = True
            for worker in self.workers:
                worker.stop()


def _turn(worker: Worker, before: Outcome | None) -> Outcome:
    """Let a worker do its run, unless it has failed since the job was made; what went wrong is in the job's log too."""
    outcome = worker.study.outcome(worker.run)
    if outcome is None or outcome.state is not State.FAILED or outcome == before:
        outcome = worker()
    if outcome.state is not State.DONE:
        sys.stderr.write("".join(f"{line}\n" for line in (f"{worker.run}: {outcome.state}", *outcome.lines)))
    return outcome


def _requeue(job: str) -> None:
    """Requeue this job, unless it is over for Slurm: cancelled, or requeued already by whoever stopped it."""
    try:
        entry = ask([job]).get(job)
    except UserError as error:
        sys.stderr.write(f"not requeued: {error}\n")
        return
    if entry is not None and entry.state == "RUNNING":
        # By its number in the array: SLURM_JOB_ID can stand for the whole array.
        subprocess.run(["scontrol", "requeue", job], check=False)


def _cancel_waiting(environment: Any) -> None:
    """Cancel what of this job's array hasn't begun: it would find the disk as full."""
    if environment.array_job_id is not None:
        subprocess.run(["scancel", "--state=PENDING", environment.array_job_id], check=False)
