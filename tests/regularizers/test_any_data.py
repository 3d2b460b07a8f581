"""Every regularizer, and every composition with ACAI, on vectors and on sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from acaikit.data.base import Dataset, Shuffled, Split, Stream
from acaikit.engine import Trainer
from acaikit.evaluators.interpolation import Interpolation
from acaikit.evaluators.probe import ProbeAccuracy
from acaikit.evaluators.reconstruction import Reconstruction
from acaikit.experiment import Experiment
from acaikit.likelihoods import MSE, Bernoulli, Likelihood
from acaikit.nets import ConvDecoder, ConvEncoder, Decoder, Encoder, MLPDecoder, MLPEncoder
from acaikit.registry import parts
from acaikit.regularizers import ACAI, Regularizer

Make = Callable[[], list[Regularizer]]

SMALL: dict[str, dict[str, Any]] = {"VQEMA": {"entries": 16, "vectors": 2, "hidden": 6}}
KINDS = [part for part in parts() if part.kind == "regularizers"]
CONV = (ConvEncoder(depth=3, scales=2, latent=2), ConvDecoder(depth=3, scales=2))
MLP = (MLPEncoder(hidden=(7, 6), latent=3), MLPDecoder(hidden=(6, 7)))


class Points(Dataset):
    """Uniform noise of any shape, in three classes."""

    classes = 3

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def _split(self, seed: int) -> Split:
        draw = torch.Generator().manual_seed(seed)
        return Split(2 * torch.rand(24, *self.shape, generator=draw) - 1, torch.arange(24) % 3)

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        return Shuffled(self._split(0), batch_size, generator, device)

    def test(self) -> Split:
        return self._split(1)


every_data = pytest.mark.parametrize(
    ("dataset", "pair", "latent_shape"),
    [
        pytest.param(Points(5), MLP, (3,), id="vectors"),
        pytest.param(Points(1), MLP, (3,), id="numbers"),
        pytest.param(Points(2, 12), CONV, (2, 3), id="sequences"),
        pytest.param(Points(2, 12), MLP, (3,), id="sequences, dense"),
        pytest.param(Points(2, 12), (CONV[0], MLP[1]), (2, 3), id="sequences, dense decoder"),
        pytest.param(Points(1, 4, 6), MLP, (3,), id="images, dense"),
    ],
)


def trainer(
    dataset: Dataset, pair: tuple[Encoder, Decoder], regularizers: list[Regularizer], likelihood: Likelihood
) -> Trainer:
    return Trainer(Experiment(dataset, *pair, likelihood, regularizers, batch_size=8, learning_rate=1e-2))


@every_data
@pytest.mark.parametrize("likelihood", [MSE(), Bernoulli()], ids=["MSE", "Bernoulli"])
@pytest.mark.parametrize("with_acai", [False, True], ids=["alone", "with ACAI"])
@pytest.mark.parametrize("part", KINDS, ids=lambda part: part.name)
def test_three_steps(
    dataset: Dataset,
    pair: tuple[Encoder, Decoder],
    latent_shape: tuple[int, ...],
    likelihood: Likelihood,
    with_acai: bool,
    part: Any,
) -> None:
    t = trainer(dataset, pair, [part.load()(**SMALL.get(part.name, {})), *[ACAI()] * with_acai], likelihood)
    assert t.model.latent_shape == latent_shape
    before = {name: [p.detach().clone() for p in own] for name, own in t.objective.players.items()}
    for _ in range(3):
        losses = t.step()
        assert all(loss.dim() == 0 and loss.isfinite() for loss in losses.values())
    for name, own in t.objective.players.items():
        assert own
        for old, new in zip(before[name], own, strict=True):
            assert new.isfinite().all()
            assert not torch.equal(old, new)


@every_data
@pytest.mark.parametrize("path", ["lerp", "slerp"])
def test_evaluators(dataset: Dataset, pair: tuple[Encoder, Decoder], latent_shape: tuple[int, ...], path: str) -> None:
    t = trainer(dataset, pair, [ACAI()], MSE())
    model, x = t.model, dataset.test().data
    with t.trained.evaluating():
        found = model.interpolate(x[:4], x[4:8], steps=5, path=path)
        assert found.shape == (4, 5, *dataset.shape)
        for end, of in ((0, x[:4]), (4, x[4:8])):
            torch.testing.assert_close(found[:, end], model.reconstruct(of))
        if path == "lerp":
            half = (model.encode(x[:4]) + model.encode(x[4:8])) / 2
            assert half.shape == (4, *latent_shape)
            torch.testing.assert_close(found[:, 2], model.decode(half))
        scores = Interpolation(pairs=4, steps=5, path=path).evaluate(t.trained)
        assert scores.arrays["paths"].shape == (4, 5, *dataset.shape)
        assert np.isfinite(list(scores.scores.values())).all()
        mse = Reconstruction().evaluate(t.trained).scores["mse"]
        assert mse == pytest.approx(np.mean((model.reconstruct(x) - x).numpy() ** 2), rel=1e-5)
        assert 0 <= ProbeAccuracy().evaluate(t.trained).scores["accuracy"] <= 100
