from __future__ import annotations

import pytest
import torch
from torch import nn

from acaikit.errors import UserError
from acaikit.nets import ConvDecoder, ConvEncoder, Linear, MLPDecoder, MLPEncoder, count_parameters
from acaikit.nets.conv import Conv1d, Conv2d
from acaikit.rng import initialise


@pytest.mark.parametrize("network", [ConvEncoder, ConvDecoder, MLPEncoder, MLPDecoder])
def test_a_network_that_was_not_built_is_not_the_identity(network: type[nn.Module]) -> None:
    with pytest.raises(UserError, match=rf"without layers was called: {network.__name__}\.build\(.*\) makes them$"):
        network()(torch.zeros(1, 1, 16, 16))
    assert not network().state_dict()


def test_frozen_parameters_are_not_counted() -> None:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 6


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        pytest.param(Conv2d(16, 256, 3), 144, id="3x3"),
        pytest.param(Conv2d(144, 256, 1), 144, id="1x1"),
        pytest.param(Conv1d(48, 256, 3), 144, id="3"),
        pytest.param(Conv1d(144, 256, 1), 144, id="1"),
        pytest.param(Linear(200, 200), 200, id="dense"),
    ],
)
def test_initial_weights(layer: Conv1d | Conv2d | Linear, fan_in: int) -> None:
    with torch.no_grad():
        layer.bias.fill_(1)
    initialise(layer, 0, "layer")
    # In units of the expected standard deviation they are standard normal.
    normal = layer.weight.detach().double().flatten() * (fan_in * 1.04) ** 0.5
    error = 4 / len(normal) ** 0.5
    assert abs(normal.mean()) < error
    assert abs(normal.square().mean() - 1) < 1.5 * error
    assert abs((normal.abs() < 1).double().mean() - 0.6827) < error
    assert not layer.bias.any()


@pytest.mark.parametrize("layer", [Conv2d(2, 3, 3, bias=False), Conv1d(2, 3, 3, bias=False), Linear(2, 3, bias=False)])
def test_layers_without_a_bias(layer: nn.Module) -> None:
    initialise(layer, 0, "layer")
    assert count_parameters(layer) == layer.weight.numel()
