"""How many threads to compute with: as many as there are cores that the process may really use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which the user chooses; torch reads them."""
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Environment variables by which the user says how threads wait for each other; the OpenMP library reads them."""
SPINS = 1000
"""How often a waiting thread looks before it sleeps: some tens of microseconds."""

_GROUP = re.compile(r"^\d+:([^:\n]*):(/.*)$", re.MULTILINE)
"""A line of /proc/self/cgroup: the controllers (none for version 2) and the group's path."""
_MOUNT = re.compile(r"^\d+ \d+ \d+:\d+ (/\S*) (/\S*) .*- (cgroup2?) \S+ (\S+)$", re.MULTILINE)
"""A line of /proc/self/mountinfo: which group is mounted, where, the version, and its options."""
_ESCAPED = re.compile(r"\\([0-7]{3})")
"""A blank, tab, line break or backslash in a path of that file."""
_LIMIT = re.compile(r"([1-9]\d{0,15})\s+([1-9]\d{0,15})\s*", re.ASCII)
"""The microseconds of processor time in each period, and the period; without a limit there is "max" or -1."""


def usable(root: Path = ROOT) -> int:
    """Return how many CPUs the process may keep busy: those it is bound to, or fewer where its cgroups limit its time.

    Parameters
    ----------
    root : Path
        Where proc and sys lie.

    Returns
    -------
    int
        At least 1. A limit that is no whole number of CPUs is rounded.
    """
    return min([len(_bound_to()), *(_limits(root))])


def cores(root: Path = ROOT) -> int:
    """Return how many cores the process may keep busy: as `usable`, but threads that share a core count as one.

    Two threads on one core share the units that networks keep busy, so the second is no gain.
    """
    of_each = (root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list" for cpu in _bound_to())
    return min(len({_text(file) or file for file in of_each}), usable(root))


def choose(n: int | None = None) -> int:
    """Set the number of threads that torch computes with on the CPU.

    Parameters
    ----------
    n : int, optional
        That many, 1 or more. Left out, the environment's choice (`CHOSEN`); without one, torch's own, but no more than
        `cores`.

    Returns
    -------
    int
        The number of threads.
    """
    import torch

    if n is None:
        own = torch.get_num_threads()
        n = own if _chosen() else min(own, cores())
    torch.set_num_threads(n)  # also where it is the number already: MKL is then bound to it
    return n


def keep(n: object) -> int:
    """Go on with the `n` threads that a run was trained with, so that its bits stay the same.

    Nothing changes where the environment chooses (`CHOSEN`), or `n` is no number of CPUs that the process may use.

    Returns
    -------
    int
        The number of threads.
    """
    import torch

    if type(n) is int and 1 <= n <= usable() and not _chosen():
        torch.set_num_threads(n)
    return torch.get_num_threads()


def wait_briefly() -> None:
    """Let threads that wait for each other sleep soon, unless the environment says how they wait (`WAITING`).

    By default libgomp's spin for milliseconds: on a busy machine that keeps from running just the thread that they wait
    for. It has to be called before torch is imported, since the library reads the environment when it is loaded, and
    sets the environment, which the programs that this process starts inherit.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def _chosen() -> bool:
    return any(os.environ.get(name) for name in CHOSEN)


def _bound_to() -> set[int]:
    """Return the numbers of the CPUs that the process may run on; where the system doesn't say, of all."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _limits(root: Path) -> Iterator[int]:
    """Yield the CPUs' worth of time that each cgroup of the process, and each above it, may use; 1 or more."""
    for group in _groups(root):
        # Version 2 has one file, version 1 two.
        texts = _text(group / "cpu.max"), f"{_text(group / 'cpu.cfs_quota_us')} {_text(group / 'cpu.cfs_period_us')}"
        for text in texts:
            if found := _LIMIT.fullmatch(text):
                quota, period = map(int, found.groups())
                yield max(1, (2 * quota + period) // (2 * period))


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the cgroups that the process is in, from its own up to the one that is mounted."""
    own = {
        controller: path
        for controllers, path in _GROUP.findall(_text(root / "proc/self/cgroup"))
        for controller in controllers.split(",")
    }
    for top, point, version, options in _MOUNT.findall(_text(root / "proc/self/mountinfo")):
        controller = "" if version == "cgroup2" else "cpu"
        if controller not in own or (controller and controller not in options.split(",")):
            continue
        path, above = PurePosixPath(own[controller]), PurePosixPath(_unescaped(top))
        if not path.is_relative_to(above):  # others' groups are mounted there
            continue
        folder = root / _unescaped(point).lstrip("/")
        yield folder
        # A container may see a group's path from outside, of which only the end lies below what is mounted in it.
        for part in path.relative_to(above).parts:
            folder /= part
            yield folder


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), path)


def _text(file: Path) -> str:
    """Return what is in the file; nothing where it can't be read, as on another system."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return ""
