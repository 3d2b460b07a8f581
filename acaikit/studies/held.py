"""Whether anybody holds a lock, seen without taking it from anybody."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from acaikit.artifacts.lock import RunLock


def is_held(lock: Path) -> bool:
    """Say whether anybody holds a lock, without taking it from anybody: those who look share it.

    Whoever wants the lock in that instant must wait and look again, as a worker does. Where it can't be looked at, as
    on a file system of the network, its ``.holder`` is believed.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return RunLock(lock).holder() is not None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return RunLock(lock).holder() is not None
    finally:
        os.close(descriptor)
    return False
