from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from acaikit.errors import UserError
from acaikit.runs import stopping
from acaikit.runs.stopping import Interrupted, Starting, Stopper, parse_duration

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}

numbers = st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,3})?", fullmatch=True)


@given(st.lists(st.tuples(numbers, st.sampled_from("smhd")), min_size=1, max_size=4))
@example([("1", "h"), ("30", "m")])
def test_durations(terms: list[tuple[str, str]]) -> None:
    expected = sum(Fraction(number) * SECONDS[unit] for number, unit in terms)
    assert parse_duration("".join(number + unit for number, unit in terms)) == pytest.approx(float(expected))


@given(numbers)
def test_a_bare_number_is_seconds(number: str) -> None:
    assert parse_duration(number) == float(number)


@pytest.mark.parametrize(
    "text",
    ["", "h", "-5", "-5s", "1x", "1 h", " 1h", "1h30", "1h 30m", "1e3", "nan", "inf", ".5h", "1.h", "1,5h", "9s\n"],
)
def test_texts_that_are_no_durations(text: str) -> None:
    with pytest.raises(UserError, match=rf"{re.escape(repr(text))} is no duration: write for example"):
        parse_duration(text)


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    """A signal whose usual handler raises KeyboardInterrupt."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, before)


class Clock:
    """Stands for the module `time`."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stopping, "time", made)
    return made


def test_a_first_signal_asks_and_a_later_one_interrupts(number: int, clock: Clock) -> None:
    with Stopper() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert stop.signal == number
        assert not stop.out_of_time
        for _ in range(2):
            clock.now += stopping.TOGETHER
            with pytest.raises(Interrupted) as caught:
                os.kill(os.getpid(), number)
            assert caught.value.signal == number
        assert stop()


def test_signals_that_come_together_are_one(number: int, clock: Clock) -> None:
    """However many: but they don't put off what comes later."""
    with Stopper() as stop:
        for _ in range(3):
            os.kill(os.getpid(), number)
            clock.now += 0.4 * stopping.TOGETHER
        assert stop.signal == number
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)
        clock.now += 0.9 * stopping.TOGETHER
        os.kill(os.getpid(), number)


def test_before_training_a_save_is_remembered_and_ctrl_c_ends_at_once() -> None:
    """Also where the parent process ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.getsignal(signal.SIGUSR1)
    try:
        with Starting() as starting:
            assert not starting.asked
            os.kill(os.getpid(), signal.SIGUSR1)
            assert starting.asked
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGUSR1)) == (signal.SIG_IGN, before[1])
    finally:
        signal.signal(signal.SIGINT, before[0])


def test_the_handlers_are_those_of_before_afterwards(number: int) -> None:
    with Stopper() as stop:
        pass
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert not stop()
    with pytest.raises(ZeroDivisionError), Stopper():
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_a_hang_up_that_is_ignored_stays_so() -> None:
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stopper() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_one_signal_only_asks_for_a_save() -> None:
    asked: list[None] = []
    before = signal.getsignal(signal.SIGUSR1)
    with Stopper(save=lambda: asked.append(None)) as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert not stop()
    assert len(asked) == 2
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_platform_may_lack_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "STOPPING", [signal.SIGINT, signal.SIGTERM])
    monkeypatch.setattr(stopping, "SAVING", None)
    before = signal.getsignal(signal.SIGUSR1)
    with Starting(), Stopper(save=lambda: None):
        assert signal.getsignal(signal.SIGUSR1) is before


def test_a_thread_has_no_signals_but_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers, stops = [], []

    def run() -> None:
        with Starting(), Stopper(max_time=0) as stop:
            handlers.append(signal.getsignal(signal.SIGINT))
            stops.append(stop())

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert (handlers, stops) == ([before], [True])


def test_the_limit_counts_from_entering(clock: Clock) -> None:
    stop = Stopper(max_time=5)
    clock.now = 200.0
    with stop:
        clock.now = 204.9
        assert not stop()
        clock.now = 205.0
        assert stop()
        assert stop.out_of_time
        assert stop.signal is None


def test_without_a_limit_it_never_stops() -> None:
    with Stopper() as stop:
        assert not stop()
        assert not stop.out_of_time
