from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from acaikit.data import Lines, Split
from acaikit.errors import UserError
from acaikit.evaluators.base import Trained
from acaikit.evaluators.latents import Latents


def test_codes_and_labels(tiny: Callable[..., Trained]) -> None:
    trained = tiny()
    found = Latents(examples=20).evaluate(trained)
    codes = trained.codes(20)
    assert found.scores == {"train": 20, "test": 40, "dimensions": 8}
    np.testing.assert_array_equal(found.arrays["train"].reshape(20, -1), codes.train)
    np.testing.assert_array_equal(found.arrays["test"].reshape(40, -1), codes.test)
    np.testing.assert_array_equal(found.arrays["train_labels"], codes.train_labels)
    np.testing.assert_array_equal(found.arrays["test_labels"], codes.test_labels)
    assert found.arrays["test"].shape[1:] == trained.model.latent_shape


def test_without_labels_and_not_finite(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = tiny()
    monkeypatch.setattr(Lines, "training", lambda self, limit: Split(torch.full((limit, 1, 8, 8), torch.nan)))
    monkeypatch.setattr(Lines, "test", lambda self: Split(torch.zeros(3, 1, 8, 8)))
    found = Latents(examples=2).evaluate(trained)
    assert found.arrays.keys() == {"train", "test"}
    assert np.isnan(found.arrays["train"]).all()


def test_at_least_one_example() -> None:
    with pytest.raises(UserError, match=r"Latents\.examples"):
        Latents(examples=0)
