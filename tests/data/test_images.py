from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from acaikit.data.images import decode, fit, pixels
from acaikit.data.pile import BadImage

Pixels = NDArray[np.uint8]


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def packed(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def decoded(data: bytes, colors: int = 3, background: int = 0) -> Pixels:
    return pixels(decode(data, colors, background))


def luma(rgb: Pixels) -> NDArray[np.float64]:
    """ITU-R 601-2 of ``[..., 3]``."""
    return rgb @ np.array([0.299, 0.587, 0.114])


# Decoding


def test_lossless_colours_are_kept() -> None:
    rgb = noise(5, 7, 3)
    found = decoded(packed(Image.fromarray(rgb)))
    assert found.dtype == np.uint8
    assert np.array_equal(found, rgb.transpose(2, 0, 1))
    grey = decoded(packed(Image.fromarray(rgb)), colors=1)
    assert grey.shape == (1, 5, 7)
    assert np.abs(grey[0] - luma(rgb)).max() <= 0.51


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP"])
def test_a_format_is_told_by_the_content(form: str) -> None:
    grey = noise(5, 7)
    assert np.array_equal(decoded(packed(Image.fromarray(grey), form), colors=1)[0], grey)
    assert np.array_equal(decoded(packed(Image.fromarray(grey), form)), np.stack([grey] * 3))


def test_black_and_white() -> None:
    bits = noise(4, 4) > 127
    assert np.array_equal(decoded(packed(Image.fromarray(bits)), colors=1)[0], 255 * bits)


def test_jpeg_is_what_pillow_reads() -> None:
    data = packed(Image.fromarray(noise(16, 16, 3)), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decoded(data), np.asarray(image).transpose(2, 0, 1))


def test_grey_of_16_bits_is_rounded() -> None:
    values = np.array([[0, 1, 128, 129, 255], [256, 257, 385, 386, 32767], [32768, 60000, 65406, 65407, 65535]])
    data = packed(Image.fromarray(values.astype(np.uint16)))
    expected = np.rint(values / 257).astype(np.uint8)
    assert set(expected.flat) > {0, 1, 255}
    assert np.array_equal(decoded(data, colors=1)[0], expected)
    assert np.array_equal(decoded(data), np.stack([expected] * 3))


def png(width: int, height: int, depth: int, kind: int, chunks: Mapping[bytes, bytes], rows: bytes) -> bytes:
    """Write a PNG by hand: what Pillow reads but doesn't write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    body = b"".join(chunk(name, content) for name, content in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_grey_of_16_bits_with_a_transparent_value() -> None:
    values = np.array([[0, 514, 25700], [65535, 514, 513]], np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = png(3, 2, 16, 0, {b"tRNS": struct.pack(">H", 514)}, rows)
    expected = np.where(values == 514, 77, np.rint(values / 257))
    assert np.array_equal(decoded(data, colors=1, background=77)[0], expected)


@pytest.mark.parametrize("background", [0, 1, 128, 255])
@pytest.mark.parametrize("colors", [1, 3])
def test_alpha_is_laid_on_the_background(background: int, colors: int) -> None:
    rgba = noise(16, 16, 4)
    rgba[0, :, 3], rgba[1, :, 3] = 0, 255
    rgb, alpha = rgba[..., :3], rgba[..., 3:] / 255
    found = decoded(packed(Image.fromarray(rgba)), colors, background)
    mixed = rgb * alpha + background * (1 - alpha)
    if colors == 3:
        assert np.array_equal(found, np.rint(mixed).transpose(2, 0, 1))
    else:
        assert np.abs(found[0] - luma(mixed)).max() <= 1.01
    assert (found[:, 0] == background).all()

    la = noise(16, 16, 2)
    found = decoded(packed(Image.fromarray(la, "LA")), colors, background)
    mixed = la[..., 0] * (la[..., 1] / 255) + background * (1 - la[..., 1] / 255)
    assert np.array_equal(found, np.stack([np.rint(mixed)] * colors))


def test_palettes() -> None:
    palette, index = noise(4, 3), noise(6, 6) % 4
    image = Image.fromarray(index, "P")
    image.putpalette(palette.tobytes())
    opaque = decoded(packed(image))
    assert np.array_equal(opaque, palette[index].transpose(2, 0, 1))
    for transparency, alpha in ((1, [255, 0, 255, 255]), (bytes([0, 51, 102, 255]), [0, 51, 102, 255])):
        share = np.array(alpha)[index][..., None] / 255
        expected = np.rint(palette[index] * share + 200 * (1 - share)).transpose(2, 0, 1)
        assert np.array_equal(decoded(packed(image, transparency=transparency), background=200), expected)


def test_a_transparent_colour() -> None:
    rgb = noise(4, 4, 3)
    rgb[1, 2] = 10, 20, 30
    found = decoded(packed(Image.fromarray(rgb), transparency=(10, 20, 30)), background=99)
    expected = rgb.copy()
    expected[1, 2] = 99
    assert np.array_equal(found, expected.transpose(2, 0, 1))


def test_cmyk() -> None:
    cmyk = np.zeros((8, 8, 4), np.uint8)
    cmyk[:, :, 1] = 255  # magenta
    found = decoded(packed(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=100))
    assert np.abs(found.astype(int) - np.array([255, 0, 255])[:, None, None]).max() <= 3


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_exif_orientation(form: str) -> None:
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8] = 255  # a white block at the top left
    # What each orientation asks a viewer to do, undone.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    for orientation, turned in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        found = decoded(packed(Image.fromarray(np.ascontiguousarray(turned)), form, exif=exif), colors=1)
        assert np.array_equal(found[0] > 127, upright > 127), orientation


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_of_an_animation_the_first_frame(form: str) -> None:
    frames = [Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (10, 200)]
    assert (decoded(packed(frames[0], form, save_all=True, append_images=frames[1:]), colors=1) == 10).all()


JPEG = packed(Image.fromarray(noise(64, 64, 3)), "JPEG")
PNG = packed(Image.fromarray(noise(64, 64, 3)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"hello", "no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "no image"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (PNG[: len(PNG) // 2], "truncated"),
        (PNG[:20], "."),
        (PNG[:1000] + bytes(100) + PNG[1100:], "."),
    ],
)
def test_what_is_no_whole_image(data: bytes, why: str) -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.raises(BadImage, match=why):
        decode(data, 3, 0)


def test_a_decompression_bomb() -> None:
    huge = png(50_000, 50_000, 8, 0, {}, b"")
    with pytest.raises(BadImage, match="exceeds limit"):
        decode(huge, 3, 0)


# Fitting


def picture(rows: Pixels) -> Image.Image:
    return Image.fromarray(rows)


SIDE = st.integers(1, 12)


@given(SIDE, SIDE, SIDE, SIDE, st.sampled_from(["crop", "pad", "stretch"]))
@settings(deadline=None)
def test_a_fitted_image_has_the_size(w: int, h: int, width: int, height: int, how: str) -> None:
    for image in (picture(noise(h, w)), picture(noise(h, w, 3))):
        fitted = fit(image, (height, width), how, 7)
        assert (fitted.size, fitted.mode) == ((width, height), image.mode)


@pytest.mark.parametrize("how", ["exact", "crop", "pad", "stretch"])
def test_what_has_the_size_is_left_as_it_is(how: str) -> None:
    rgb = noise(6, 9, 3)
    assert np.array_equal(pixels(fit(picture(rgb), (6, 9), how, 0)), rgb.transpose(2, 0, 1))


def test_crop_keeps_the_centre() -> None:
    wide, tall = noise(8, 15), noise(15, 8)
    assert np.array_equal(pixels(fit(picture(wide), (8, 8), "crop", 0))[0], wide[:, 3:11])
    assert np.array_equal(pixels(fit(picture(tall), (8, 8), "crop", 0))[0], tall[3:11])
    # Halved first: the same as resizing all of it, then cutting.
    large = noise(16, 40)
    whole = np.asarray(picture(large).resize((20, 8), Image.Resampling.BICUBIC))
    assert np.array_equal(pixels(fit(picture(large), (8, 8), "crop", 0))[0], whole[:, 6:14])
    assert pixels(fit(picture(large), (8, 4), "crop", 0)).shape == (1, 8, 4)


def test_crop_of_a_long_strip_takes_little_memory() -> None:
    strip = picture(np.arange(100_000, dtype=np.uint32).astype(np.uint8)[None])
    assert fit(strip, (512, 512), "crop", 0).size == (512, 512)


def test_pad_centres_on_the_background() -> None:
    wide = noise(4, 8)
    padded = pixels(fit(picture(wide), (8, 8), "pad", 9))[0]
    assert np.array_equal(padded[2:6], wide)
    assert (padded[[0, 1, 6, 7]] == 9).all()
    rgb = pixels(fit(picture(noise(8, 4, 3)), (8, 8), "pad", 130))
    assert (rgb[:, :, [0, 1, 6, 7]] == 130).all()
    shrunk = pixels(fit(picture(np.full((10, 40), 200, np.uint8)), (8, 8), "pad", 0))[0]
    assert (shrunk[3:5] == 200).all()
    assert not shrunk[[0, 1, 2, 5, 6, 7]].any()
    assert fit(picture(np.zeros((1, 1000), np.uint8)), (8, 8), "pad", 0).size == (8, 8)


def test_stretch_shrinks_by_averaging() -> None:
    # Columns that alternate: a filter that only reads its four nearest pixels would not find their mean.
    stripes = np.tile(np.array([0, 200], np.uint8), (64, 32))
    found = pixels(fit(picture(stripes), (8, 4), "stretch", 0))[0]
    assert np.abs(found[:, 1:-1].astype(int) - 100).max() <= 2


def test_the_exact_size() -> None:
    with pytest.raises(ValueError, match="9 wide and 6 high"):
        fit(picture(noise(6, 9)), (9, 6), "exact", 0)
