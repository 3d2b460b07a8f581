"""MNIST (LeCun et al. 1998), padded to 32x32 as in the paper."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Generator

from acaikit.data import idx
from acaikit.data.base import Dataset, Shuffled, Split, Stream
from acaikit.data.location import data_dir

# MD5 of the unpacked content, so that a file packed anew is accepted.
CONTENT = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


class MNIST(Dataset):
    """60,000 training and 10,000 test images of handwritten digits, 28x28 padded by 2 pixels of -1 to 32x32.

    Reads the four published IDX files from the folder ``mnist`` in the data folder (``--data-dir``, else
    ``ACAIKIT_DATA``, else the user's cache folder).
    """

    shape = (1, 32, 32)
    classes = 10

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return batches of the training set, shuffled anew each epoch."""
        return Shuffled(self._train, batch_size, generator, device)

    def test(self) -> Split:
        """Return the test set."""
        return self._test

    @cached_property
    def _train(self) -> Split:
        return self._read("train", 60_000)

    @cached_property
    def _test(self) -> Split:
        return self._read("t10k", 10_000)

    def _read(self, part: str, count: int) -> Split:
        folder = data_dir() / "mnist"
        arrays = []
        for name, shape in ((f"{part}-images-idx3-ubyte", (count, 28, 28)), (f"{part}-labels-idx1-ubyte", (count,))):
            arrays.append(torch.from_numpy(idx.read(idx.find(folder, name), shape, CONTENT[name]).copy()))
        images, labels = arrays
        return Split(F.pad(images, (2, 2, 2, 2)).unsqueeze(1), labels.long())
