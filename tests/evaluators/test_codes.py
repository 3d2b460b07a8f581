from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from acaikit.data import Dataset, Digits, Lines, Split
from acaikit.errors import EvaluationError, UserError
from acaikit.evaluators.base import Result, Trained
from acaikit.evaluators.codes import Codes
from acaikit.evaluators.of_codes import OfCodes
from acaikit.regularizers import KL

GOOD: dict[str, Any] = {
    "train": np.zeros((4, 2), np.float32),
    "train_labels": np.array([0, 1, 2, 0]),
    "test": np.ones((2, 2), np.float32),
    "test_labels": np.array([2, 2]),
    "classes": 3,
}


class Count(OfCodes):
    key = "count"

    def measure(self, codes: Codes) -> Result:
        return Result({"train": len(codes.train), "test": len(codes.test)})


def test_codes_are_what_the_probe_reads(tiny: Callable[..., Trained]) -> None:
    trained = tiny(regularizers=[KL()])
    codes = trained.codes(30)
    dataset = trained.dataset
    np.testing.assert_array_equal(codes.test, trained.model.code(dataset.test().data).flatten(1))
    training = dataset.training(30)
    torch.testing.assert_close(torch.from_numpy(codes.train), trained.model.code(training.data).flatten(1))
    np.testing.assert_array_equal(codes.train_labels, training.labels)
    np.testing.assert_array_equal(codes.test_labels, dataset.test().labels)
    assert codes.classes == 10 and codes.train.dtype == np.float32


def test_they_are_computed_once(tiny: Callable[..., Trained]) -> None:
    trained = tiny()
    assert trained.codes(12) is trained.codes(12)
    assert len(trained.codes(13).train) == 13


def test_raw_data_are_codes_too() -> None:
    codes = Codes.raw(Digits(), 100)
    np.testing.assert_array_equal(codes.train, Digits().training().data[:100].flatten(1))
    assert codes.test.shape == (len(Digits().test()), 64)


def test_latents_of_the_training_set(tiny: Callable[..., Trained]) -> None:
    trained = tiny()
    expected = trained.model.encode(trained.dataset.training(10_000).data[:7])
    assert len(trained.latents) == 10_000
    torch.testing.assert_close(trained.latents[:7], expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train": np.array([[1, np.nan], [np.inf, 0], [0, 0], [0, 0]])},
            "2 of 4 training examples hold NaN or infinity",
        ),
        ({"test": np.full((2, 2), np.inf)}, "2 of 2 test examples hold NaN or infinity"),
        ({"train": np.zeros((0, 2)), "train_labels": np.zeros(0)}, "no training examples"),
        ({"test": np.zeros((0, 2)), "test_labels": np.zeros(0)}, "no test examples"),
        ({"train_labels": np.array([0, 1, 3, 0])}, "labels from 0 to 2"),
        ({"test_labels": np.array([-1, 0])}, "labels from 0 to 2"),
        ({"test_labels": np.array([0])}, "the 2 test examples need as many labels"),
    ],
)
def test_codes_that_mean_nothing(changes: dict[str, Any], message: str) -> None:
    Codes(**GOOD)
    with pytest.raises(EvaluationError, match=message):
        Codes(**(GOOD | changes))


def test_an_evaluator_of_codes(tiny: Callable[..., Trained]) -> None:
    evaluator = Count(examples=20)
    assert evaluator.fits(tiny())
    assert evaluator.evaluate(tiny()).scores == {"train": 20, "test": 40}
    assert evaluator.protocol == {"evaluator": "Count", "version": 1, "examples": 20}
    with pytest.raises(UserError, match=r"Count.examples must be a whole number of at least 1, not 0"):
        Count(examples=0)


def test_no_labels(monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Trained]) -> None:
    trained = tiny()
    monkeypatch.setattr(Lines, "training", lambda self, limit: Split(torch.zeros(limit, 1, 8, 8)))
    monkeypatch.setattr(Lines, "test", lambda self: Split(torch.zeros(3, 1, 8, 8)))
    monkeypatch.setattr(Lines, "classes", None)
    assert not Count(examples=20).fits(trained)
    with pytest.raises(EvaluationError, match="Lines has no labels"):
        Codes.of(trained.dataset, trained.model.code, 5, "cpu")


def test_first_training_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = Digits()
    assert len(digits.training()) == digits.counts["train"]
    torch.testing.assert_close(digits.training(5).data, digits.training().data[:5])
    torch.testing.assert_close(digits.training(5).labels, digits.training().labels[:5])
    lines = Lines(8, 8)
    torch.testing.assert_close(lines.training(9).data, lines.training(9).data)
    assert len(lines.training()) == 10_000
    # What a dataset of somebody else's does, whose stream never ends.
    split = Dataset.training(lines, 6)
    assert isinstance(split, Split) and split.data.shape == (6, 1, 8, 8) and split.labels.shape == (6,)
    torch.testing.assert_close(split.data, Dataset.training(lines, 6).data)
