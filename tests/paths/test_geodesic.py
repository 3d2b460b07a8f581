from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acaikit.likelihoods import MSE
from acaikit.model import Autoencoder
from acaikit.nets import ConvDecoder, ConvEncoder
from acaikit.paths import Landscape, described, lerp
from acaikit.paths.geodesic import Geodesic


def decoded(z: Tensor, decode: object) -> Tensor:
    return decode(z.flatten(0, 1)).flatten(1).double().view(*z.shape[:2], -1)


def steps(z: Tensor, decode: object) -> Tensor:
    """Distances between neighbouring images, ``[P, N - 1]``."""
    return decoded(z, decode).diff(dim=1).norm(dim=2)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), dtype=st.sampled_from([torch.float32, torch.float64])
)
def test_a_linear_decoder_keeps_the_line_straight(seed: int, scale: float, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(seed)
    weights, a, b = (torch.randn(s, generator=draw, dtype=dtype) for s in ((5, 9), (3, 5), (3, 5)))
    t = torch.linspace(0, 1, 11)
    found = Geodesic().over(Landscape(lambda z: scale * z @ weights + 2))(a, b, t)
    torch.testing.assert_close(found, lerp(a, b, t), rtol=1e-4, atol=1e-4)


def polar(z: Tensor) -> Tensor:
    return torch.stack([z[:, 0] * z[:, 1].cos(), z[:, 0] * z[:, 1].sin()], 1)


def test_polar_coordinates_are_straight_in_the_plane() -> None:
    a = torch.tensor([[1, 0], [2, 0.5], [1, -1]], dtype=torch.float64)
    b = torch.tensor([[1, 2], [1, 2.0], [3, 0.5]], dtype=torch.float64)
    t = torch.linspace(0, 1, 16, dtype=torch.float64)
    found = Geodesic(iterations=100).over(Landscape(polar))(a, b, t)
    expected = lerp(polar(a), polar(b), t)
    np.testing.assert_allclose(decoded(found, polar), expected, atol=1e-4)
    assert (decoded(lerp(a, b, t), polar) - expected).abs().max() > 0.1


def sphere(z: Tensor) -> Tensor:
    latitude, longitude = z.T
    return torch.stack([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()], 1)


def test_great_circles_on_the_sphere() -> None:
    a = torch.tensor([[0.8, 0.0], [-0.3, 0.2], [0, 0]], dtype=torch.float64)
    b = torch.tensor([[0.8, 2.0], [1.2, 1.5], [0, 2]], dtype=torch.float64)
    points = 33
    found = Geodesic(points, iterations=200).over(Landscape(sphere))(a, b, torch.linspace(0, 1, points))
    angle = (sphere(a) * sphere(b)).sum(1).acos()
    # A polygon of equal chords of the great circle.
    chord = 2 * (angle / (points - 1) / 2).sin()
    torch.testing.assert_close(steps(found, sphere), chord.unsqueeze(1).expand(-1, points - 1), rtol=1e-4, atol=0)
    straight = steps(lerp(a, b, torch.linspace(0, 1, points)), sphere).sum(1)
    assert straight[0] > 1.05 * angle[0] and straight[2] == pytest.approx(angle[2].item(), rel=1e-3)


@pytest.fixture(scope="module")
def conv() -> Autoencoder:
    model = Autoencoder(ConvEncoder(depth=4, scales=2, latent=2), ConvDecoder(depth=4, scales=2), MSE(), [], (1, 8, 8))
    return model.eval()


def ends(seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(6, 2, 2, 2, generator=draw), 3 * torch.randn(6, 2, 2, 2, generator=draw)


def test_shorter_and_more_even_than_the_straight_line(conv: Autoencoder) -> None:
    a, b = ends(0)
    t = torch.linspace(0, 1, 16)
    with torch.no_grad():
        straight, found = (
            steps(path(a, b, t), conv.decode) for path in (lerp, Geodesic(iterations=300).over(Landscape(conv.decode)))
        )
    assert (found.square().sum(1) < 0.95 * straight.square().sum(1)).all()
    assert (found.sum(1) < straight.sum(1)).all()
    uneven, before = found.amax(1) / found.mean(1), straight.amax(1) / straight.mean(1)
    assert (uneven < before).all() and uneven.mean() < 1.15 < before.mean()


def test_energy_falls_with_iterations_and_never_rises(conv: Autoencoder) -> None:
    a, b = ends(1)
    t = torch.linspace(0, 1, 16)
    with torch.no_grad():
        energies = [steps(lerp(a, b, t), conv.decode).square().sum(1)] + [
            steps(Geodesic(iterations=n).over(Landscape(conv.decode))(a, b, t), conv.decode).square().sum(1)
            for n in (1, 3, 10, 30)
        ]
    for before, after in pairwise(energies):
        assert (after <= before * (1 + 1e-6)).all()
    assert (energies[-1] < 0.97 * energies[0]).all()


def test_the_model_is_left_as_it_was(conv: Autoencoder) -> None:
    before = {name: value.clone() for name, value in conv.state_dict().items()}
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        found = conv.interpolate(x, x.flip(0), steps=4, path=Geodesic(points=6, iterations=3))
    assert found.shape == (2, 4, 1, 8, 8)
    assert all(p.grad is None and p.requires_grad for p in conv.parameters())
    assert all(torch.equal(value, before[name]) for name, value in conv.state_dict().items())


@pytest.mark.parametrize("decode", [lambda z: z * 0, lambda z: z.sign()])
def test_nothing_to_gain(decode: object) -> None:
    """A decoder that is constant, or steps: its gradient is zero."""
    a, b, t = -torch.ones(1, 3), torch.ones(1, 3), torch.linspace(0, 1, 5)
    assert torch.equal(Geodesic().over(Landscape(decode))(a, b, t), lerp(a, b, t))


def test_from_a_latent_to_itself() -> None:
    a = torch.tensor([[1.0, 0.5], [math.pi, 2]])
    torch.testing.assert_close(
        Geodesic().over(Landscape(polar))(a, a, torch.linspace(0, 1, 4)), lerp(a, a, torch.zeros(4))
    )


def test_parameters_are_stored() -> None:
    assert described(Geodesic(points=8)) == {"path": "Geodesic", "version": 1, "points": 8, "iterations": 25}
