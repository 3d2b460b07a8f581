from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from acaikit.data.lines import TURN, Lines, label, render
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
    tenths = torch.arange(10, dtype=torch.float64)
    for within in (0.01, 0.5, 0.99):
        assert torch.equal(label((tenths + within) * TURN / 10), torch.arange(10))
    ends = torch.tensor([0.0, math.nextafter(TURN, 0)], dtype=torch.float64)
    assert label(ends).tolist() == [0, 9]


def test_the_test_split_is_fixed() -> None:
    lines = Lines(16, 16, test_size=300)
    angles = lines.test_angles
    # The first numbers of numpy.random.default_rng(0).
    np.testing.assert_allclose(angles[:3] / TURN, [0.6369616873214543, 0.2697867137638703, 0.0409735239], rtol=1e-9)
    split = lines.test()
    assert torch.equal(split.data, render(angles, 16, 16))
    assert torch.equal(split.labels, label(angles))
    assert torch.equal(Lines(16, 16, test_size=300).test().data, split.data)
    assert len(Lines().test_angles) == 5000


class Watched(Lines):
    """Remembers which angles it was asked to draw."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.seen: list[torch.Tensor] = []

    def render(self, angles: torch.Tensor) -> torch.Tensor:
        self.seen.append(angles)
        return super().render(angles)


def test_the_stream_draws_uniform_angles_and_labels_them() -> None:
    lines = Watched()
    stream = lines.train(500, generator(0, "data"))
    labels = []
    for _ in range(20):
        x, y = stream.next()
        assert x.shape == (500, 1, 4, 4)
        assert torch.equal(x, render(lines.seen[-1], 4, 4))
        assert torch.equal(y, label(lines.seen[-1]))
        labels.append(y)
    # The seed is fixed: these are no rolls of the dice.
    assert kstest(torch.cat(lines.seen) / TURN, "uniform").pvalue > 0.01
    assert chisquare(torch.cat(labels).bincount(minlength=10)).pvalue > 0.01


def test_the_stream_goes_on_from_a_saved_position() -> None:
    noise = generator(0, "data")
    stream = Lines(8, 8).train(6, noise)
    stream.next()
    saved, at = stream.state_dict(), noise.get_state()
    expected = [stream.next() for _ in range(3)]
    noise = generator(1, "data")
    resumed = Lines(8, 8).train(6, noise)
    resumed.next()
    noise.set_state(at)
    resumed.load_state_dict(saved)
    for x, y in expected:
        again_x, again_y = resumed.next()
        assert torch.equal(x, again_x)
        assert torch.equal(y, again_y)


@pytest.mark.parametrize("sizes", [(3, 32, 10), (32, 3, 10), (32, 32, 1)])
def test_sizes_that_are_too_small(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match="at least"):
        Lines(*sizes)
