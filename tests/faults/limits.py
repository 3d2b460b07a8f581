"""Real limits of the operating system, each met in a forked child: a crash shows, and nothing stays set."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import resource
import signal
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.rundir import RunDir

from .disk import RUN_ID, rows_of, same, tree

NOBODY = 65534
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_READ_ONLY, _REMOUNT = 1, 32
_libc = ctypes.CDLL(None, use_errno=True)


def in_child(work: Callable[[], list[str]]) -> list[str]:
    """Return what `work` says in a forked child, or how the child ended instead."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child takes no lock that another thread may hold
        child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.close(read)
            try:
                said = work()
            except Exception as error:
                said = [f"{error!r} comes of it"]
            os.write(write, json.dumps(said).encode())
            code = 0
        os._exit(code)
    os.close(write)
    with os.fdopen(read) as stream:
        text = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(text) if code == 0 else [f"the process ends with {code}"]


class Meeting:
    """A run with 4 checkpoints and rows that meets a limit while it goes on."""

    def __init__(self, folder: Path) -> None:
        self.run, self.said = RunDir(folder), list[str]()
        self.checkpoints = Checkpoints(self.run.checkpoints, RUN_ID)
        self.table = Metrics(self.run.metrics, RUN_ID)
        self.step, self.life = 0, 0
        self.saved = self.rows = 0
        for _ in range(4):
            self.go_on()

    def go_on(self, padding: int = 0) -> None:
        """Append a row and save a checkpoint, of `padding` bytes more."""
        self.step += 1
        self.table.append(self.step, {"life": 0})
        self.rows += 1
        extra = {"padding": np.zeros(padding, np.uint8)} if padding else {}
        self.checkpoints.save(self.step, {**tree(self.step, 0), **extra})
        self.saved = self.step

    def meet(self, *causes: str, padding: int = 0, times: int = 1) -> None:
        """Go on until an error comes, `times` at most; note where it doesn't come or doesn't name its cause."""
        try:
            for _ in range(times):
                self.go_on(padding)
        except (OSError, MemoryError) as error:
            if not any(cause in repr(error) for cause in causes):
                self.said.append(f"the cause isn't named: {error!r}")
        else:
            self.said.append("nothing failed")
        self.look()

    def look(self, *, removable: bool = True) -> None:
        """Note what is amiss in the folder."""
        step, found = self.checkpoints.latest(report=self.said.append) or (0, {})
        found.pop("padding", None)
        if step < self.saved or not same(found, tree(step, 0)):
            self.said.append(f"the newest checkpoint is of step {step}, not {self.saved}")
        if len(rows_of(self.table)) < self.rows:
            self.said.append(f"{len(rows_of(self.table))} rows of {self.rows} are there")
        if removable:
            self.said += [f"{path.name} is left" for path in self.run.path.rglob("*.tmp")]

    def afterwards(self) -> list[str]:
        """Go on without the limit, and return all that was noted."""
        self.go_on()
        self.look()
        return self.said


@contextlib.contextmanager
def _limited(what: int, amount: int) -> Any:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (amount, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def _file_size(folder: Path, rng: random.Random) -> list[str]:
    meeting = Meeting(folder)
    with _limited(resource.RLIMIT_FSIZE, rng.randrange(6000)):
        meeting.meet("File too large", padding=6000)
    return meeting.afterwards()


def _open_files(folder: Path, rng: random.Random) -> list[str]:
    meeting = Meeting(folder)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    try:
        with _limited(resource.RLIMIT_NOFILE, free):
            meeting.go_on()
    except OSError as error:
        if "Too many open files" not in str(error):
            meeting.said.append(f"the cause isn't named: {error!r}")
    else:
        meeting.said.append("nothing failed")
    meeting.look()
    return meeting.afterwards()


def _memory(folder: Path, rng: random.Random) -> list[str]:
    meeting = Meeting(folder)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    padding = 1 << 28  # far more than the allocator keeps for the next time
    # Enough for the padding, and too little for a file of it.
    room = rng.randrange(padding + (1 << 20), 3 * padding // 2)
    with _limited(resource.RLIMIT_AS, used + room):
        meeting.meet("MemoryError", "memory", padding=padding)
    return meeting.afterwards()


def _permission(folder: Path, rng: random.Random) -> list[str]:
    folder.chmod(0o755)
    os.chdir(folder)
    meeting = Meeting(Path())
    folders = [meeting.run.checkpoints, meeting.run.metrics]
    for each in folders:
        each.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    meeting.meet("Permission denied")
    if os.getuid() == 0:
        os.seteuid(0)
    for each in folders:
        each.chmod(0o755)
    return meeting.afterwards()


def _signals(folder: Path, rng: random.Random) -> list[str]:
    meeting, came = Meeting(folder), list[int]()
    signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
    signal.setitimer(signal.ITIMER_REAL, 1e-3, rng.uniform(1e-4, 1e-3))
    for _ in range(20):
        meeting.go_on(rng.randrange(1 << 20))
    signal.setitimer(signal.ITIMER_REAL, 0)
    if not came:
        meeting.said.append("no signal came")
    return meeting.afterwards()


def _mount(folder: Path, flags: int, options: str) -> None:
    if _libc.mount(b"tmpfs", bytes(folder), b"tmpfs", flags, options.encode()):
        raise OSError(ctypes.get_errno(), "a tmpfs can't be mounted")


def _own_tmpfs(folder: Path, options: str) -> None:
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(_NEW_USER | _NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "no namespaces")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount(folder, 0, options)


def _full(folder: Path, rng: random.Random) -> list[str]:
    size = rng.randrange(100, 400) * 1024
    _own_tmpfs(folder, f"size={size}")
    meeting = Meeting(folder)
    filler = folder / "somebody else's"
    with contextlib.suppress(OSError):
        filler.write_bytes(bytes(rng.randrange(size)))
    meeting.meet("No space left on device", padding=rng.randrange(size // 3, size // 2), times=4)
    filler.unlink()
    for old in meeting.checkpoints.steps()[:-1]:
        meeting.checkpoints.path(old).unlink()
    return meeting.afterwards()


def _read_only(folder: Path, rng: random.Random) -> list[str]:
    _own_tmpfs(folder, "size=4m")
    meeting = Meeting(folder)
    _mount(folder, _REMOUNT | _READ_ONLY, "size=4m")
    meeting.meet("Read-only file system")
    _mount(folder, _REMOUNT, "size=4m")
    return meeting.afterwards()


_ANYWHERE: dict[str, Callable[[Path, random.Random], list[str]]] = {
    "file size": _file_size,
    "open files": _open_files,
    "memory": _memory,
    "permission": _permission,
    "signals": _signals,
}
_MOUNTED = {"full tmpfs": _full, "read-only tmpfs": _read_only}


def possible() -> list[str]:
    """List the limits that can be met here: not every system lets a child process mount a tmpfs of its own."""
    with tempfile.TemporaryDirectory() as folder:
        mountable = not in_child(lambda: _own_tmpfs(Path(folder), "size=64k") or [])
    return [*_ANYWHERE, *(_MOUNTED if mountable else [])]


def faults_of(kind: str, seed: int) -> list[str]:
    """Meet a limit in a child process and return what is amiss."""
    meet = {**_ANYWHERE, **_MOUNTED}[kind]
    with tempfile.TemporaryDirectory() as folder:
        return in_child(lambda: meet(Path(folder), random.Random(seed)))
