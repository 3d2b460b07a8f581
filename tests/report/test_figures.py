from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from acaikit.report.figures import STYLE, interpolation, reconstruction

PAD = STYLE["pad"]


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
    [(5, 1, 16, 16), (2, 5, 2, 16, 16), (2, 5, 16, 16, 1), (2, 1, 1, 16, 16), (0, 5, 1, 16, 16), (2, 5, 1, 0, 16)],
)
def test_interpolation_refuses_other_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="paths must"):
        interpolation(np.zeros(shape, np.float32), tmp_path / "paths.png", title="t")
    assert not list(tmp_path.iterdir())


def test_interpolation_refuses_labels_that_do_not_match_the_pairs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels"):
        interpolation(images(2, 3, 1, 16, 16), tmp_path / "paths.png", title="t", labels=["only one"])


@pytest.mark.parametrize("values", [np.full((2, 3, 1, 4, 4), np.nan, np.float32), np.zeros((2, 3, 1, 4, 4), np.uint8)])
def test_interpolation_refuses_nan_and_integers(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="floats"):
        interpolation(values, tmp_path / "paths.png", title="t")


@pytest.mark.parametrize(
    ("first", "second"),
    [((4, 1, 16, 16), (3, 1, 16, 16)), ((4, 2, 8, 8), (4, 2, 8, 8)), ((4, 8, 8), (4, 8, 8)), ((0, 1, 8, 8),) * 2],
)
def test_reconstruction_refuses_other_shapes(tmp_path: Path, first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        reconstruction(np.zeros(first, np.float32), np.zeros(second, np.float32), tmp_path / "pairs.png", title="t")
