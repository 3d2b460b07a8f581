"""The local engine: runs side by side on this machine, each in a slot as soon as one is free."""

from __future__ import annotations

import os
import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime

from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.worker import LINES, Worker
from acaikit.threads import cores

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable that says which GPUs a process sees."""
LOOK = 0.2
"""Seconds between two looks at whether to stop."""


def sweep(
    workers: Iterable[Worker],
    slots: Sequence[Mapping[str, str]],
    ended: Callable[[Worker, Outcome], None],
    stopping: Callable[[], bool],
) -> None:
    """Call every worker, one at a time in each slot, and return when all that began are over.

    A worker whose outcome is "unwritable" stops the others: what can't be written for one run can't be for the next.
    Where the block is left by an exception, such as `acaikit.runs.stopping.Interrupted`, what is at work ends at once.

    Parameters
    ----------
    workers : iterable of Worker
        In the order in which they begin; those left when it stops are never called.
    slots : sequence of mapping of str to str
        The environment variables of each slot, which its workers have too; see `slots_here`.
    ended : callable
        Told of each worker that is over, and how it went, in the thread that called this function.
    stopping : callable
        Says whether to stop in good order; asked several times a second.
    """
    left, free = deque(workers), deque(slots)
    at_work: dict[Future[Outcome], tuple[Worker, Mapping[str, str]]] = {}
    stopped = unwritable = False
    with ThreadPoolExecutor(len(slots)) as executor:
        try:
            while at_work or (left and not stopped):
                while left and free and not stopped:
                    worker, slot = left.popleft(), free.popleft()
                    worker.environment.update(slot)
                    at_work[executor.submit(worker)] = worker, slot
                for future in wait(at_work, LOOK, FIRST_COMPLETED).done:
                    worker, slot = at_work.pop(future)
                    free.append(slot)
                    outcome = _outcome(future)
                    unwritable |= outcome.state is State.UNWRITABLE
                    ended(worker, outcome)
                if not stopped and (unwritable or stopping()):
                    stopped = True
                    for worker, _ in at_work.values():
                        worker.stop()
        except BaseException:
            for worker, _ in at_work.values():
                worker.stop()
                worker.stop()
            raise


def crashed(error: BaseException) -> Outcome:
    """Return the outcome of a worker that raised an error, which is a fault of acaikit's or of the machine's."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Outcome(State.FAILED, Stage.TRAINING, now, now, socket.gethostname(), lines=tuple(lines[-LINES:]))


def _outcome(future: Future[Outcome]) -> Outcome:
    error = future.exception()
    return future.result() if error is None else crashed(error)


def slots_here(jobs: int | None, pack: int, gpus: Sequence[str], cpus: int | None = None) -> list[dict[str, str]]:
    """Return the environment of each slot of this machine.

    Parameters
    ----------
    jobs : int, optional
        Slots at most. Left out: `pack` on each GPU; without a GPU, one on each core, since processes of one thread
        each get further than one of several threads.
    pack : int
        Slots on each GPU.
    gpus : sequence of str
        The GPUs, see `gpus_here`.
    cpus : int, optional
        Cores; this machine's, if left out.
    """
    if not gpus:
        return [{} for _ in range(jobs or cpus or cores())]
    return [{VISIBLE: gpu} for _ in range(pack) for gpu in gpus][:jobs]


def threads_each(jobs: int, cpus: int | None = None) -> int:
    """Return the threads of each of so many runs at once: the cores shared out, 1 at least."""
    return max(1, (cpus or cores()) // jobs)


def gpus_here() -> list[str]:
    """Return the GPUs that this process may use, each as the environment variable of `VISIBLE` names it."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get(VISIBLE)
    return (named.split(",") if named else [str(number) for number in range(count)])[:count]
