from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.evaluators.skills import ends_skill, headline, middle_skill


@pytest.mark.parametrize(
    ("error", "expected"), [([0.0, 0.0], 1), ([1.0, 3.0], 0), ([0.5, 0.5], 0.75), ([9.0, 9.0], 0), ([0.0, 1.0], 0.75)]
)
def test_ends(error: list[float], expected: float) -> None:
    assert ends_skill(torch.tensor(error), torch.tensor([3.0, 1.0])) == expected


def skill(found: list[list[float]], floor: list[list[float]], moves: list[bool], tellable: bool = True) -> float:
    return middle_skill(torch.tensor(found), torch.tensor(floor), torch.tensor(moves), tellable=tellable)


def test_middle_is_the_ratio_of_the_averages() -> None:
    found = [[0.1, 0.4, 0.2, 0.2], [0.3, 0.3, 0.5, 0.4]]  # inside 0.35, at the ends 0.25
    assert skill(found, [[0.5, 0.7], [0.4, 0.6]], [True, True]) == pytest.approx(0.2 / 0.3)


def test_middle_of_what_is_not_worse_than_its_ends_is_one_and_of_what_is_worse_than_a_dissolve_nothing() -> None:
    assert skill([[0.2, 0.1, 0.2]], [[0.5]], [True]) == 1
    assert skill([[0.2, 0.6, 0.2]], [[0.5]], [True]) == 0
    assert skill([[0.2, 0.5, 0.2]], [[0.5]], [True]) == 0


def test_a_path_that_does_not_move_counts_nothing() -> None:
    found, floor = [[0.1, 0.1, 0.1], [0.2, 0.3, 0.2]], [[0.1], [0.6]]
    assert skill(found, floor, [False, True]) == pytest.approx(0.5 * 0.75)
    assert skill(found, floor, [False, False]) == 0


def test_what_the_data_cannot_tell_is_unknown_and_what_the_model_spoils_is_nothing() -> None:
    found, floor = [[0.5, 0.1, 0.5]], [[0.3]]
    assert math.isnan(skill(found, floor, [True], tellable=False))
    assert skill(found, floor, [False], tellable=False) == 0
    assert skill(found, floor, [True]) == 0
    assert skill([[0.3, 0.1, 0.3]], floor, [True]) == 0


@given(st.integers(1, 6), st.integers(3, 6), st.integers(0, 1000), st.booleans())
@settings(deadline=None, max_examples=60)
def test_middle_is_always_a_share(paths: int, steps: int, seed: int, tellable: bool) -> None:
    random = np.random.default_rng(seed)
    found, floor = (torch.from_numpy(random.random((paths, n))) for n in (steps, steps - 2))
    moves = torch.from_numpy(random.random(paths) < 0.5)
    value = middle_skill(found, floor, moves, tellable=tellable)
    assert 0 <= value <= 1 or (math.isnan(value) and not tellable)


@pytest.mark.parametrize(
    ("skills", "expected"),
    [
        ((1.0, 1.0, 1.0), 1),
        ((0.5, 0.5, 0.5), 0.5),
        ((0.2, 0.4, 0.1), 0.2),
        ((0.0, 1.0, 1.0), 0),
        ((1.0, 0.0, math.nan), 0),
        ((1.0, 1.0, math.nan), math.nan),
    ],
)
def test_the_headline_is_the_geometric_mean(skills: tuple[float, float, float], expected: float) -> None:
    assert headline(*skills) == pytest.approx(expected, nan_ok=True)
