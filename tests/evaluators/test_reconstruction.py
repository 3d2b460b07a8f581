from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from acaikit.errors import UserError
from acaikit.evaluators.base import Trained
from acaikit.evaluators.reconstruction import Reconstruction
from acaikit.likelihoods import Bernoulli
from acaikit.regularizers import KL


@pytest.mark.parametrize("vae", [False, True])
def test_the_error_over_every_element(tiny: Callable[..., Trained], vae: bool) -> None:
    trained = tiny(1100, **({"regularizers": [KL()], "likelihood": Bernoulli()} if vae else {}))
    model, x = trained.model, trained.dataset.test().data
    h = model.encoder(x)
    if vae:
        h = model.regularizers["KL"].mu(h.flatten(1)).view(h.shape)
    output = model.decoder(h).double().numpy()
    shown = 2 / (1 + np.exp(-output)) - 1 if vae else output
    found = Reconstruction(examples=3).evaluate(trained)
    assert list(found.scores) == ["mse"]
    assert found.scores["mse"] == pytest.approx(np.mean((shown - x.double().numpy()) ** 2), rel=1e-5)
    rows = [0, 550, 1099]  # the middle one is 549.5, which rounds to even
    np.testing.assert_array_equal(found.arrays["originals"], x[rows].numpy())
    np.testing.assert_allclose(found.arrays["reconstructions"], shown[rows], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("limit", "rows"),
    [
        (1, [0]),
        (4, [0, 366, 733, 1099]),
        (501, np.linspace(0, 1099, 501).round()),
        (1100, range(1100)),
        (9999, range(1100)),
    ],
)
def test_the_error_of_a_part_spread_evenly(tiny: Callable[..., Trained], limit: int, rows: Sequence[float]) -> None:
    trained = tiny(1100)
    x = trained.dataset.test().data[torch.tensor(list(rows)).long()]
    shown = trained.model.decoder(trained.model.encoder(x)).double()
    found = Reconstruction(examples=3, limit=limit).evaluate(trained)
    assert found.scores["mse"] == pytest.approx((shown - x.double()).square().mean().item(), rel=1e-5)
    whole = Reconstruction(examples=3).evaluate(trained)
    assert (found.scores == whole.scores) == (limit >= 1100)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_no_more_examples_than_there_are(tiny: Callable[..., Trained]) -> None:
    arrays = Reconstruction(examples=32).evaluate(tiny(5)).arrays
    assert {name: array.shape for name, array in arrays.items()} == {
        "originals": (5, 1, 8, 8),
        "reconstructions": (5, 1, 8, 8),
    }


def test_settings(tiny: Callable[..., Trained]) -> None:
    assert Reconstruction.key == "reconstruction"
    assert Reconstruction(examples=4).protocol == {
        "evaluator": "Reconstruction",
        "version": 1,
        "examples": 4,
        "limit": None,
    }
    assert Reconstruction(limit=10000).protocol == {
        "evaluator": "Reconstruction",
        "version": 1,
        "examples": 32,
        "limit": 10000,
    }
    assert Reconstruction().fits(tiny(probe=False))
    with pytest.raises(UserError, match=r"Reconstruction.examples must be a whole number of at least 1, not 0"):
        Reconstruction(examples=0)
    with pytest.raises(UserError, match=r"Reconstruction.limit must be a whole number of at least 1, not 0"):
        Reconstruction(limit=0)
