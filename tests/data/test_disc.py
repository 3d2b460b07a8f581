from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.data import Disc
from acaikit.errors import UserError

SIZES = [(16, 16, 1), (16, 16, 2.5), (9, 21, 4.5), (8, 9, 4), (32, 32, 7.3)]

sizes = pytest.mark.parametrize(("height", "width", "radius"), SIZES)


def positions(dataset: Disc, count: int) -> torch.Tensor:
    return torch.linspace(dataset.factor.low, dataset.factor.high, count, dtype=torch.float64)


def supersampled(position: float, height: int, width: int, radius: float, finer: int = 32) -> np.ndarray:
    """The share of each pixel that a true disc covers, counted over finer x finer points."""
    x, y = ((np.arange(n * finer) + 0.5) / finer for n in (width, height))
    inside = (x[None] - position) ** 2 + (y[:, None] - height / 2) ** 2 <= radius**2
    return inside.reshape(height, finer, width, finer).mean((1, 3))


@given(st.sampled_from(SIZES), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_render_is_the_formula_pixel_by_pixel(size: tuple[int, int, float], share: float) -> None:
    height, width, radius = size
    position = radius + share * (width - 2 * radius)
    drawn = Disc(height, width, radius).render(torch.tensor([position], dtype=torch.float64))
    assert drawn.shape == (1, 1, height, width)
    for row in range(height):
        for column in range(width):
            distance = math.dist((column + 0.5, row + 0.5), (position, height / 2))
            expected = 2 * min(max(radius + 0.5 - distance, 0), 1) - 1
            assert float(drawn[0, 0, row, column]) == pytest.approx(expected, abs=1e-6)


@sizes
def test_it_is_nearly_a_true_disc(height: int, width: int, radius: float) -> None:
    """Within 0.08 of the covered share of any pixel; the distance to the edge stands for it."""
    dataset = Disc(height, width, radius)
    values = positions(dataset, 9)
    for drawn, position in zip((dataset.render(values)[:, 0].numpy() + 1) / 2, values.tolist(), strict=True):
        np.testing.assert_allclose(drawn, supersampled(position, height, width, radius), atol=0.08)


@sizes
def test_it_is_wholly_inside_from_one_side_to_the_other(height: int, width: int, radius: float) -> None:
    dataset = Disc(height, width, radius)
    wider = Disc(height + 4, width + 4, radius)
    assert (dataset.factor.low, dataset.factor.high) == (radius, width - radius)
    values = positions(dataset, 50)
    framed = wider.render(values + 2)
    assert torch.allclose(framed[:, :, 2:-2, 2:-2], dataset.render(values), atol=1e-6)
    framed[:, :, 2:-2, 2:-2] = -1
    assert torch.allclose(framed, torch.tensor(-1.0), atol=1e-6)


@sizes
def test_the_picture_in_a_mirror_is_that_of_the_mirrored_position(height: int, width: int, radius: float) -> None:
    dataset = Disc(height, width, radius)
    values = positions(dataset, 20)
    torch.testing.assert_close(dataset.render(width - values), dataset.render(values).flip(3), atol=1e-6, rtol=0)


@sizes
def test_the_nearest_disc_tells_the_position(height: int, width: int, radius: float) -> None:
    """By cosine distance, which is what the benchmark looks at."""
    dataset = Disc(height, width, radius)
    values, grid = dataset.test_factors[:200], positions(dataset, 1001)
    drawn, references = (torch.nn.functional.normalize(dataset.render(v).flatten(1).double()) for v in (values, grid))
    found = grid[(drawn @ references.T).argmax(1)]
    assert (found - values).abs().max() < 0.6 * (width - 2 * radius) / 1000


@pytest.mark.parametrize(
    ("height", "width", "radius", "said"),
    [
        (3, 32, 1, "Disc.height must be a whole number of at least 4, not 3"),
        (32, 4.5, 1, "Disc.width must be a whole number of at least 4, not 4.5"),
        (32, 32, 0.5, "Disc.radius must be a number of at least 1, not 0.5"),
        (32, 32, math.nan, "Disc.radius must be a number of at least 1, not nan"),
        (32, 32, "4", "Disc.radius must be a number of at least 1, not '4'"),
        (8, 32, 4.25, "Disc.radius = 4.25 needs a height of at least 8.5 and a width above it"),
        (32, 8, 4, "Disc.radius = 4 needs a height of at least 8 and a width above it"),
    ],
)
def test_values_that_are_refused(height: int, width: int, radius: float, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Disc(height, width, radius)
    assert said in str(caught.value)
