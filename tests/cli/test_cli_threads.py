from __future__ import annotations

import os

import pytest
import torch

from acaikit import threads
from acaikit.cli import options


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's own choice is 2, and there are 4 CPUs of 2 cores; real threads are left as they are, to be quick."""
    for name in threads.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "usable", lambda: 4)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    number = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: number[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: number.__setitem__(0, n))


@pytest.mark.parametrize(("given", "cores", "expected"), [([], 1, 1), ([], 4, 2), (["--threads", 3], 1, 3)])
def test_a_command_computes_with_as_many_threads_as_it_may_or_as_it_is_told(
    acaikit, tiny, given: list[object], cores: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    acaikit("run", "quickstart", *tiny, "--dry-run", *given)
    assert torch.get_num_threads() == expected


def test_the_environment_outranks_what_there_is(acaikit, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    acaikit("run", "quickstart", *tiny, "--dry-run")
    assert torch.get_num_threads() == 2


def test_freed_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr("acaikit.allocator.keep_freed_memory", lambda: called.append(torch.get_num_threads()))
    options.apply(None, 3)
    assert called == [2]  # first of all


def test_a_resumed_run_keeps_its_number(acaikit, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acaikit.cli.conclusion._pictures", lambda session: [])  # which take most of the time
    quick = ["--set", "Experiment.evaluators = []", "--set", "Experiment.probe = False"]
    ran = acaikit("run", "quickstart", *tiny, *quick, "--dir", "r", "--threads", 3)
    assert "training in r on cpu with 3 threads, seed 0" in ran.out
    torch.set_num_threads(2)
    ran = acaikit("resume", "r", "--samples", 320)
    assert "continuing r from 256 samples, on cpu with 3 threads" in ran.out and "threads 3 ->" not in ran.err
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "usable", lambda: 2)
    ran = acaikit("resume", "r", "--samples", 384)
    assert "continuing r from 320 samples, on cpu with 2 threads" in ran.out
    assert "threads 3 -> 2: sums are split differently; --threads 3 gives the same bits" in ran.err
    assert acaikit("resume", "r", "--samples", 448, "--threads", 1).out.count("with 1 thread\n") == 1


def test_threads_are_told_how_to_wait(acaikit, monkeypatch: pytest.MonkeyPatch) -> None:
    untold = {name: value for name, value in os.environ.items() if name not in threads.WAITING}
    monkeypatch.setattr(os, "environ", untold)
    acaikit("--version")
    assert os.environ["GOMP_SPINCOUNT"] == str(threads.SPINS)
