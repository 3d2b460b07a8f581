"""MNIST (LeCun et al. 1998) and the sets made in its likeness, padded to 32x32 as in the paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from acaikit.data import idx
from acaikit.data.fetch import Remote
from acaikit.data.published import Published, check_labels
from acaikit.data.writer import Writer

PIECE = 4096
IMAGES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
LABELS = {"train": "train-labels-idx1-ubyte", "test": "t10k-labels-idx1-ubyte"}


def _remotes(addresses: tuple[str, ...], known: Mapping[str, tuple[str, int, str | None]]) -> tuple[Remote, ...]:
    return tuple(
        Remote(f"{name}.gz", addresses, md5, size, (name,), content) for name, (md5, size, content) in known.items()
    )


class MNIST(Published):
    """60,000 training and 10,000 test images of handwritten digits, 28x28 padded by 2 pixels of -1 to 32x32.

    Read from four IDX files in the folder ``mnist`` of the data folder, got from the network where they are missing.
    """

    shape = (1, 32, 32)
    classes = 10
    counts: ClassVar = {"train": 60_000, "test": 10_000}
    foreign: ClassVar[Mapping[str, str]] = {}
    folder = "mnist"
    source = "http://yann.lecun.com/exdb/mnist"
    licence = "CC BY-SA 3.0"
    files = _remotes(
        (
            "http://yann.lecun.com/exdb/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        {
            "train-images-idx3-ubyte": (
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                9_912_422,
                "6bbc9ace898e44ae57da46a324031adb",
            ),
            "train-labels-idx1-ubyte": ("d53e105ee54ea40749a09fcbcd1e9432", 28_881, "a25bea736e30d166cdddb491f175f624"),
            "t10k-images-idx3-ubyte": (
                "9fb629c4189551a2d022fa330f9573f3",
                1_648_877,
                "2646ac647ad5339dbf082846283269ea",
            ),
            "t10k-labels-idx1-ubyte": ("ec29112dd5afa0611ce80d1b7f02629c", 4_542, "27ae3e4e09519cfbb04c329615203637"),
        },
    )

    def read(self, files: Mapping[str, Path], writer: Writer) -> None:
        """Read images and labels, and pad the images."""
        content = {remote.name: remote.content for remote in self.files}
        for split, count in self.counts.items():
            names = f"{IMAGES[split]}.gz", f"{LABELS[split]}.gz"
            images = idx.read(files[names[0]], (count, 28, 28), content[names[0]], self.foreign)
            labels = idx.read(files[names[1]], (count,), content[names[1]], self.foreign)
            check_labels(labels, self.classes, files[names[1]])
            writer.split(split, count, self.shape, labels=True)
            for start in range(0, count, PIECE):
                rows = slice(start, start + PIECE)
                padded = np.pad(images[rows], ((0, 0), (2, 2), (2, 2)))
                writer.append(split, padded[:, None], labels[rows])


# The sets that follow use the same names for their files.
_MNIST = {remote.content: "MNIST" for remote in MNIST.files if remote.content is not None}


class FashionMNIST(MNIST):
    """70,000 images of clothes in the format of MNIST (Xiao et al. 2017), padded to 32x32."""

    class_names = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
    foreign = _MNIST
    folder = "fashion_mnist"
    source = "https://github.com/zalandoresearch/fashion-mnist"
    licence = "MIT"
    files = _remotes(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880, None),
            "train-labels-idx1-ubyte": ("25c81989df183df01b3e8a0aad5dffbe", 29_515, None),
            "t10k-images-idx3-ubyte": ("bef4ecab320f06d8554ea6380940ec79", 4_422_102, None),
            "t10k-labels-idx1-ubyte": ("bb300cfdad3c16e7a12a480ee83cd310", 5_148, None),
        },
    )


class KMNIST(MNIST):
    """70,000 images of cursive Japanese characters in the format of MNIST (Clanuwat et al. 2018), padded to 32x32."""

    class_names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    foreign = _MNIST
    folder = "kmnist"
    source = "http://codh.rois.ac.jp/kmnist"
    licence = "CC BY-SA 4.0"
    files = _remotes(
        (
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "https://huggingface.co/datasets/tanganke/kmnist/resolve/53810959241e8f35890445245170c8cec0672f81/raw/",
        ),
        {
            "train-images-idx3-ubyte": ("bdb82020997e1d708af4cf47b453dcf7", 18_165_135, None),
            "train-labels-idx1-ubyte": ("e144d726b3acfaa3e44228e80efcd344", 29_497, None),
            "t10k-images-idx3-ubyte": ("5c965bf0a639b31b8f53240b1b52f4d7", 3_041_136, None),
            "t10k-labels-idx1-ubyte": ("7320c461ea6c1c855c0b718fb2a4b134", 5_120, None),
        },
    )
