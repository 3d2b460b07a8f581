"""The local engine: runs side by side on this machine, each in a slot as soon as one is free."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from acaikit.studies.drive import drive
from acaikit.studies.outcome import Outcome
from acaikit.studies.worker import Worker
from acaikit.threads import cores

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable that says which GPUs a process sees."""


def sweep(
    workers: Iterable[Worker],
    slots: Sequence[Mapping[str, str]],
    ended: Callable[[Worker, Outcome], None],
    stopping: Callable[[], bool],
) -> None:
    """Call every worker, one at a time in each slot, and return when all that began are over.

    See `acaikit.studies.drive.drive`, also for the parameters that aren't named here.

    Parameters
    ----------
    slots : sequence of mapping of str to str
        The environment variables of each slot, which its workers have too; see `slots_here`.
    """
    free = deque(slots)

    def start(worker: Worker) -> Future[Outcome]:
        slot = free.popleft()
        worker.environment.update(slot)
        return executor.submit(in_slot, worker, slot)

    def in_slot(worker: Worker, slot: Mapping[str, str]) -> Outcome:
        try:
            return worker()
        finally:  # before the future is known to be done, so that whoever follows finds it
            free.append(slot)

    def stop(working: Sequence[Worker], at_once: bool) -> None:
        for worker in working:
            worker.stop()
            if at_once:
                worker.stop()

    with ThreadPoolExecutor(len(slots)) as executor:
        drive(workers, len(slots), start, stop, ended, stopping)


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
