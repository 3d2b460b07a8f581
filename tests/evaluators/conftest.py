from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from acaikit.data.lines import Lines
from acaikit.evaluators.base import Trained
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder


@pytest.fixture
def tiny() -> Callable[..., Trained]:
    """Make an untrained model of 8x8 lines; the arguments are the experiment's."""

    def make(test_size: int = 40, **settings: object) -> Trained:
        experiment = Experiment(
            dataset=Lines(8, 8, test_size=test_size),
            encoder=ConvEncoder(depth=4, scales=2, latent=2),
            decoder=ConvDecoder(depth=4, scales=2),
            **settings,
        )
        trained = Trained(*experiment.build(), experiment.dataset)
        trained.model.requires_grad_(False)
        if trained.probe is not None:
            trained.probe.requires_grad_(False)
        return trained

    return make


@pytest.fixture(autouse=True)
def _evaluators_are_called_without_gradients() -> None:
    with torch.no_grad():
        yield
