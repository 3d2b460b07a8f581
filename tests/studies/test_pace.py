from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.studies.pace import at_once, pace, roughly
from acaikit.studies.progress import Progress

BUDGET = 1000
CLOCK = st.floats(1.8e9, 1.8e9 + 1e4)
CHECKPOINT = st.builds(Progress, st.integers(0, 2 * BUDGET), st.just(BUDGET), CLOCK)


@settings(deadline=None)
@given(
    rate=st.integers(1, 50),
    every=st.integers(1, 300),
    began=st.floats(0, 1e9),
    first=st.integers(0, 400),
    passed=st.floats(0, 1),
    saves=st.integers(1, 3),
)
def test_a_steady_run_is_told_exactly(
    rate: int, every: int, began: float, first: int, passed: float, saves: int
) -> None:
    """`saves` checkpoints of this turn, which began at `first` samples; `passed` of the way to the next one."""
    budget = first + (saves + 1) * every
    seen = [first + k * every for k in range(saves + 1)]
    saved = [Progress(samples, budget, began + (samples - first) / rate) for samples in reversed(seen)]
    true = seen[-1] + passed * every
    found = pace(saved, began, began + (true - first) / rate)
    assert found.rate == pytest.approx(rate, rel=1e-3)
    assert found.samples == pytest.approx(true, abs=1 + 1e-3 * budget)
    assert found.left == pytest.approx((budget - true) / rate, abs=(1 + 1e-3 * budget) / rate)


@settings(deadline=None)
@given(saved=st.lists(CHECKPOINT, min_size=1, max_size=3), began=CLOCK, now=CLOCK)
def test_whatever_clocks_and_files_say_the_estimate_keeps_within_bounds(
    saved: list[Progress], began: float, now: float
) -> None:
    found, newest = pace(saved, began, now), saved[0]
    assert newest.samples <= found.samples <= max(newest.samples, BUDGET)
    before = saved[1].samples if len(saved) > 1 else 0
    assert found.samples <= max(newest.samples, 2 * newest.samples - before)  # where the next one is due
    assert (found.rate is None) == (found.left is None)
    if found.rate is not None and found.left is not None:
        assert found.rate > 0 and math.isfinite(found.rate)
        assert found.left >= 0 and math.isfinite(found.left)
        assert pace(saved, began, now + 60).samples >= found.samples


def test_what_earlier_turns_did_says_nothing_about_this_one() -> None:
    earlier = [Progress(400, BUDGET, 20.0), Progress(200, BUDGET, 10.0)]
    assert pace(earlier, began=1000.0, now=1010.0) == pace(earlier, began=1000.0, now=2000.0)
    assert pace(earlier, began=1000.0, now=1010.0).rate is None
    # 100 samples in the 50 s since the turn began, not in the 1030 s since the checkpoint before.
    assert pace([Progress(500, BUDGET, 1050.0), *earlier], began=1000.0, now=1050.0).rate == 2.0


def test_the_first_checkpoint_tells_by_when_the_turn_began() -> None:
    found = pace([Progress(500, BUDGET, 1050.0)], began=1000.0, now=1060.0)
    assert (found.rate, found.samples, found.left) == (10.0, 600, 40.0)


def test_a_run_that_saves_no_more_stays_where_its_next_checkpoint_was_due() -> None:
    saved = [Progress(300, BUDGET, 30.0), Progress(200, BUDGET, 20.0)]
    assert [pace(saved, 0.0, now).samples for now in (30.0, 35.0, 40.0, 1e6)] == [300, 350, 400, 400]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m"),
        (89, "1m"),
        (3569, "59m"),
        (3599, "1h00m"),
        (7500, "2h05m"),
        (86_399, "1d 0h"),
        (86_400 * 3 + 3600 * 4, "3d 4h"),
    ],
)
def test_durations_are_said_as_exactly_as_an_estimate_deserves(seconds: float, said: str) -> None:
    assert roughly(seconds) == said


@settings(deadline=None)
@given(st.floats(0, 1e9))
def test_a_duration_that_is_said_is_close_to_the_true_one(seconds: float) -> None:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    read = sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhd])", roughly(seconds)))
    assert abs(read - seconds) <= max(0.5, 0.34 * seconds if seconds < 3600 else seconds / 40)


def test_those_at_work_when_the_last_began_are_counted() -> None:
    assert at_once([]) == 0
    assert at_once([(0, 5), (1, math.inf), (2, 9)]) == 3
    assert at_once([(0, 2), (1, math.inf), (2, 9)]) == 2  # one made room for the next
    assert at_once([(0, math.inf), (9, -math.inf)]) == 1  # the last was killed
