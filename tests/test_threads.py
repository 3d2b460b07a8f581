from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from math import floor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit import threads

MOUNTS = """22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw
33 31 0:30 / /sys/fs/cgroup/memory rw shared:11 master:2 - cgroup cgroup rw,memory
"""
GROUPS = "9:name=systemd:/init\n4:memory:/kept\n"
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.:", min_size=1, max_size=9).filter(lambda s: s.strip("."))
limits = st.none() | st.tuples(st.integers(1000, 10**8), st.integers(1000, 10**6))


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*threads.CHOSEN, *threads.WAITING):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight CPUs, wherever the test runs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def lay(root: Path, version: int, path: list[str], limits: list[tuple[int, int] | None], top: str = "/") -> None:
    """Make the files of a process in the cgroup `path` below `top`, with a limit at the mount and at each level."""
    point = "/sys/fs/cgroup" if version == 2 else "/sys/fs/cgroup/cpu,cpuacct"
    mount = "- cgroup2 cgroup2 rw,nsdelegate" if version == 2 else "- cgroup cgroup rw,cpu,cpuacct"
    controllers = "0:" if version == 2 else "3:cpu,cpuacct"
    write(root / "sys/fs/cgroup/memory/cpu.cfs_quota_us", "1000")  # which nothing is to look at
    write(root / "sys/fs/cgroup/memory/cpu.cfs_period_us", "1000")
    write(root / "proc/self/mountinfo", f"{MOUNTS}35 31 0:32 {top} {point} rw,nosuid shared:5 {mount}\n")
    write(root / "proc/self/cgroup", f"{GROUPS}{controllers}:/{'/'.join([*top.split('/')[1:], *path]).lstrip('/')}\n")
    folder = root / point[1:]
    for part, limit in zip(["", *path], limits, strict=True):
        folder /= part
        if version == 2:
            write(folder / "cpu.max", "{} {}\n".format(*limit) if limit else "max 100000\n")
        else:
            write(folder / "cpu.cfs_quota_us", f"{limit[0] if limit else -1}\n")
            write(folder / "cpu.cfs_period_us", f"{limit[1] if limit else 100000}\n")


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from([1, 2]), st.lists(names, max_size=3), st.sampled_from(["/", "/docker/c0ffee"]))
def test_the_tightest_limit_of_the_groups_holds(data: st.DataObject, version: int, path: list[str], top: str) -> None:
    size = len(path) + 1
    given_limits = data.draw(st.lists(limits, min_size=size, max_size=size))
    worth = [max(1, floor(Fraction(*limit) + Fraction(1, 2))) for limit in given_limits if limit]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        lay(Path(folder), version, path, given_limits, top)
        assert threads.usable(Path(folder)) == threads.cores(Path(folder)) == min([8, *worth])


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, 23), min_size=1), st.integers(1, 4), st.booleans())
def test_threads_of_a_core_count_as_one(cpus: set[int], per_core: int, adjacent: bool) -> None:
    # Siblings have adjacent numbers on some machines, and are numbered a whole socket apart on others.
    total = 6 * per_core
    cpus = {cpu % total for cpu in cpus}
    core = {cpu: cpu // per_core if adjacent else cpu % 6 for cpu in range(total)}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: cpus, raising=False)
        for cpu in range(total):
            siblings = ",".join(str(other) for other in core if core[other] == core[cpu])
            write(Path(folder) / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", f"{siblings}\n")
        assert threads.usable(Path(folder)) == len(cpus)
        assert threads.cores(Path(folder)) == len({core[cpu] for cpu in cpus})


junk = st.none() | st.binary(max_size=60) | st.text("019max -:/\n,cgroup2", max_size=60).map(str.encode)


@settings(deadline=None, max_examples=40)
@given(st.tuples(junk, junk, junk))
def test_files_that_say_nothing_do_no_harm(contents: tuple[bytes | None, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lay(Path(folder), 2, [], [None])
        for file, content in zip(
            ("proc/self/cgroup", "proc/self/mountinfo", "sys/fs/cgroup/cpu.max"), contents, strict=True
        ):
            (Path(folder) / file).unlink()
            if content is not None:
                (Path(folder) / file).write_bytes(content)
        assert 1 <= threads.cores(Path(folder)) <= threads.usable(Path(folder)) <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("limit", "expected"), [("max 100000", 8), ("0 100000", 8), ("100000 0", 8), ("-1 100000", 8), ("9" * 5000, 8)]
)
def test_what_is_no_limit(tmp_path: Path, bound: None, limit: str, expected: int) -> None:
    lay(tmp_path, 2, [], [None])
    write(tmp_path / "sys/fs/cgroup/cpu.max", limit)
    assert threads.usable(tmp_path) == expected


def test_both_versions_at_once(tmp_path: Path, bound: None) -> None:
    lay(tmp_path, 1, ["a"], [None, (300_000, 100_000)])
    old = {name: (tmp_path / f"proc/self/{name}").read_text() for name in ("cgroup", "mountinfo")}
    lay(tmp_path, 2, ["b"], [None, (500_000, 100_000)])
    for name, text in old.items():
        with (tmp_path / f"proc/self/{name}").open("a") as file:
            file.write(text)
    assert threads.usable(tmp_path) == 3


@pytest.mark.parametrize(
    ("own", "mounted", "folder", "expected"),
    [
        ("/a b", r"/ /sys/fs/my\040cg", "sys/fs/my cg/a b", 2),
        ("/a b/c", r"/a\040b /sys/fs/cgroup", "sys/fs/cgroup/c", 2),
        (r"/a\b", r"/a\134b /sys/fs/cgroup", "sys/fs/cgroup", 2),
        ("/mine", "/other /mnt/other", "mnt/other", 8),
        ("/ab", "/a /mnt/a", "mnt/a", 8),
        ("/ab", "/a /mnt/a", "mnt/a/b", 8),
    ],
)
def test_only_what_is_mounted_of_its_own_groups_counts(
    tmp_path: Path, bound: None, own: str, mounted: str, folder: str, expected: int
) -> None:
    write(tmp_path / "proc/self/mountinfo", f"{MOUNTS}35 31 0:32 {mounted} rw - cgroup2 cgroup2 rw\n")
    write(tmp_path / "proc/self/cgroup", f"0::{own}\n")
    write(tmp_path / folder / "cpu.max", "200000 100000\n")
    assert threads.usable(tmp_path) == expected


def test_without_proc_and_sys_each_cpu_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert threads.usable(tmp_path) == threads.cores(tmp_path) == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads.usable(tmp_path) == 1


def test_here() -> None:
    assert 1 <= threads.cores() <= threads.usable() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("own", "cores", "expected"), [(4, 2, 2), (2, 4, 2), (3, 3, 3)])
def test_torch_takes_no_more_than_there_are(
    own: int, cores: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(own)
    monkeypatch.setattr(threads, "cores", lambda: cores)
    assert threads.choose() == torch.get_num_threads() == expected


@pytest.mark.parametrize("name", threads.CHOSEN)
def test_the_environment_outranks_what_there_is_and_a_number_the_environment(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(3)
    monkeypatch.setattr(threads, "cores", lambda: 1)
    monkeypatch.setattr(threads, "usable", lambda: 8)
    monkeypatch.setenv(name, "3")
    assert threads.choose() == torch.get_num_threads() == 3
    assert threads.keep(2) == torch.get_num_threads() == 3
    assert threads.choose(4) == torch.get_num_threads() == 4
    monkeypatch.setenv(name, "")
    assert threads.choose() == 1


@pytest.mark.parametrize(
    ("then", "expected"),
    [(1, 1), (4, 4), (5, 2), (0, 2), (-1, 2), (10**30, 2), (3.0, 2), (True, 2), (None, 2), ([1], 2)],
)
def test_a_run_goes_on_with_as_many_as_it_had(then: object, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "usable", lambda: 4)
    assert threads.keep(then) == torch.get_num_threads() == expected


def test_threads_wait_briefly_unless_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    threads.wait_briefly()
    assert os.environ == {"GOMP_SPINCOUNT": "1000"}
    for told in ({"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}):
        monkeypatch.setattr(os, "environ", dict(told))
        threads.wait_briefly()
        assert os.environ == told
