from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from acaikit.evaluators.intervals import interval


def by_hand(correct: np.ndarray, resamples: int = 4000) -> np.ndarray:
    """Resample seeds and examples one row and one column at a time."""
    rng = np.random.default_rng(1)
    seeds, examples = correct.shape
    means = [
        correct[rng.integers(seeds, size=seeds)][:, rng.integers(examples, size=examples)].mean()
        for _ in range(resamples)
    ]
    return 100 * np.percentile(means, [2.5, 97.5])


def test_a_single_seed_is_a_binomial() -> None:
    correct = np.arange(1000)[None] < 700
    mean, low, high = interval(correct, seed=0)
    assert mean == pytest.approx(70)
    assert [low, high] == pytest.approx(stats.binom.interval(0.95, 1000, 0.7) / np.array(10), abs=0.3)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_it_is_the_plain_bootstrap_of_rows_and_columns(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    skill = np.linspace(0.5, 0.9, seeds)[:, None]
    correct = rng.random((seeds, 400)) < skill * rng.choice([0.5, 1], 400)
    mean, low, high = interval(correct, seed=0)
    wanted = by_hand(correct)
    assert mean == pytest.approx(100 * correct.mean())
    assert low < mean < high
    assert [low, high] == pytest.approx(wanted, abs=0.1 * (wanted[1] - wanted[0]))


def test_seeds_that_disagree_widen_it() -> None:
    alike = np.tile(np.arange(1000) % 2 == 0, (4, 1))
    apart = np.array([[True], [True], [False], [False]]).repeat(1000, 1)
    (_, *one), (_, *other) = interval(alike, 0), interval(apart, 0)
    assert one == pytest.approx([46.9, 53.1], abs=0.3)
    assert other == [0, 100]


def test_the_seed_decides() -> None:
    correct = np.random.default_rng(0).random((3, 5000)) < 0.5
    assert interval(correct, 3) == interval(correct, 3)
    assert interval(correct, 3) != interval(correct, 4)


@pytest.mark.parametrize(("right", "percent"), [(True, 100), (False, 0)])
def test_where_all_are_right_or_none_it_has_no_width(right: bool, percent: float) -> None:
    assert interval(np.full((3, 7), right), 0) == (percent, percent, percent)


@pytest.mark.parametrize("shape", [(7,), (0, 7), (2, 0)])
def test_it_needs_seeds_and_examples(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[seeds, examples\]"):
        interval(np.ones(shape, bool), 0)
