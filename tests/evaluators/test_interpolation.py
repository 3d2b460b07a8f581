from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from acaikit.data.base import Split
from acaikit.errors import UserError
from acaikit.evaluators.base import Trained
from acaikit.evaluators.interpolation import Interpolation


def test_paths_and_scores(tiny: Callable[..., Trained]) -> None:
    trained = tiny(41)
    model, x = trained.model, trained.dataset.test().data
    model.decoder.layers[-1].weight.mul_(10)  # so that paths differ visibly from end to end
    rows = [0, 8, 16, 24, 32, 40]  # six examples spread over 41
    a, b = model.encode(x[rows[:3]]), model.encode(x[rows[3:]])
    paths = np.stack([model.decode(a + (b - a) * t).numpy() for t in np.linspace(0, 1, 5)], 1)
    found = Interpolation(pairs=3, steps=5).evaluate(trained)
    np.testing.assert_allclose(found.arrays["paths"], paths, rtol=1e-4, atol=1e-6)

    ends = np.concatenate([(paths[:, 0] - x[rows[:3]].numpy()).ravel(), (paths[:, -1] - x[rows[3:]].numpy()).ravel()])
    ratios = []
    for path in paths:
        steps = [np.linalg.norm((after - before).ravel()) for before, after in pairwise(path)]
        ratios.append(max(steps) / np.mean(steps))
    expected = {"endpoint_mse": np.mean(ends**2), "step_ratio": np.mean(ratios)}
    assert found.scores == pytest.approx(expected, rel=1e-4)


class Jump(torch.nn.Module):
    """A decoder that shows one of two pictures."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (z.flatten(1)[:, :1] > 0).float().view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


class Signs(torch.nn.Module):
    """An encoder that tells the first half of a batch of pairs from the second by its sign."""

    def __init__(self) -> None:
        super().__init__()
        self.sign = torch.nn.Parameter(torch.tensor(1.0))
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return torch.full((len(x), 2, 2, 2), 1.0 if self.calls % 2 else -1.0)


def test_a_jump_has_the_largest_step_ratio(tiny: Callable[..., Trained]) -> None:
    trained = tiny()
    trained.model.encoder, trained.model.decoder = Signs(), Jump()
    assert Interpolation(pairs=4, steps=6).evaluate(trained).scores["step_ratio"] == pytest.approx(5)


def test_a_model_that_does_not_move_has_no_step_ratio(tiny: Callable[..., Trained]) -> None:
    trained = tiny()
    for parameter in trained.model.parameters():
        parameter.zero_()
    scores = Interpolation().evaluate(trained).scores
    assert math.isnan(scores["step_ratio"])
    assert scores["endpoint_mse"] > 0


@pytest.mark.parametrize(("test_size", "count"), [(2, 1), (3, 1), (7, 3), (40, 8)])
def test_as_many_pairs_as_there_are(tiny: Callable[..., Trained], test_size: int, count: int) -> None:
    trained = tiny(test_size)
    assert Interpolation().fits(trained)
    assert Interpolation().evaluate(trained).arrays["paths"].shape == (count, 16, 1, 8, 8)


def test_another_path(tiny: Callable[..., Trained]) -> None:
    trained = tiny()
    straight, round_ = (Interpolation(path=path).evaluate(trained).arrays["paths"] for path in ("lerp", "slerp"))
    np.testing.assert_allclose(straight[:, [0, -1]], round_[:, [0, -1]], atol=1e-5)
    assert np.abs(straight - round_).max() > 1e-4


def test_settings() -> None:
    assert Interpolation.key == "interpolation"
    assert Interpolation().protocol == {
        "evaluator": "Interpolation",
        "version": 1,
        "pairs": 8,
        "steps": 16,
        "path": "lerp",
    }
    for values in ({"pairs": 0}, {"steps": 1}):
        with pytest.raises(UserError, match="at least"):
            Interpolation(**values)


def test_a_single_test_example_makes_no_path(tiny: Callable[..., Trained], monkeypatch: pytest.MonkeyPatch) -> None:
    trained = tiny()
    assert Interpolation().fits(trained)
    monkeypatch.setattr(trained.dataset, "test", lambda: Split(torch.zeros(1, 1, 8, 8)))
    assert not Interpolation().fits(trained)
