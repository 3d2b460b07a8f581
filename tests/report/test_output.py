from __future__ import annotations

import base64
import io
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from acaikit.errors import UserError
from acaikit.report import figures, output
from acaikit.report.page import Page, save
from acaikit.report.style import STYLE
from acaikit.report.tiles import tiles


def page(seed: int = 0) -> Page:
    paths = np.random.default_rng(seed).uniform(-1, 1, (2, 3, 1, 8, 8)).astype(np.float32)
    return figures.interpolation(paths, title="Paths $a$", labels=["one", "two"])


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "PDF"])
def test_the_same_page_gives_the_same_bytes(tmp_path: Path, ending: str) -> None:
    files = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for file in files:
        page().save(file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    for told in (b"Matplotlib", b"CreationDate", b"dc:date", b"Producer"):
        assert told not in first
    assert sorted(tmp_path.iterdir()) == files


def test_words_of_a_pdf_are_truetype(tmp_path: Path) -> None:
    page().save(tmp_path / "a.pdf")
    text = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in text
    assert b"/Type3" not in text


def inflated_image(pdf: bytes) -> np.ndarray:
    """The one image in a PDF, uint8 [H, W, 3], by undoing PNG's predictors by hand."""
    header, start = next(
        (m[0], m.end())
        for m in re.finditer(rb"<<[^<]*(?:<<[^>]*>>[^<>]*)?/Subtype /Image.*?>>\s*stream\r?\n", pdf, re.S)
    )
    assert b"/Interpolate true" not in header
    wide, high = (int(re.search(rb"/%s (\d+)" % name, header)[1]) for name in (b"Width", b"Height"))
    raw = np.frombuffer(zlib.decompressobj().decompress(pdf[start:]), np.uint8)
    assert len(raw) == high * (3 * wide + 1)
    lines = raw.reshape(high, -1)
    found = np.zeros((high, wide, 3), np.uint8)
    for i, line in enumerate(lines):
        kind, values = line[0], line[1:].reshape(wide, 3).astype(int)
        above = found[i - 1].astype(int) if i else np.zeros((wide, 3), int)
        for x in range(wide):
            left = found[i, x - 1].astype(int) if x else np.zeros(3, int)
            corner = above[x - 1] if x else np.zeros(3, int)
            guess = left + above[x] - corner
            far = np.abs([guess - left, guess - above[x], guess - corner])
            paeth = np.where(
                (far[0] <= far[1]) & (far[0] <= far[2]), left, np.where(far[1] <= far[2], above[x], corner)
            )
            found[i, x] = (values[x] + [0, left, above[x], (left + above[x]) // 2, paeth][kind]) % 256
    return found


def test_images_keep_their_pixels_in_every_format(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 14, 14)).astype(np.float32)
    for ending in ("png", "pdf", "svg"):
        shown = tiles("x", x)
        one = Page(shown.cell[0], 2 * shown.cell[1])
        one.row(shown, [0, 1], 0)
        one.save(tmp_path / f"a.{ending}")
    margin = STYLE["margin"]
    png = np.rint(imread(tmp_path / "a.png")[margin:-margin, margin:-margin, :3] * 255).astype(np.uint8)
    (embedded,) = re.findall(rb"data:image/png;base64,([^\"]+)", (tmp_path / "a.svg").read_bytes())
    svg = np.rint(imread(io.BytesIO(base64.b64decode(embedded)))[..., :3] * 255).astype(np.uint8)
    assert b'transform="scale(1 -1)' in (tmp_path / "a.svg").read_bytes()
    np.testing.assert_array_equal(svg[::-1], png)
    np.testing.assert_array_equal(inflated_image((tmp_path / "a.pdf").read_bytes()), png)


@pytest.mark.parametrize("ending", ["pdf", "svg"])
def test_vectors_are_as_large_as_pixels(tmp_path: Path, ending: str) -> None:
    page().save(tmp_path / "a.png")
    page().save(tmp_path / f"a.{ending}")
    high, wide = imread(tmp_path / "a.png").shape[:2]
    text = (tmp_path / f"a.{ending}").read_bytes().decode("latin-1")
    found = re.search(
        r"MediaBox \[ 0 0 ([\d.]+) ([\d.]+)" if ending == "pdf" else r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text
    )
    np.testing.assert_allclose([float(found[1]), float(found[2])], [wide * 72 / 192, high * 72 / 192], atol=0.01)


def test_pages_stand_below_each_other(tmp_path: Path) -> None:
    for seed in (0, 1):
        page(seed).save(tmp_path / f"{seed}.png")
    save([page(0), page(1)], tmp_path / "both.png")
    both, *alone = (imread(tmp_path / f"{name}.png")[..., :3] for name in ("both", 0, 1))
    high = alone[0].shape[0]
    assert both.shape[0] == 2 * high - 2 * STYLE["margin"] + STYLE["apart"]
    np.testing.assert_array_equal(both[: high - STYLE["margin"]], alone[0][: high - STYLE["margin"]])
    np.testing.assert_array_equal(both[STYLE["margin"] - high :], alone[1][STYLE["margin"] - high :])


@pytest.mark.parametrize("name", ["a.jpg", "a", ".png", "a.png.gz"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    for refuse in (lambda: output.save(Figure(), tmp_path / name), lambda: output.check(tmp_path / name)):
        with pytest.raises(UserError, match=r"\.png, \.pdf or \.svg"):
            refuse()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_said_before(tmp_path: Path) -> None:
    output.check(tmp_path / "a.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "closed").mkdir(mode=0o555)  # counts for root too
    for name, said in (
        ("no/a.png", "there is no folder"),
        ("folder.png", "is a folder"),
        ("closed/a.png", "read-only"),
    ):
        with pytest.raises(UserError, match=f"{name} can't be written.*{said}"):
            output.check(tmp_path / name)
