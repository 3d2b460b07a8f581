"""A process of a run: what it says is kept, and when it ends, nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from acaikit.runs.stopping import STOPPING

LINES = 12
"""Lines that are kept of what it said."""
LONGEST = 1000
"""Letters that are kept of each."""
PATIENCE = 5.0
"""Seconds in which what it said last must be there once it and all that it started have ended."""


class Ended(NamedTuple):
    """How a process ended, the last lines that it said, and what it printed as a JSON object."""

    code: int
    lines: tuple[str, ...]
    told: Mapping[str, Any]

    @property
    def signal(self) -> int | None:
        """The signal that ended it; acaikit's own good order after one counts too, where somebody else sent it."""
        if self.code < 0:
            return -self.code
        return self.code - 128 if self.code - 128 in STOPPING else None


class Process:
    """Runs a command in a session of its own: a terminal's Ctrl-C is for whoever runs the study, which passes it on.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    environment : mapping of str to str
        All of its environment variables.
    log : Path
        A text file that what it says is added to; one that can't be written stops nothing.
    heading : str
        What the log says first, after the time and the machine.

    Raises
    ------
    OSError
        It can't be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, heading: str) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=dict(environment),
            start_new_session=True,
        )
        self._said: deque[str] = deque(maxlen=LINES)
        self._printed: deque[str] = deque(maxlen=1)
        _add(log, f"== {now()} on {socket.gethostname()}: {heading}")
        # Reading until the end of a file would wait for whatever else has the other end of the pipe.
        self._listeners = [
            threading.Thread(target=_listen, args=(stream, kept, log), daemon=True)
            for stream, kept in ((self._process.stderr, self._said), (self._process.stdout, self._printed))
        ]
        for listener in self._listeners:
            listener.start()

    def signal(self, number: int) -> None:
        """Send a signal to the process, or SIGKILL to all that it started too."""
        with suppress(ProcessLookupError, PermissionError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                os.kill(self._process.pid, number)

    def wait(self) -> Ended:
        """Wait until it ends, and end what it has left behind: that might hold a lock, or keep a GPU busy."""
        with suppress(ChildProcessError):  # it was waited for before
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)  # its number is its own until it is reaped
            self.signal(signal.SIGKILL)
        code = self._process.wait()
        for listener in self._listeners:
            listener.join(PATIENCE)
        lines = [line[:LONGEST] for line in self._said]
        if code < 0:
            lines.append(f"killed by signal {-code} ({signal.strsignal(-code)})")
        return Ended(code, tuple(lines), _json(next(iter(self._printed), "")))


def _listen(stream: IO[str], kept: deque[str], log: Path) -> None:
    """Keep the last lines of a stream, and log them all but for a JSON object, which is for the worker."""
    with stream:
        for line in stream:
            if not _json(line):
                _add(log, line.rstrip("\n"))
            if line.strip():
                kept.append(line.rstrip())


def _add(log: Path, line: str) -> None:
    """Add a line to a text file; one that can't be written stops nothing."""
    with suppress(OSError):
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.write(descriptor, f"{line}\n".encode("utf-8", "replace"))
        finally:
            os.close(descriptor)


def now() -> str:
    """Return the time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(line: str) -> Mapping[str, Any]:
    """Return the JSON object that a line is; an empty one where it is none."""
    with suppress(ValueError, RecursionError):
        found = json.loads(line) if line.startswith("{") else None
        if isinstance(found, dict):
            return found
    return {}
