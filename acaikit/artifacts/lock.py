"""The lock of a run: held by the one process that may write, freed by the kernel however that process ends."""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import os
import socket
import stat
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from filelock import FileLock, SoftFileLock, Timeout

from acaikit.artifacts.publish import publish
from acaikit.errors import RunError

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_MOST = 4096
_PATIENCE = 0.5
"""Seconds."""
LOOK_AGAIN = 1.0
"""Seconds between two looks at a lock that is waited for."""
_FILTERING = threading.Lock()
"""Python's filters of warnings are the whole process's, and threads may take locks at once."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes
    ----------
    pid : int
        The process.
    host, user : str
        Where it runs, and as whom.
    since : str
        When it took the lock, ISO 8601 in UTC.
    """

    pid: int
    host: str
    user: str
    since: str

    @classmethod
    def here(cls) -> Holder:
        """Return what is to be said of this process."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError, ImportError):  # a container's user may have no name
            user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
        return cls(os.getpid(), socket.gethostname(), user, datetime.now(UTC).isoformat(timespec="seconds"))

    def __str__(self) -> str:
        began = datetime.fromisoformat(self.since).astimezone(UTC)
        lasted = _in_words((datetime.now(UTC) - began).total_seconds())
        return f"process {self.pid} on {self.host} (user {self.user}) since {began:%Y-%m-%d %H:%M} UTC ({lasted})"


class Held(RunError):
    """Another process holds the lock.

    Attributes
    ----------
    holder : Holder or None
        Who it is, where that is known.
    """

    def __init__(self, folder: Path, holder: Holder | None) -> None:
        super().__init__(f"{folder} is being trained by {holder or 'another process'}")
        self.holder = holder


Wait: TypeAlias = Callable[[Held], None]
"""Told at every look, about once a second, that a lock is still held; it may raise to give up."""


class RunLock:
    """Holds a lock while a block runs; one process at a time, and one `RunLock` of a process.

    The lock is the kernel's (flock), not the file's: the file stays where it is for good, and a process that is
    killed holds nothing any more. Who holds it stands beside it in the JSON file ``.holder``. That a process forked in
    the block leaves it changes nothing; but where the one that holds the lock is killed, it stays held while such a
    process lives.

    Parameters
    ----------
    path : Path
        The lock's file; it and its folder are created where missing.
    wait : callable, optional
        Called at every look while another process holds the lock, see `Wait`; left out, that is an error.
    """

    def __init__(self, path: Path, wait: Wait | None = None) -> None:
        self.path, self._wait = path, wait
        self._lock = FileLock(path)
        self._owner: Holder | None = None

    @property
    def holder_file(self) -> Path:
        """The file that says who holds the lock."""
        return self.path.with_name(".holder")

    def __enter__(self) -> RunLock:
        """Take the lock.

        Raises
        ------
        Held
            Another process has it, and it isn't waited for.
        RunError
            The file system has no such locks, or the lock's file can't be made or is none.
        """
        while not self._acquire():
            held = Held(self.path.parent, self._named())
            if self._wait is None:
                raise held
            self._wait(held)
            time.sleep(LOOK_AGAIN)
        self._owner = Holder.here()
        try:
            with contextlib.suppress(OSError):  # a full disk is no reason not to hold the lock
                publish(self.holder_file, json.dumps(asdict(self._owner)).encode())
        except BaseException:
            self._lock.release()
            raise
        return self

    def _acquire(self) -> bool:
        """Take the kernel's lock; say whether it was free."""
        with contextlib.suppress(OSError):  # where there is none yet
            if not stat.S_ISREG(self.path.lstat().st_mode):
                raise RunError(f"{self.path} isn't a regular file, so it can't be locked: remove it")
        try:
            with _FILTERING, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # filelock's word about what is refused below
                self._lock.acquire(blocking=False)
        except Timeout:
            return False
        except NotImplementedError as error:
            raise self._unsupported() from error
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                raise self._unsupported() from error
            raise RunError(f"{self.path.parent} can't be written: {error}") from error
        if isinstance(self._lock, SoftFileLock):  # what filelock turns into where there is no flock
            self._lock.release()
            raise self._unsupported()
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owner is None or self._owner.pid != os.getpid():
            return
        try:
            # Where the folder was moved, another one may be there, with a holder of its own.
            if self.holder() == self._owner:
                with contextlib.suppress(OSError):
                    self.holder_file.unlink()
        finally:
            self._lock.release()

    def holder(self) -> Holder | None:
        """Return who says to hold the lock; None where nobody does, or a process of this host that is no more."""
        try:
            descriptor = os.open(self.holder_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                found = json.loads(file.read(_MOST))
            holder = Holder(int(found["pid"]), *(plain(found[name]) for name in ("host", "user", "since")))
            datetime.fromisoformat(holder.since)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        stale = holder.host == socket.gethostname() and not is_running(holder.pid)
        return None if stale else holder

    def _named(self) -> Holder | None:
        """Return who holds the lock; it may have taken it just now, and be about to say so."""
        until = time.monotonic() + _PATIENCE
        while (holder := self.holder()) is None and time.monotonic() < until:
            time.sleep(0.01)
        return holder

    def _unsupported(self) -> RunError:
        return RunError(
            f"{self.path.parent} is on a file system without file locks (flock), where two processes could train one "
            f"run at once: choose a folder on a local disk, or mount the network's with locks"
        )


def is_running(pid: int) -> bool:
    """Say whether there is a process of this number on this host."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def plain(text: str) -> str:
    """Return a text without what would play tricks in a terminal: it may come from anybody."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _in_words(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if (number := int(seconds // length)) > 0:
            return f"{number} {unit}{'s' if number > 1 else ''}"
    return "less than a minute"
