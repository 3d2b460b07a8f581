"""The small handwritten digits that scikit-learn ships: real data that need no download."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from torch import Generator

from acaikit import checks
from acaikit.data.base import Dataset, Shuffled, Split, Stream

TRAIN = 1500


class Digits(Dataset):
    """1,797 handwritten digits of 8x8 (Alpaydin and Kaynak 1998): 1,500 to train on, and the last 297 to test on.

    Pixels are x = 2 v / 16 - 1 of values v from 0 to 16. The set comes with scikit-learn, in an order that goes by
    writers: the last were written by others than the first.

    Parameters
    ----------
    flat : bool
        Whether an example is a vector of 64 pixels, row by row, and not an image of shape (1, 8, 8).

    Raises
    ------
    UserError
        If `flat` is no bool.
    """

    classes = 10
    counts: ClassVar = {"train": TRAIN, "test": 1797 - TRAIN}
    source = "https://archive.ics.uci.edu/dataset/80"
    licence = "CC BY 4.0"

    def __init__(self, flat: bool = False) -> None:
        checks.instance("Digits.flat", flat, bool)
        self.flat = flat
        self.shape = (64,) if flat else (1, 8, 8)
        self.picture = (1, 8, 8)

    @cached_property
    def _all(self) -> Split:
        # Imported late: it takes a second, which a recipe that is only looked at need not wait for.
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)
        x = torch.from_numpy(values).mul(2 / 16).sub(1).float()
        return Split(x.view(-1, *self.shape), torch.from_numpy(labels).long())

    def _part(self, rows: slice) -> Split:
        labels = self._all.labels
        assert labels is not None
        return Split(self._all.data[rows], labels[rows])

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return batches of the training set, shuffled anew each epoch."""
        return Shuffled(self._part(slice(TRAIN)), batch_size, generator, device)

    def test(self) -> Split:
        """Return the test set."""
        return self._part(slice(TRAIN, None))
