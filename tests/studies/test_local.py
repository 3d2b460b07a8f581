"""Slots of this machine, with stand-ins for workers, which need no process to show when they begin, stop and end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.runs.stopping import Interrupted
from acaikit.studies import local
from acaikit.studies.outcome import Outcome, Stage, State

LONG = 60
"""Seconds after which a test has failed."""


def outcome(state: State) -> Outcome:
    return Outcome(state, Stage.TRAINING, "2026-01-01T00:00:00+00:00")


class StandIn:
    """Ends as it is told to, or when it is stopped."""

    def __init__(self, run: str, state: State | Exception | None = State.DONE) -> None:
        self.run, self.state = run, state
        self.environment: dict[str, str] = {"OWN": run}
        self.begun, self.asked = threading.Event(), threading.Semaphore(0)
        self.stops = 0
        self.others: list[StandIn] = []
        self.beside: set[str] = set()
        self.at_work = False

    def stop(self) -> None:
        self.stops += 1
        self.asked.release()

    def end(self) -> None:
        self.asked.release()

    def __call__(self) -> Outcome:
        self.at_work = True
        self.begun.set()
        self.beside = {other.run for other in self.others if other.at_work}
        try:
            if self.state is None:
                assert self.asked.acquire(timeout=LONG)
                return outcome(State.STOPPED if self.stops else State.DONE)
            if isinstance(self.state, Exception):
                raise self.state
            return outcome(self.state)
        finally:
            self.at_work = False


def acquainted(workers: Sequence[StandIn]) -> Sequence[StandIn]:
    for worker in workers:
        worker.others = [other for other in workers if other is not worker]
    return workers


def swept(workers: Any, slots: Any, stopping: Callable[[], bool] = lambda: False) -> dict[str, Outcome]:
    told: dict[str, Outcome] = {}

    def ended(worker: Any, outcome: Outcome) -> None:
        assert worker.run not in told
        assert threading.current_thread() is threading.main_thread()
        told[worker.run] = outcome

    local.sweep(workers, slots, ended, stopping)
    return told


def test_every_worker_is_called_and_no_more_at_once_than_there_are_slots() -> None:
    workers = acquainted([StandIn(f"r{number}") for number in range(12)])
    told = swept(workers, [{}] * 3)
    assert {run: how.state for run, how in told.items()} == {worker.run: State.DONE for worker in workers}
    assert all(len(worker.beside) <= 2 for worker in workers)


def test_slots_are_filled_in_order_and_a_free_one_is_filled_again() -> None:
    first, second, third = acquainted([StandIn("a", None), StandIn("b", None), StandIn("c", None)])
    began: list[bool] = []

    def meanwhile() -> bool:
        if first.begun.is_set() and second.begun.is_set() and not began:
            began.append(third.begun.is_set())
            second.end()
        if third.begun.is_set():
            first.end()
            third.end()
        return False

    told = swept([first, second, third], [{}, {}], meanwhile)
    assert began == [False]
    assert next(iter(told)) == "b"
    assert third.beside == {"a"}


def test_a_slot_has_an_environment_which_its_workers_get() -> None:
    workers = [StandIn(f"r{number}") for number in range(6)]
    swept(workers, [{"CUDA_VISIBLE_DEVICES": "7"}])
    assert [worker.environment for worker in workers] == [
        {"OWN": worker.run, "CUDA_VISIBLE_DEVICES": "7"} for worker in workers
    ]


def test_what_takes_the_place_of_a_worker_takes_its_gpu() -> None:
    stays, goes, follows = StandIn("a", None), StandIn("b"), StandIn("c", None)

    def meanwhile() -> bool:
        if follows.begun.is_set():
            stays.end()
            follows.end()
        return False

    swept([stays, goes, follows], [{"GPU": "0"}, {"GPU": "1"}], meanwhile)
    assert [worker.environment["GPU"] for worker in (stays, goes, follows)] == ["0", "1", "1"]


def test_stopping_stops_what_is_at_work_once_and_begins_no_more() -> None:
    workers = [StandIn(name, None) for name in "abc"]
    told = swept(workers, [{}, {}], lambda: workers[1].begun.is_set())
    assert {run: how.state for run, how in told.items()} == {"a": State.STOPPED, "b": State.STOPPED}
    assert [worker.stops for worker in workers] == [1, 1, 0]
    assert not workers[2].begun.is_set()


def test_a_worker_that_cannot_write_stops_the_others_in_good_order() -> None:
    done, at_work, full, waiting = StandIn("a"), StandIn("b", None), StandIn("c", State.UNWRITABLE), StandIn("d")
    told = swept([done, at_work, full, waiting], [{}, {}])
    assert {run: how.state for run, how in told.items()} == {
        "a": State.DONE,
        "b": State.STOPPED,
        "c": State.UNWRITABLE,
    }
    assert at_work.stops == 1
    assert not waiting.begun.is_set()


@pytest.mark.parametrize("state", [State.FAILED, RuntimeError("the 7th\nof its lines")])
def test_a_failure_is_no_reason_to_stop(state: State | Exception) -> None:
    told = swept([StandIn("a", state), StandIn("b"), StandIn("c")], [{}])
    assert [how.state for how in told.values()] == [State.FAILED, State.DONE, State.DONE]
    if isinstance(state, Exception):
        assert told["a"].lines[-2:] == ("RuntimeError: the 7th", "of its lines")
        assert "raise self.state" in "".join(told["a"].lines)


def test_a_second_signal_ends_at_once_what_is_at_work() -> None:
    workers = [StandIn(name, None) for name in "abc"]

    def stopping() -> bool:
        if workers[1].begun.is_set():
            raise Interrupted(2)
        return False

    with pytest.raises(Interrupted):
        swept(workers, [{}, {}], stopping)
    assert [worker.stops for worker in workers] == [2, 2, 0]
    assert not any(worker.at_work for worker in workers)


def test_nobody_stays_at_work_where_telling_of_a_run_fails() -> None:
    one, other = StandIn("a"), StandIn("b", None)

    def ended(worker: Any, outcome: Outcome) -> None:
        raise OSError("nobody listens")

    with pytest.raises(OSError, match="nobody listens"):
        local.sweep([one, other], [{}, {}], ended, lambda: False)  # type: ignore[list-item]
    assert not other.at_work


@settings(deadline=None)
@given(
    jobs=st.none() | st.integers(1, 40),
    pack=st.integers(1, 5),
    gpus=st.lists(st.integers(0, 99).map(str), unique=True, max_size=6),
    cpus=st.integers(1, 64),
)
def test_no_gpu_has_more_slots_than_the_pack_and_none_stays_idle(jobs, pack, gpus, cpus) -> None:
    slots = local.slots_here(jobs, pack, gpus, cpus)
    assert 1 <= len(slots) <= (jobs or 1000)
    if not gpus:
        assert slots == [{}] * (jobs or cpus)
        return
    on = [[slot["CUDA_VISIBLE_DEVICES"] for slot in slots].count(gpu) for gpu in gpus]
    assert sum(on) == len(slots) == min(jobs or 1000, pack * len(gpus))
    assert max(on) <= pack
    assert max(on) - min(on) <= 1


@settings(deadline=None)
@given(jobs=st.integers(1, 200), cpus=st.integers(1, 200))
def test_runs_at_once_share_the_cores(jobs: int, cpus: int) -> None:
    threads = local.threads_each(jobs, cpus)
    assert threads >= 1
    assert threads == 1 or threads * jobs <= cpus < (threads + 1) * jobs


@pytest.mark.parametrize(
    ("visible", "count", "named"),
    [
        (None, 2, ["0", "1"]),
        ("3,5", 2, ["3", "5"]),
        ("GPU-a1,GPU-b2", 2, ["GPU-a1", "GPU-b2"]),
        ("2,-1,3", 1, ["2"]),  # CUDA stops at the first that is none
        ("", 0, []),
        (None, 0, []),
    ],
)
def test_gpus_keep_the_names_that_the_environment_gave_them(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int, named: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.gpus_here() == named
