"""CelebA (Liu et al. 2015): aligned photographs of faces, cropped to 32x32 as in the paper."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from acaikit import checks
from acaikit.data.base import Shuffled, Split, Stream
from acaikit.data.fetch import Remote
from acaikit.data.image_store import store
from acaikit.data.images import Pixels, decode, pixels
from acaikit.data.pile import BadImage, Pile, open_pile
from acaikit.data.published import Published
from acaikit.data.writer import Writer
from acaikit.errors import DataError, UserError

ARCHIVE = "img_align_celeba.zip"


class CelebA(Published):
    """202,599 photographs of faces without labels, cropped to their middle and 32x32 in colour.

    Read from ``img_align_celeba.zip`` in the folder ``celeba`` of the data folder, or from the folder
    ``img_align_celeba`` that it unpacks to. It has no lasting address: get it by hand from the set's page.

    Of each image, 178 wide and 218 high, 36 rows at top and bottom and 16 columns at both sides are cut away. The
    146x146 that are left are resized as the authors' program does it (`bicubic`), and rounded to whole levels.

    Parameters
    ----------
    held_out : int
        How many images at the end are for testing, and not trained on; 19,962 is the official test set. With 0 the
        test images are the training images, as in the authors' program.

    Raises
    ------
    UserError
        If `held_out` is no whole number from 0 to the number of images less 1.
    """

    shape = (3, 32, 32)
    counts: ClassVar = {"train": 202_599}
    width: ClassVar = 178
    height: ClassVar = 218
    margins: ClassVar = (16, 36)
    folder = "celeba"
    source = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    licence = "non-commercial research only"
    files = (Remote(ARCHIVE, (), "00d2c5bc6d35e252742224ab0c1e8fcb", 1_443_490_838, (Path(ARCHIVE).stem,)),)

    def __init__(self, held_out: int = 0) -> None:
        checks.whole("CelebA.held_out", held_out, at_least=0)
        if held_out >= self.counts["train"]:
            raise UserError(
                f"CelebA.held_out must be below {self.counts['train']:,}, the number of images, not {held_out}"
            )
        self.held_out = held_out

    def help(self, remote: Remote) -> str:
        """Return where to get the file, and where to put it."""
        return (
            f'Get "Align&Cropped Images" ({remote.name}, 1.4 GB) from {self.source}, and put it there, or the folder '
            f"{Path(remote.name).stem} that it unpacks to. Or name the folder that holds the folder {self.folder!r}, "
            f"with --data-dir or ACAIKIT_DATA"
        )

    def read(self, files: Mapping[str, Path], writer: Writer) -> None:
        """Read and crop all images; which of them are for testing is a matter of use."""
        path, count = files[ARCHIVE], self.counts["train"]
        with open_pile(path) as pile:
            names = _numbered(pile, count)
            store(writer, "train", names, None, lambda name: self._face(pile.read(name)), self.shape, path, skip=False)

    def _face(self, data: bytes) -> Pixels:
        image = decode(data, self.shape[0], background=0)
        if image.size != (self.width, self.height):
            width, height = image.size
            raise BadImage(
                f"it is {width} wide and {height} high, not {self.width} and {self.height} as the aligned and cropped "
                f"images are"
            )
        x, y = self.margins
        middle = pixels(image)[:, y:-y, x:-x]
        _, height, width = self.shape
        resized = bicubic(middle.shape[1], height) @ middle @ bicubic(middle.shape[2], width).T
        return resized.round().clip(0, 255).astype(np.uint8)

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return batches of the images that aren't held out, shuffled anew each epoch."""
        return Shuffled(self._rows(slice(self.counts["train"] - self.held_out)), batch_size, generator, device)

    def test(self) -> Split:
        """Return the images that are held out, or all of them where none are."""
        return self._rows(slice(self.counts["train"] - self.held_out, None) if self.held_out else slice(None))

    def _rows(self, rows: slice) -> Split:
        return Split(self.prepared.splits["train"].data[rows])


@cache
def bicubic(before: int, after: int) -> NDArray[np.float64]:
    """Return the weights ``[after, before]`` of TensorFlow 1's ``resize_bicubic``, along one axis.

    Pixel i is a cubic convolution of the 4 pixels around i * before / after (Keys 1981, with a = -0.75); beyond the
    border its last pixel goes on. What lies between those 4 and the next 4 is passed over when an image shrinks.
    """
    at = np.arange(after) * before / after
    weights = np.zeros((after, before))
    for tap in (-1, 0, 1, 2):
        near = np.floor(at) + tap
        d = np.abs(at - near)
        inner, outer = (1.25 * d - 2.25) * d**2 + 1, -0.75 * (((d - 5) * d + 8) * d - 4)
        pixel = near.clip(0, before - 1).astype(np.int64)
        np.add.at(weights, (np.arange(after), pixel), np.where(d <= 1, inner, outer))
    return weights


def _numbered(pile: Pile, count: int) -> list[str]:
    """Return the names of 000001.jpg to the last of `count` images, wherever in the pile they lie."""
    found = {name.rpartition("/")[2]: name for name in pile.names}
    wanted = [f"{number:06d}.jpg" for number in range(1, count + 1)]
    missing = [name for name in wanted if name not in found]
    if missing or len(pile.names) != count:
        what = f"the first that is missing is {missing[0]}" if missing else "000001.jpg to the last are there"
        raise DataError(
            f"{pile.path} holds {len(pile.names):,} images, not {count:,}; {what}: delete it and get it again"
        )
    return [found[name] for name in wanted]
