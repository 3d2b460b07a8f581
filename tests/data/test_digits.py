from __future__ import annotations

import runpy
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from acaikit.data import digits
from acaikit.data.digits import Digits
from acaikit.errors import DataError, UserError
from acaikit.rng import generator


@pytest.mark.parametrize(("flat", "shape"), [(False, (1, 8, 8)), (True, (64,))])
def test_the_published_digits(flat: bool, shape: tuple[int, ...]) -> None:
    published = load_digits()
    made = Digits(flat)
    assert (made.shape, made.classes) == (shape, 10)
    splits = [made.train(64, generator(0, "data")).split, made.test()]
    assert [len(split) for split in splits] == [1500, 297]
    x = torch.cat([split.data for split in splits])
    assert x.dtype == torch.float32 and x.shape == (1797, *shape)
    # Exact: values are whole numbers from 0 to 16.
    assert np.array_equal((x.numpy() + 1) * 8, published.images.reshape(1797, *shape))
    labels = torch.cat([split.labels for split in splits])
    assert labels.dtype == torch.int64
    assert np.array_equal(labels, published.target)


def test_batches_are_of_the_training_set() -> None:
    stream = Digits(flat=True).train(1500, generator(0, "data"))
    x, y = stream.next()
    assert (x.shape, y.shape) == ((1500, 64), (1500,))
    assert np.array_equal(x, load_digits().data[stream.order] / 8 - 1)


def test_a_batch_of_more_than_there_is() -> None:
    with pytest.raises(DataError, match="1500 examples"):
        Digits().train(1501, generator(0, "data"))


def test_scikit_learn_is_imported_when_digits_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    made = runpy.run_path(str(digits.__file__))["Digits"](flat=True)
    assert (made.shape, made.classes) == ((64,), 10)
    with pytest.raises(ImportError):
        made.test()


def test_flat_is_a_bool() -> None:
    with pytest.raises(UserError, match=r"Digits\.flat must be a bool, not 1"):
        Digits(flat=1)
