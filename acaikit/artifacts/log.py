"""What happened to a run, one line per event: for whoever finds it months later."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path


class Log:
    """The file ``log.txt``, which is only ever appended to.

    Parameters
    ----------
    path : Path
        The file, created at the first event; its folder must exist.
    moved : callable
        Says whether the path leads elsewhere by now; nothing is added then.
    """

    def __init__(self, path: Path, moved: Callable[[], bool] = lambda: False) -> None:
        self.path, self.moved = path, moved

    def hearing(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """Return a function that says a line and adds it to the log."""

        def both(line: str) -> None:
            self.add(line)
            say(line)

        return both

    def add(self, event: str) -> None:
        """Append an event with the time, UTC, in one write; a log that can't be written stops nothing.

        Parameters
        ----------
        event : str
            What happened. Line breaks in it become " | ".
        """
        line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {' | '.join(event.splitlines())}\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        if self.moved():
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, flags, 0o666)
            try:
                os.write(descriptor, line.encode(errors="backslashreplace"))
            finally:
                os.close(descriptor)
