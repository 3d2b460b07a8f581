"""The loop of the engines that stay until all is over: workers begin as there is room, and stop together."""

from __future__ import annotations

import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait

from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.process import LINES, now
from acaikit.studies.worker import Worker

LOOK = 0.2
"""Seconds between two looks at whether to stop."""


def drive(
    workers: Iterable[Worker],
    most: int | None,
    start: Callable[[Worker], Future[Outcome]],
    stop: Callable[[Sequence[Worker], bool], None],
    ended: Callable[[Worker, Outcome], None],
    stopping: Callable[[], bool],
    cancelled: type[BaseException] = CancelledError,
) -> None:
    """Start every worker, and return when all that began are over.

    A worker whose outcome is "unwritable" stops the others: what can't be written for one run can't be for the next.

    Parameters
    ----------
    workers : iterable of Worker
        In the order in which they begin; those left when it stops are never started.
    most : int, optional
        How many are at work at once at most.
    start : callable
        Starts a worker.
    stop : callable
        Stops workers, in the order in which they were started; at once, if its second argument is true: an exception,
        such as `acaikit.runs.stopping.Interrupted`, is about to leave this function.
    ended : callable
        Told of each worker that is over, and how it went, in the thread that called this function.
    stopping : callable
        Says whether to stop in good order; asked several times a second.
    cancelled : type
        The exception of a worker that was stopped before it began; `ended` isn't told of it.
    """
    left = deque(workers)
    at_work: dict[Future[Outcome], Worker] = {}
    stopped = unwritable = False
    try:
        while at_work or (left and not stopped):
            while left and not stopped and (most is None or len(at_work) < most):
                worker = left.popleft()
                at_work[start(worker)] = worker
            for future in wait(at_work, LOOK, FIRST_COMPLETED).done:
                worker = at_work.pop(future)
                if isinstance(future.exception(), cancelled):
                    continue
                outcome = outcome_of(future)
                unwritable |= outcome.state is State.UNWRITABLE
                ended(worker, outcome)
            if not stopped and (unwritable or stopping()):
                stopped = True
                stop(list(at_work.values()), False)
    except BaseException:
        stop(list(at_work.values()), True)
        raise


def outcome_of(future: Future[Outcome]) -> Outcome:
    """Return a worker's outcome; an error that it raised is a fault of acaikit's or of the machine's."""
    error = future.exception()
    if error is None:
        return future.result()
    lines = "".join(traceback.format_exception(error)).splitlines()
    return Outcome(State.FAILED, Stage.TRAINING, now(), now(), socket.gethostname(), lines=tuple(lines[-LINES:]))
