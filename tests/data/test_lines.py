from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acaikit.data.lines import Lines, render
from acaikit.errors import UserError
from acaikit.rng import generator

SIZES = [(16, 16), (32, 32), (8, 12), (12, 8), (9, 7), (4, 4)]
EIGHTHS = [k * math.pi / 4 for k in range(-9, 18)]

angles = st.one_of(
    st.floats(-20, 20),
    st.builds(lambda eighth, offset: eighth + offset, st.sampled_from(EIGHTHS), st.floats(-1e-3, 1e-3)),
)


def by_the_pixel(angle: float, h: int, w: int) -> np.ndarray:
    """The text of the method's section 3, one pixel after another."""
    x0, y0 = h / 2, w / 2
    x1, y1 = x0 + (x0 - 1) * math.cos(-angle), y0 + (y0 - 1) * math.sin(-angle)
    swapped = abs(y1 - y0) < abs(x1 - x0)
    if swapped:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if y1 < y0:
        x0, y0, x1, y1 = x1, y1, x0, y0
    x0, x1 = x0 - 1, x1 - 1
    ds = (x1 - x0) / (y1 - y0) if y1 != y0 else 0.0
    image = np.full((h, w), -1.0)
    for r in range(int(y0), math.ceil(y1)):
        xs = x0 + (r - y0 - 0.5) * ds
        weight = math.ceil(y0) - y0 if r < math.ceil(y0) else 1.0
        for p in range(max(h, w)):
            coverage = max(0.0, min(xs + 2, p + 1) - max(xs, p))
            row, column = (p, r) if swapped else (r, p)
            if row < h and column < w:
                image[row, column] = min(max(2 * coverage * weight - 1, -1), 1)
    return image


def error(angle: float, h: int, w: int) -> float:
    drawn = render([angle], h, w)[0, 0].numpy()
    # A picture jumps where |dx| = |dy| and where the last row appears: there, rounding may choose either side.
    sides = (angle, angle - 1e-9, angle + 1e-9)
    return min(float(np.abs(drawn - by_the_pixel(side, h, w)).max()) for side in sides)


@given(angles, st.sampled_from(SIZES))
@settings(deadline=None, max_examples=150)
@example(0.0, (32, 32))
@example(-1e-12, (32, 32))
@example(2 * math.pi - 1e-12, (16, 16))
def test_render_is_the_method_pixel_by_pixel(angle: float, size: tuple[int, int]) -> None:
    assert error(angle, *size) < 1e-6


@pytest.mark.parametrize("size", SIZES)
def test_render_at_eighths_of_a_turn(size: tuple[int, int]) -> None:
    assert max(error(angle, *size) for angle in EIGHTHS) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_angle_of_a_batch_gets_its_own_picture(dtype: torch.dtype) -> None:
    many = torch.linspace(-3, 9, 1100, dtype=dtype)
    images = render(many, 8, 8)
    assert images.shape == (1100, 1, 8, 8)
    assert images.dtype == torch.float32
    assert torch.equal(images, torch.cat([render([float(angle)], 8, 8) for angle in many]))
    assert torch.equal(images, render(many.numpy(), 8, 8))


def test_nothing_to_draw() -> None:
    assert render(torch.empty(0), 8, 12).shape == (0, 1, 8, 12)
    assert torch.equal(render([1.0], 2, 2), torch.full((1, 1, 2, 2), -1.0))


def test_the_label_is_the_tenth_of_the_circle() -> None:
    """floor(10 L / (2 pi)), also at either end."""
    lines = Lines(8, 8)
    angles = np.append(np.random.default_rng(0).uniform(0, 2 * math.pi, 1000), [0.0, math.nextafter(2 * math.pi, 0)])
    assert lines.label(torch.from_numpy(angles)).tolist() == [
        min(math.floor(10 * a / (2 * math.pi)), 9) for a in angles
    ]


def test_the_test_split_is_fixed() -> None:
    lines = Lines(16, 16, test_size=300)
    # The first numbers of numpy.random.default_rng(0).
    expected = [0.6369616873214543, 0.2697867137638703, 0.0409735239]
    np.testing.assert_allclose(lines.test_factors[:3] / (2 * math.pi), expected, rtol=1e-9)
    assert torch.equal(lines.test().data, render(lines.test_factors, 16, 16))
    assert len(Lines().test_factors) == 5000


def test_the_stream_is_a_turn_times_the_generators_numbers() -> None:
    x, y = Lines(8, 8).train(50, generator(0, "data")).next()
    angles = 2 * math.pi * torch.rand(50, generator=generator(0, "data"), dtype=torch.float64)
    assert torch.equal(x, render(angles, 8, 8))
    assert torch.equal(y, (10 * angles / (2 * math.pi)).long())


@pytest.mark.parametrize("sizes", [(3, 32, 10), (32, 3, 10), (32, 32, 1)])
def test_sizes_that_are_too_small(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match="at least"):
        Lines(*sizes)


def test_lines_are_drawn_in_squares() -> None:
    with pytest.raises(UserError, match=r"Lines\.height and Lines\.width must be equal.*, not 16, 32"):
        Lines(16, 32)
