"""A function in a process of its own, so that what it does to its process is an outcome and no accident."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable

MOST_SECONDS, MOST_MEMORY = 5, 2**34


def isolated(function: Callable[[], str], seconds: int = MOST_SECONDS) -> str:
    """Return what `function` returns in a forked process, or how that ended: by a signal (14 is its time), an error."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            try:
                said = function()
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode()[:4000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(process, 0)
    return f"killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else said
