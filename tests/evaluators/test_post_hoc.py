from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.errors import EvaluationError, UserError
from acaikit.evaluators.base import Result
from acaikit.evaluators.codes import Codes
from acaikit.evaluators.intervals import interval
from acaikit.evaluators.post_hoc import HELD_OUT, PostHocProbe


class Guess(PostHocProbe):
    key = "guess"

    def __init__(self, examples: int | None = None, held_out: float = 0.1, seeds: int = 3) -> None:
        super().__init__(examples, held_out, seeds)

    def measure(self, codes: Codes) -> Result:
        raise NotImplementedError


@settings(deadline=None)
@given(st.integers(2, 300), st.floats(1e-6, 0.999), st.integers(1, 4))
def test_every_example_is_either_fitted_to_or_held_out(examples: int, held_out: float, seeds: int) -> None:
    splits = list(Guess(held_out=held_out, seeds=seeds).splits(examples))
    assert len(splits) == seeds
    for fit, held in splits:
        assert sorted([*fit, *held]) == list(range(examples))
        assert len(fit) and len(held)
        assert abs(len(held) - held_out * examples) <= 1


def test_another_part_is_held_out_for_each_seed_and_always_the_same() -> None:
    first, second = (list(Guess().splits(1000)) for _ in range(2))
    parts = {tuple(held) for _, held in first}
    assert parts == {tuple(held) for _, held in second}
    assert len(parts) == 3


def test_of_a_large_set_no_more_is_held_out_than_the_choice_needs() -> None:
    (_, held), *_ = Guess().splits(20 * HELD_OUT)
    assert len(held) == HELD_OUT


@pytest.mark.parametrize("examples", [0, 1])
def test_one_example_is_too_few(examples: int) -> None:
    with pytest.raises(EvaluationError, match="two training examples or more"):
        list(Guess().splits(examples))


@pytest.mark.parametrize(
    "wrong",
    [{"examples": 0}, {"examples": 1.5}, {"held_out": 0}, {"held_out": 1}, {"held_out": float("nan")}, {"seeds": 0}],
)
def test_what_is_out_of_range_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"Guess.{next(iter(wrong))} must be"):
        Guess(**wrong)


def test_the_result_averages_over_seeds_and_keeps_what_was_chosen() -> None:
    labels = np.array([0, 1, 1, 0])
    predictions = np.array([[0, 1, 1, 1], [0, 0, 0, 1], [0, 1, 1, 0]])
    codes = Codes(np.zeros((1, 1), np.float32), labels[:1], np.zeros((4, 1), np.float32), labels, 2)
    found = Guess().result(codes, predictions, [50.0, 100.0, 30.0], "strength", [0.1, 0.3, 0.2])
    low, high = interval(predictions == labels, 0)[1:]
    assert found.scores == {
        "accuracy": pytest.approx(100 * 8 / 12),
        "accuracy_low": low,
        "accuracy_high": high,
        "held_out_accuracy": pytest.approx(60),
        "strength": 0.2,
    }
    assert low < 100 * 8 / 12 < high
    assert found.arrays["strength"].tolist() == [0.1, 0.3, 0.2]
    assert found.arrays["predictions"].tolist() == predictions.tolist()
    assert found.arrays["labels"].tolist() == labels.tolist()
