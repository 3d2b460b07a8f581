from __future__ import annotations

import numpy as np
import pytest
import torch

from acaikit.nets import count_parameters
from acaikit.probe import Probe


@pytest.mark.parametrize("latent_shape", [(2, 3, 4), (24,)])
def test_probe_is_one_linear_layer(latent_shape: tuple[int, ...]) -> None:
    probe = Probe(latent_shape, 5)
    code = torch.randn(7, *latent_shape)
    weight, bias = (p.detach().double().numpy() for p in probe.parameters())
    expected = code.double().numpy().reshape(7, 24) @ weight.T + bias
    np.testing.assert_allclose(probe(code).detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    assert count_parameters(probe) == (24 + 1) * 5


def test_probe_weights_depend_on_the_seed_alone() -> None:
    weights = []
    for global_seed, seed in ((1, 0), (2, 0), (1, 3)):
        torch.manual_seed(global_seed)
        weights.append(Probe((2, 2, 2), 10, seed).layer.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
