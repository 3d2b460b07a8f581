from __future__ import annotations

import numpy as np
import pytest

from acaikit.report.style import STYLE, levels
from acaikit.report.tiles import tiles


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1.2, 1.2, shape).astype(np.float32)


@pytest.mark.parametrize(("width", "scale"), [(0, 7), (56, 7), (63, 8), (1000, 28)])
def test_an_image_is_enlarged_by_an_integer(width: float, scale: int) -> None:
    x = noise(2, 3, 3, 6, 8)
    made = tiles("x", x, "P, N", width=width)
    assert made.pixels.shape == (6, 6 * scale, 8 * scale, 3)
    assert made.cell == (6 * scale + 2 * STYLE["pad"], 8 * scale + 2 * STYLE["pad"])
    assert (made.note, made.curves) == ("", [[]] * 6)
    expected = np.rint((np.clip(x, -1, 1) + 1) * 127.5).reshape(6, 3, 6, 8).transpose(0, 2, 3, 1)
    for i in range(scale):
        np.testing.assert_array_equal(made.pixels[:, i::scale, scale - 1 - i :: scale], expected)


@pytest.mark.parametrize(("width", "wide"), [(0, 98), (62.86, 98), (112, 184), (1000, 300)])
@pytest.mark.parametrize("shape", [(30,), (1, 30), (2, 30)])
def test_a_plot_shows_each_value_at_its_place(shape: tuple[int, ...], width: float, wide: int) -> None:
    x = noise(2, 2, *shape)
    made = tiles("x", x, "P, N", width=width)
    high = wide // 4 * 2 + 1
    assert made.pixels.shape == (4, high, wide, 3)
    assert (made.pixels[:, high // 2] == levels("edge")).all()
    assert (np.delete(made.pixels, high // 2, axis=1) == 255).all()
    for curves, example in zip(made.curves, x.reshape(4, -1, 30), strict=True):
        for curve, values in zip(curves, example, strict=True):
            for n, (across, up) in enumerate(curve.get_xydata()):
                assert across == pytest.approx(-wide / 2 + wide / 30 * (n + 0.5))
                assert up == pytest.approx(max(-1, min(1, values[n])) * (high / 2 - 6), abs=1e-4)


def test_what_stands_behind_is_drawn_first_and_pale() -> None:
    x, behind = noise(3, 2, 30), -noise(3, 2, 30)
    made, below = tiles("x", x, behind=behind), tiles("x", behind)
    for curves, lower in zip(made.curves, below.curves, strict=True):
        assert len(curves) == 4
        for curve, alone, over in zip(curves[:2], lower, curves[2:], strict=True):
            np.testing.assert_array_equal(curve.get_xydata(), alone.get_xydata())
            assert curve.get_linewidth() > 2 * over.get_linewidth()
            assert over.get_color() == alone.get_color()
            np.testing.assert_allclose(1 - np.array(curve.get_color()), 0.3 * (1 - np.array(alone.get_color())))


@pytest.mark.parametrize(("length", "dots"), [(1, True), (9, True), (10, False), (64, False)])
def test_values_far_apart_are_dots(length: int, dots: bool) -> None:
    ((curve,),) = tiles("x", noise(1, length)).curves
    assert (curve.get_marker() == "o") == dots


@pytest.mark.parametrize(
    ("shape", "end"),
    [
        ((1,), "Across: 1 position."),
        ((1, 2000), "Across: 2,000 positions."),
        ((3, 5), "Across: 5 positions. 3 channels: black, vermilion, blue."),
        ((9, 5), "9 channels: black, vermilion, blue, green, pink, orange, sky blue, and again."),
    ],
)
def test_a_note_says_how_to_read_a_plot(shape: tuple[int, ...], end: str) -> None:
    note = tiles("x", noise(2, *shape)).note
    assert note.startswith("Up: values from −1 to 1, with a hairline at 0. Across: ")
    assert note.endswith(end)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2, 8, 8), (4, 3, 1, 1, 8, 8), (4, 0, 8), (4, 3, 1, 0, 8)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"paths must be images \[P, N, C, H, W\] .* or vectors \[P, N, D\]") as error:
        tiles("paths", np.zeros(shape, np.float32), "P, N")
    assert str(error.value).endswith(f"got shape {shape}")
