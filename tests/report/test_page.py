from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from acaikit.report.page import Page
from acaikit.report.style import STYLE, levels
from acaikit.report.tiles import tiles

PAD, MARGIN = STYLE["pad"], STYLE["margin"]


def drawn(page: Page, folder: Path) -> np.ndarray:
    page.save(folder / "page.png")
    return np.rint(imread(folder / "page.png")[..., :3] * 255).astype(np.uint8)


@pytest.fixture
def squares() -> np.ndarray:
    return np.linspace(-0.5, 0.5, 4, dtype=np.float32).reshape(4, 1, 1, 1).repeat(8, 2).repeat(8, 3)


def test_chosen_tiles_stand_side_by_side_and_are_framed_by_their_place(tmp_path: Path, squares: np.ndarray) -> None:
    page = Page(200, 2 * 68)
    page.row(tiles("x", squares), [3, 1], 100, framed=[1])
    expected = np.full((200, 136, 3), 255, np.uint8)
    for i, place, line, colour in ((3, 0, 1, "edge"), (1, 1, STYLE["frame"], "accent")):
        left, top = 68 * place + PAD, 100 + PAD
        expected[top - line : top + 56 + line, left - line : left + 56 + line] = levels(colour)
        expected[top : top + 56, left : left + 56] = np.rint((squares[i, 0, 0, 0] + 1) * 127.5)
    page = drawn(page, tmp_path)
    np.testing.assert_array_equal(page[MARGIN:-MARGIN, MARGIN:-MARGIN], expected)
    assert page.shape == (200 + 2 * MARGIN, 136 + 2 * MARGIN, 3)


def test_curves_move_with_their_tile(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 2, 40)).astype(np.float32)
    first, second = (tiles("x", examples) for examples in (x, x[::-1]))
    high, wide = first.cell
    page = Page(3 * high, 2 * wide)
    page.row(first, [0, 1], 0)
    page.row(second, [0, 1], 2 * high)
    whole = drawn(page, tmp_path)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    top, empty, bottom = np.split(whole, 3)
    assert (empty == 255).all()
    np.testing.assert_array_equal(top[:, :wide], bottom[:, wide:])
    np.testing.assert_array_equal(top[:, wide:], bottom[:, :wide])


def test_words_stand_outside_the_tiles_and_the_page_grows_for_them(tmp_path: Path, squares: np.ndarray) -> None:
    page = Page(68, 4 * 68)
    page.row(tiles("x", squares), range(4), 0)
    alone = drawn(page, tmp_path)
    page.title("A title")
    page.name("$name$", 34)
    page.note("", "One paragraph of more words than fit into a line.", "Another.")
    whole = drawn(page, tmp_path)
    seen = np.lib.stride_tricks.sliding_window_view(whole[..., 0], alone[MARGIN:-MARGIN, MARGIN:-MARGIN, 0].shape)
    (place,) = np.argwhere((seen == alone[MARGIN:-MARGIN, MARGIN:-MARGIN, 0]).all((2, 3)))
    above, left = place
    below = whole.shape[0] - above - 68
    assert above > MARGIN + 32
    assert left > MARGIN + 8
    assert below > MARGIN + 20 + 2 * 26
    border = np.ones(whole.shape[:2], bool)
    border[MARGIN - 1 : 1 - MARGIN, MARGIN - 1 : 1 - MARGIN] = False
    assert (whole[border] == 255).all()


@pytest.mark.parametrize("tiles_in_row", [8, 16])
def test_a_long_title_is_wrapped_to_the_tiles(tmp_path: Path, squares: np.ndarray, tiles_in_row: int) -> None:
    title = "Samples from a Gaussian fitted to the latents · somerun-256-s0 · 16,777,216 samples"
    plain = Page(68, tiles_in_row * 68)
    plain.row(tiles("x", squares), [0] * tiles_in_row, 0)
    high, wide = drawn(plain, tmp_path).shape[:2]
    plain = Page(68, tiles_in_row * 68)
    plain.row(tiles("x", squares), [0] * tiles_in_row, 0)
    plain.title(title)
    titled = drawn(plain, tmp_path)
    assert titled.shape[1] <= 1.05 * wide
    rows = (titled[: titled.shape[0] - high + MARGIN] < 128).any((1, 2))
    lines = (np.diff(rows.astype(int)) == 1).sum()
    assert lines == {8: 3, 16: 2}[tiles_in_row]
