from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from acaikit.report import figures
from acaikit.report.figures import shorten
from acaikit.report.style import STYLE

PAD = STYLE["pad"]


def interpolation(paths: np.ndarray, file: Path, **words: Any) -> None:
    figures.interpolation(paths, **words).save(file)


def reconstruction(originals: np.ndarray, reconstructions: np.ndarray, file: Path, **words: Any) -> None:
    figures.reconstruction(originals, reconstructions, **words).save(file)


def samples(examples: np.ndarray, labels: np.ndarray | None, names: Sequence[str], file: Path, **words: Any) -> None:
    figures.samples(examples, labels, names, **words).save(file)


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def pixels(file: Path) -> np.ndarray:
    return np.rint(imread(file)[..., :3] * 255).astype(np.uint8)


def colour(name: str) -> np.ndarray:
    return np.rint(np.multiply(to_rgb(STYLE[name]), 255)).astype(np.uint8)


def enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    levels = np.rint((np.clip(image, -1, 1) + 1) * 127.5).astype(np.uint8)
    levels = np.broadcast_to(levels, (3, *levels.shape[1:])).transpose(1, 2, 0)
    return np.kron(levels, np.ones((scale, scale, 1), np.uint8))


def corners(page: np.ndarray, tile: np.ndarray) -> list[tuple[int, int]]:
    """Every place where the page holds exactly these pixels."""
    seen = np.lib.stride_tricks.sliding_window_view(page, (*tile.shape[:2], 3))[:, :, 0]
    maybe = np.argwhere((seen[:, :, 0, 0] == tile[0, 0]).all(-1) & (seen[:, :, -1, -1] == tile[-1, -1]).all(-1))
    return [(int(y), int(x)) for y, x in maybe if np.array_equal(seen[y, x], tile)]


@pytest.mark.parametrize(
    ("channels", "height", "width", "scale"),
    [(1, 16, 16, 4), (1, 28, 28, 2), (3, 32, 32, 2), (1, 12, 20, 3), (3, 64, 64, 1)],
)
def test_interpolation_shows_each_pixel_as_an_exact_square(
    tmp_path: Path, channels: int, height: int, width: int, scale: int
) -> None:
    paths = images(3, 5, channels, height, width)
    interpolation(paths, tmp_path / "paths.png", title="Interpolation", labels=["a", "b", "c"])
    page = pixels(tmp_path / "paths.png")
    found = np.array([[corners(page, enlarged(tile, scale)) for tile in row] for row in paths])
    assert found.shape == (3, 5, 1, 2)  # each tile is there, once
    steps = found[:, :, 0] - found[0, 0, 0]
    np.testing.assert_array_equal(steps[..., 0], np.arange(3)[:, None] * (height * scale + 2 * PAD) + np.zeros(5, int))
    np.testing.assert_array_equal(steps[..., 1], np.arange(5)[None] * (width * scale + 2 * PAD) + np.zeros((3, 1), int))


def test_only_the_two_ends_are_framed(tmp_path: Path) -> None:
    paths = images(2, 5, 1, 16, 16)
    interpolation(paths, tmp_path / "paths.png", title="Interpolation")
    page = pixels(tmp_path / "paths.png")
    for row in paths:
        for step, tile in enumerate(row):
            ((y, x),) = corners(page, enlarged(tile, 4))
            framed = step in (0, 4)
            for line in range(1, PAD + 1):
                ring = page[y - line : y + 64 + line, x - line : x + 64 + line]
                edge = np.concatenate([ring[0], ring[-1], ring[:, 0], ring[:, -1]])
                thick = STYLE["frame"] if framed else 1
                expected = colour("accent" if framed else "edge") if line <= thick else (255, 255, 255)
                assert (edge == expected).all()


def test_values_outside_the_range_are_clipped(tmp_path: Path) -> None:
    paths = 3 * images(2, 3, 1, 16, 16)
    paths[0, 0, 0, 0] = [np.inf, -np.inf] * 8
    interpolation(paths, tmp_path / "wide.png", title="t")
    interpolation(np.clip(paths, -1, 1), tmp_path / "clipped.png", title="t")
    assert (tmp_path / "wide.png").read_bytes() == (tmp_path / "clipped.png").read_bytes()


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (16, 16), (17, 9), (20, 10), (45, 15)])
def test_reconstructions_stand_below_their_originals(tmp_path: Path, count: int, columns: int) -> None:
    originals, outputs = images(count, 1, 28, 28), images(count, 1, 28, 28, seed=1)
    reconstruction(originals, outputs, tmp_path / "pairs.png", title="Reconstruction")
    page = pixels(tmp_path / "pairs.png")
    upper = np.array([corners(page, enlarged(image, 2)) for image in originals])[:, 0]
    lower = np.array([corners(page, enlarged(image, 2)) for image in outputs])[:, 0]
    np.testing.assert_array_equal(lower - upper, [[56 + 2 * PAD, 0]] * count)
    assert len(np.unique(upper[:, 1])) == columns
    assert len(np.unique(upper[:, 0])) == -(-count // columns)


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        interpolation(images(2, 4, 3, 16, 16), tmp_path / name, title="Interpolation", labels=["one", "two"])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in (tmp_path / "a.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_no_text_is_cut_off(tmp_path: Path) -> None:
    title = "Interpolation of $a_long title that is much wider than its two tiles$, run 2024-01-01"
    interpolation(images(1, 2, 1, 16, 16), tmp_path / "paths.png", title=title, labels=["a rather long name of a pair"])
    page = pixels(tmp_path / "paths.png")
    border = np.ones(page.shape[:2], bool)
    margin = STYLE["margin"] - 1
    border[margin:-margin, margin:-margin] = False
    assert (page[border] == 255).all()


@pytest.mark.parametrize(
    "shape",
    [
        (5, 1, 16, 16),
        (2, 5, 2, 16, 16),
        (2, 5, 16, 16, 1),
        (2, 1, 1, 16, 16),
        (0, 5, 1, 16, 16),
        (2, 5, 1, 0, 16),
        (2, 5),
        (2, 5, 0),
        (2, 1, 8),
    ],
)
def test_interpolation_refuses_other_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="paths must"):
        interpolation(np.zeros(shape, np.float32), tmp_path / "paths.png", title="t")
    assert not list(tmp_path.iterdir())


def test_interpolation_refuses_labels_that_do_not_match_the_pairs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels"):
        interpolation(images(2, 3, 1, 16, 16), tmp_path / "paths.png", title="t", labels=["only one"])


@pytest.mark.parametrize("shape", [(2, 3, 1, 4, 4), (2, 3, 2, 4), (2, 3, 4)])
def test_interpolation_and_reconstruction_refuse_nan_and_integers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    good = np.zeros(shape, np.float32)
    for bad in (np.full(shape, np.nan, np.float32), np.zeros(shape, np.uint8)):
        with pytest.raises(ValueError, match="floats"):
            interpolation(bad, tmp_path / "paths.png", title="t")
        for originals, reconstructions in ((good, bad), (bad, good)):
            with pytest.raises(ValueError, match="floats"):
                reconstruction(originals[0], reconstructions[0], tmp_path / "pairs.png", title="t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((4, 1, 16, 16), (3, 1, 16, 16)),
        ((4, 2, 8, 8),) * 2,
        ((4, 1, 1, 8, 8),) * 2,
        ((4,),) * 2,
        ((0, 8),) * 2,
        ((4, 8), (4, 1, 8)),
    ],
)
def test_reconstruction_refuses_other_shapes(tmp_path: Path, first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        reconstruction(np.zeros(first, np.float32), np.zeros(second, np.float32), tmp_path / "pairs.png", title="t")


def where(page: np.ndarray, shown: np.ndarray, scale: int) -> np.ndarray:
    """The one place (row, column) of each image on the page."""
    found = [corners(page, enlarged(image, scale)) for image in shown]
    assert [len(places) for places in found] == [1] * len(shown)
    return np.array(found)[:, 0]


@pytest.mark.parametrize(("channels", "size", "scale"), [(1, 8, 16), (3, 32, 4), (1, 64, 2), (3, 200, 1)])
def test_samples_stand_in_the_row_of_their_class(tmp_path: Path, channels: int, size: int, scale: int) -> None:
    shown, labels = images(9, channels, size, size), np.array([2, 0, 2, 1, 0, 2, 2, 4, 2])
    samples(shown, labels, ("a", "b", "c", "d"), tmp_path / "s.png", title="Samples")
    places = where(pixels(tmp_path / "s.png"), shown, scale)
    rows = [places[labels == label] for label in (0, 1, 2, 4)]
    assert [len(set(row[:, 0])) for row in rows] == [1, 1, 1, 1]
    np.testing.assert_array_equal(np.diff([row[0, 0] for row in rows]), [size * scale + 2 * PAD] * 3)
    for row in rows:  # in their order, without gaps
        np.testing.assert_array_equal(row[:, 1], places[:, 1].min() + np.arange(len(row)) * (size * scale + 2 * PAD))


@pytest.mark.parametrize(
    ("count", "size", "columns"),
    [(1, 8, 1), (2, 8, 2), (9, 8, 9), (17, 8, 9), (64, 32, 16), (100, 16, 15), (7, 400, 2)],
)
def test_samples_without_labels_fill_rows_of_sixteen(tmp_path: Path, count: int, size: int, columns: int) -> None:
    shown = images(count, 1, size, size)
    samples(shown, None, (), tmp_path / "s.png", title="Samples")
    scale = max(1, round(min(224, max(56, 620 / count)) / size))
    places = where(pixels(tmp_path / "s.png"), shown, scale)
    assert len(set(places[:, 1])) == columns
    assert [tuple(place) for place in places] == sorted(tuple(place) for place in places)


def test_many_samples_of_a_class_are_wrapped_and_classes_set_apart(tmp_path: Path) -> None:
    shown, labels = images(60, 1, 16, 16), np.arange(60) % 2
    samples(shown, labels, ("no", "yes"), tmp_path / "s.png", title="Samples")
    tops = where(pixels(tmp_path / "s.png"), shown, 4)[:, 0]
    first, second = (np.unique(tops[labels == label]) for label in (0, 1))
    step = 64 + 2 * PAD
    np.testing.assert_array_equal(np.diff(first), [step])
    np.testing.assert_array_equal(np.diff(second), [step])
    assert second[0] - first[-1] == step + 16


def test_two_classes_of_one_name_stay_apart(tmp_path: Path) -> None:
    shown = images(2, 1, 8, 8)
    samples(shown, np.array([0, 1]), ("same", "same"), tmp_path / "s.png", title="Samples")
    (one, _), (two, _) = where(pixels(tmp_path / "s.png"), shown, 28)
    assert one != two


def dark(page: np.ndarray) -> np.ndarray:
    return (page < 128).all(-1)


@pytest.mark.parametrize("shape", [(40,), (1, 40)])
def test_a_sequence_or_vector_is_drawn_as_its_curve(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for name, value in (("low", -1.0), ("zero", 0.0), ("high", 1.0)):
        samples(np.full((1, *shape), value, np.float32), None, (), tmp_path / f"{name}.png", title=" ")
    low, zero, high = (dark(pixels(tmp_path / f"{name}.png")) for name in ("low", "zero", "high"))
    assert low.shape == zero.shape == high.shape
    heights = [np.flatnonzero(page.sum(1) > 200).mean() for page in (high, zero, low)]
    inside = 151 / 2 - 6  # half of the tile's height, less its margin
    np.testing.assert_allclose(np.diff(heights), [inside, inside], atol=1.5)


def test_a_curve_follows_its_values(tmp_path: Path) -> None:
    ramp = np.linspace(-1, 1, 200, dtype=np.float32)
    samples(ramp[None], None, (), tmp_path / "s.png", title=" ")
    page = pixels(tmp_path / "s.png")
    y, x = np.nonzero(dark(page[: -STYLE["margin"] - 60]))  # without the note below
    slope, _ = np.polyfit(x, y, 1)
    assert slope == pytest.approx(-2 * (151 / 2 - 6) / 300, rel=0.02)
    assert np.corrcoef(x, y)[0, 1] < -0.999


def test_channels_of_a_sequence_have_their_own_colours(tmp_path: Path) -> None:
    x = np.stack([np.full((64,), v, np.float32) for v in (-0.5, 0.0, 0.5)])[None]
    samples(x, None, (), tmp_path / "s.png", title="t")
    found = {tuple(c) for c in pixels(tmp_path / "s.png").reshape(-1, 3)}
    for name in list(STYLE["curves"].values())[:3]:
        assert tuple(np.rint(np.multiply(to_rgb(name), 255)).astype(np.uint8)) in found


def heights(page: np.ndarray, colour: tuple[int, ...], columns: slice) -> np.ndarray:
    """The middles of the level strokes of a colour within some columns of the page, from top to bottom."""
    rows = np.flatnonzero((page[:, columns] == np.array(colour)).all((1, 2)))
    return np.array([group.mean() for group in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)])


@pytest.mark.parametrize("shape", [(40,), (1, 40)])
def test_interpolation_draws_each_step_as_a_curve_in_its_tile(tmp_path: Path, shape: tuple[int, ...]) -> None:
    levels = np.array([[-0.9, 0.5, 0.25], [0.3, 1.0, -1.0]], np.float32)
    paths = np.broadcast_to(levels.reshape(2, 3, *[1] * len(shape)), (2, 3, *shape))
    interpolation(paths, tmp_path / "paths.png", title=" ")
    page = pixels(tmp_path / "paths.png")
    framed = (page == colour("accent")).all(-1)
    left = np.flatnonzero(framed.sum(0) > 60)[0] + STYLE["frame"]
    wide, high = STYLE["plot"], STYLE["plot"] // 4 * 2 + 1
    for step in range(3):
        start = left + step * (wide + 2 * PAD)
        assert framed[:, start - 1].any() == (step in (0, 2))
        top, bottom = heights(page, (26, 26, 26), slice(start + 20, start + 60))
        rise = high + 2 * PAD + (levels[0, step] - levels[1, step]) * (high / 2 - 6)
        assert bottom - top == pytest.approx(rise, abs=0.8)


def test_curves_of_a_reconstruction_are_drawn_over_their_input(tmp_path: Path) -> None:
    x = np.full((1, 60), 0.5, np.float32)
    reconstruction(x, -x, tmp_path / "apart.png", title=" ")
    reconstruction(x, x, tmp_path / "same.png", title=" ")
    apart, same = (pixels(tmp_path / f"{name}.png") for name in ("apart", "same"))
    wide = STYLE["tile"] * 7 // 2 - 2 * PAD
    high = wide // 4 * 2 + 1
    ink, pale, columns = (26, 26, 26), (186, 186, 186), slice(100, 150)
    (behind,), (front,) = heights(apart[:200], pale, columns), heights(apart[:200], ink, columns)
    assert front - behind == pytest.approx(high / 2 - 6, abs=0.8)
    (front,) = heights(same[:200], ink, columns)
    assert front == pytest.approx(behind, abs=0.8)
    stroke = same[int(behind) - 6 : int(behind) + 7, columns]
    assert 5 <= (stroke < 255).all((1, 2)).sum() <= 8  # the input looks out on both sides
    assert 1 <= (stroke < 100).all((1, 2)).sum() <= 3


@pytest.mark.parametrize("draw", [interpolation, lambda x, *a, **k: reconstruction(x[0], x[0] / 2, *a, **k)])
def test_a_vector_is_drawn_as_a_sequence_of_one_channel(tmp_path: Path, draw: Callable[..., None]) -> None:
    x = images(2, 20, 9)
    draw(x, tmp_path / "vectors.png", title="t")
    draw(x[:, :, None], tmp_path / "sequences.png", title="t")
    assert (tmp_path / "vectors.png").read_bytes() == (tmp_path / "sequences.png").read_bytes()


@pytest.mark.parametrize("count", [1, 8, 9, 32])
def test_curves_of_reconstructions_stand_in_rows_of_eight_at_most(tmp_path: Path, count: int) -> None:
    x = np.full((count, 50), 0.6, np.float32)
    reconstruction(x, -x, tmp_path / "pairs.png", title=" ")
    ink = (pixels(tmp_path / "pairs.png") == (26, 26, 26)).all(-1)
    rows = ink.sum(1)
    strokes = np.flatnonzero(rows > 100)
    lines = 1 + (np.diff(strokes) > 1).sum()
    assert lines == -(-count // 8)
    wide = STYLE["tile"] * 7 // 2 - 2 * PAD
    assert rows.max() == pytest.approx(-(-count // lines) * wide, rel=0.05)


@pytest.mark.parametrize("shape", [(3, 1, 16, 16), (3, 2, 40), (3, 1), (3, 7)])
def test_samples_cut_nothing_off_and_are_the_same_bytes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    names = ("$a$ [b] " * 9, "x", "")
    for file in ("a.png", "b.png"):
        samples(images(*shape), np.arange(3), names, tmp_path / file, title="A title that is wider than its tiles" * 2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    page = pixels(tmp_path / "a.png")
    border = np.ones(page.shape[:2], bool)
    margin = STYLE["margin"] - 1
    border[margin:-margin, margin:-margin] = False
    assert (page[border] == 255).all()


@pytest.mark.parametrize(
    ("shape", "labels"),
    [
        ((2, 2, 8, 8), None),
        ((0, 1, 8, 8), None),
        ((0, 8), None),
        ((2, 0), None),
        ((2,), None),
        ((2, 1, 1, 8, 8), None),
        ((2, 1, 8, 8), np.zeros(3, int)),
    ],
)
def test_samples_refuse_other_shapes(tmp_path: Path, shape: tuple[int, ...], labels: np.ndarray | None) -> None:
    with pytest.raises(ValueError, match="examples"):
        samples(np.zeros(shape, np.float32), labels, (), tmp_path / "s.png", title="t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 8), (2, 1, 8)])
def test_samples_refuse_nan_and_integers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for values in (np.full(shape, np.nan, np.float32), np.zeros(shape, np.uint8)):
        with pytest.raises(ValueError, match="floats"):
            samples(values, None, (), tmp_path / "s.png", title="t")


def test_long_names_keep_both_ends() -> None:
    assert shorten("n" * 28) == "n" * 28
    short = shorten("begin" + "x" * 100 + "end")
    assert (len(short), short[:5], short[-3:]) == (28, "begin", "end")
