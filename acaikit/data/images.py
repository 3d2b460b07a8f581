"""From an image file to pixels of one shape: decoding, and the ways to bring an image to a size."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from acaikit.data.pile import BadImage

Pixels = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
"""What files that are called images turn out to be. Pillow knows more formats, some of which run other programs."""
FITS = ("exact", "crop", "pad", "stretch")
"""How an image is brought to a size; see `fit`."""


def decode(data: bytes, colors: int, background: int) -> Image.Image:
    """Return the image that an image file holds, upright and without transparency.

    It is turned as its EXIF orientation says. Of an animation the first frame is taken. What is transparent is laid on
    `background`. Grey of 16 bits is rounded to 8, v / 257; of colours of 16 bits Pillow reads the upper 8. A colour
    profile is not applied.

    Parameters
    ----------
    data : bytes
        The file's content.
    colors : int
        1 for grey (ITU-R 601-2 luma) or 3 for RGB.
    background : int
        A grey level, 0 to 255.

    Returns
    -------
    Image
        Of mode "L" or "RGB".

    Raises
    ------
    BadImage
        If the file is no image, is truncated or otherwise broken, or has more pixels than Pillow finds safe.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
    except UnidentifiedImageError:
        raise BadImage("it is no image" if data else "it is empty") from None
    except Exception as error:  # what Pillow raises on broken files is not limited to any kinds
        raise BadImage(str(error) or type(error).__name__) from error
    transparent = image.has_transparency_data
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    mode = "L" if colors == 1 else "RGB"
    if not transparent:
        return image.convert(mode)
    rgba = image.convert("RGBA")
    ground = Image.new(mode, image.size, (background,) * colors)
    ground.paste(rgba.convert("RGB").convert(mode), mask=rgba.getchannel("A"))
    return ground


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255.
    values = np.asarray(image).astype(np.int64)
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if "transparency" not in image.info:
        return grey
    alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, alpha))


def fit(image: Image.Image, size: tuple[int, int], how: str, background: int) -> Image.Image:
    """Bring an image to a size.

    Where it is resized, it is by Pillow's bicubic filter, which widens with the scale: what is shrunk is averaged over.

    Parameters
    ----------
    image : Image
        Of mode "L" or "RGB".
    size : pair of int
        Height and width.
    how : str
        "exact": it must have the size. "crop": it is resized until it covers the size, and its centre is kept. "pad":
        it is resized until it fits into the size, and centred on `background`. "stretch": both sides are resized.
    background : int
        A grey level, 0 to 255.

    Raises
    ------
    ValueError
        If `how` is "exact" and the image has another size, or `how` is none of these.
    """
    (height, width), (w, h) = size, image.size
    match how:
        case "exact":
            if (h, w) != size:
                raise ValueError(f"{w} wide and {h} high")
            return image
        case "stretch":
            return image.resize((width, height), Image.Resampling.BICUBIC)
        case "crop":
            scale = max(width / w, height / h)
            covering = max(width, round(w * scale)), max(height, round(h * scale))
            left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
            # Only what is kept is resized: a long strip would grow beyond all memory.
            x, y = w / covering[0], h / covering[1]
            box = (left * x, top * y, min(w, (left + width) * x), min(h, (top + height) * y))
            return image.resize((width, height), Image.Resampling.BICUBIC, box=box)
        case "pad":
            scale = min(width / w, height / h)
            inside = min(width, max(1, round(w * scale))), min(height, max(1, round(h * scale)))
            ground = Image.new(image.mode, (width, height), (background,) * len(image.getbands()))
            corner = (width - inside[0]) // 2, (height - inside[1]) // 2
            ground.paste(image.resize(inside, Image.Resampling.BICUBIC), corner)
            return ground
    raise ValueError(f"{how!r} is none of {FITS}")


def pixels(image: Image.Image) -> Pixels:
    """Return the uint8 pixels ``[C, H, W]`` of an image of mode "L" or "RGB"."""
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
