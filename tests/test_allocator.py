from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Callable

import pytest

from acaikit import allocator
from acaikit.allocator import keep_freed_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
BLOCK, REPEATS = 1 << 20, 20
PAGES = BLOCK // os.sysconf("SC_PAGE_SIZE")
CHILD = f"""
import resource
from acaikit.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({REPEATS}):
        b"x" * {BLOCK}
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory() or print("left alone")
faults()
print(faults())
"""


@pytest.fixture(autouse=True)
def _untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in allocator._CHOSEN:
        monkeypatch.delenv(name, raising=False)


def faults(**environment: str) -> int:
    """Return a new process's page faults of allocating, filling and freeing a block again and again."""
    command = [sys.executable, "-c", CHILD]
    said = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True).stdout
    assert ("left alone" in said) == bool(environment)
    return int(said.split()[-1])


@glibc
def test_a_block_that_was_freed_costs_no_faults_again() -> None:
    assert faults() < 0.1 * PAGES
    # What glibc does by itself: it raises the threshold at the first free, so it is told to keep to it.
    assert faults(MALLOC_MMAP_THRESHOLD_=str(BLOCK // 2)) > 0.9 * REPEATS * PAGES


class Calls(list[tuple[int, int]]):
    """Stands in for the C library, and takes what `accept` says."""

    def __init__(self, accept: Callable[[int, int], bool]) -> None:
        self.accept = accept

    def mallopt(self, option: int, value: int) -> int:
        self.append((option, value))
        return int(self.accept(option, value))


def test_an_old_glibc_is_given_the_most_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Calls(lambda option, value: option == -1 or value <= 32 << 20)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.28"))
    assert keep_freed_memory()
    assert library == [(-3, 1 << 30), (-3, 32 << 20), (-1, 1 << 30)]


def test_an_allocator_that_takes_nothing_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Calls(lambda option, value: False))
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    assert not keep_freed_memory()


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", None])
def test_what_the_user_or_another_system_has_is_left_alone(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Calls(lambda option, value: True)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36") if name else ("", ""))
    if name:
        monkeypatch.setenv(name, "1")
    assert not keep_freed_memory()
    assert library == []
