from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from acaikit.evaluators.base import Trained
from acaikit.evaluators.probe import ProbeAccuracy
from acaikit.likelihoods import Bernoulli
from acaikit.regularizers import KL, VQEMA, Denoising, LatentDropout


def clean_code(trained: Trained, x: object) -> np.ndarray:
    """The code that the method's section 4 names for each model, written out."""
    h = trained.model.encoder(x)
    for regularizer in trained.model.regularizers.values():
        if isinstance(regularizer, VQEMA):
            u = regularizer.to_vectors(h.flatten(1)).view(len(h) * regularizer.vectors, -1)
            nearest = (u[:, None] - regularizer.codebook[None]).square().sum(2).argmin(1)
            h = regularizer.from_vectors(regularizer.codebook[nearest].view(len(h), -1))
    return h.flatten(1).numpy()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"regularizers": [LatentDropout()]},
        {"regularizers": [Denoising()]},
        {"regularizers": [KL()], "likelihood": Bernoulli()},
        {"regularizers": [VQEMA(entries=16, vectors=2, hidden=8)]},
    ],
    ids=["baseline", "dropout", "denoising", "vae", "vqvae"],
)
def test_accuracy_over_the_whole_test_set(tiny: Callable[..., Trained], settings: dict[str, object]) -> None:
    trained = tiny(1100, **settings)  # neither of the last batches is full
    split = trained.dataset.test()
    layer = trained.probe.layer
    logits = clean_code(trained, split.data) @ layer.weight.numpy().T + layer.bias.numpy()
    right = np.mean(logits.argmax(1) == split.labels.numpy())
    found = ProbeAccuracy().evaluate(trained).scores
    assert list(found) == ["accuracy"]
    assert 0 < found["accuracy"] < 100
    assert found["accuracy"] == pytest.approx(100 * right, abs=0.1)  # one tie in 1,100


def test_it_needs_a_probe(tiny: Callable[..., Trained]) -> None:
    assert ProbeAccuracy.key == "probe"
    assert ProbeAccuracy().fits(tiny())
    assert not ProbeAccuracy().fits(tiny(probe=False))


def test_a_model_that_has_diverged_has_no_accuracy(tiny: Callable[..., Trained]) -> None:
    trained = tiny()
    trained.probe.layer.weight[0, 0] = torch.nan
    assert math.isnan(ProbeAccuracy().evaluate(trained).scores["accuracy"])
