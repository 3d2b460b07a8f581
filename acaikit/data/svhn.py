"""Street View House Numbers, cropped digits (Netzer et al. 2011), from MATLAB files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from acaikit import checks
from acaikit.data.fetch import Remote
from acaikit.data.published import Published, check_labels
from acaikit.data.writer import Writer
from acaikit.errors import DataError
from acaikit.progress import Advance, progress

PIECE = 4096
TRAIN, EXTRA, TEST = "train_32x32.mat", "extra_32x32.mat", "test_32x32.mat"
HEADER, HEADER_73 = b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"


def _remote(name: str, md5: str, size: int) -> Remote:
    return Remote(name, ("http://ufldl.stanford.edu/housenumbers/",), md5, size)


class SVHN(Published):
    """604,388 training and 26,032 test images of house-number digits, 32x32 in colour; digit 0 is class 9.

    Read from three MATLAB files in the folder ``svhn`` of the data folder, got from the network where they are missing.
    Preparing it takes 1.7 GB of memory, the images of the largest file.

    Parameters
    ----------
    extra : bool
        Whether the training set goes on with the 531,131 easier images of ``extra_32x32.mat``, as in the paper. Without
        them it has 73,257, and that file of 1.3 GB isn't needed.

    Raises
    ------
    UserError
        If `extra` is no bool.
    """

    shape = (3, 32, 32)
    classes = 10
    class_names = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "0")
    counts: ClassVar = {TRAIN: 73_257, EXTRA: 531_131, TEST: 26_032}
    folder = "svhn"
    source = "http://ufldl.stanford.edu/housenumbers/"
    licence = "non-commercial use only"
    files: tuple[Remote, ...] = (
        _remote(TRAIN, "e26dedcc434d2e4c54c9b2d4a06d8373", 182_040_794),
        _remote(EXTRA, "a93ce644f1a588dc4d68dda5feec44a7", 1_329_278_602),
        _remote(TEST, "eb5a983be6a315427106f1b164d9cef3", 64_275_384),
    )

    def __init__(self, extra: bool = True) -> None:
        checks.instance("SVHN.extra", extra, bool)
        self.extra = extra
        if not extra:
            self.files = tuple(remote for remote in self.files if remote.name != EXTRA)

    @property
    def key(self) -> str:
        """Whether the extra images are left out."""
        return "" if self.extra else "without extra"

    def help(self, remote: Remote) -> str:
        """Return what to do where a file can't be downloaded."""
        spare = ". It can be done without: set SVHN.extra = False" if remote.name == EXTRA else ""
        return super().help(remote) + spare

    def read(self, files: Mapping[str, Path], writer: Writer) -> None:
        """Read the files one after another, and turn their images so that channels come first."""
        sources = {"train": (TRAIN, EXTRA) if self.extra else (TRAIN,), "test": (TEST,)}
        counts = {files[name]: self.counts[name] for name in files}
        for file, count in counts.items():
            _check(file, count)
        with progress("preparing SVHN", sum(counts.values())) as advance:
            for split, names in sources.items():
                writer.split(split, sum(self.counts[name] for name in names), self.shape, labels=True)
                for name in names:
                    _copy(files[name], counts[files[name]], writer, split, advance)


def _check(file: Path, count: int) -> None:
    """Raise `DataError` unless `file` says that it holds what it should, before gigabytes of it are read."""
    import scipy.io  # here: it takes a fifth of a second, which no other dataset needs

    with _reading(file) as opened:
        start = opened.read(len(HEADER))
    if start == HEADER_73 or start.startswith(b"\x89HDF"):
        raise DataError(
            f"{file} is a MATLAB 7.3 file (HDF5), not a MATLAB 5 file as published: delete it and get it again, "
            f"or save it anew in MATLAB with '-v7'"
        )
    if start != HEADER:
        raise DataError(
            f"{file} starts with {start!r}, not {HEADER!r}: it is no MATLAB 5 file. Delete it and get it again"
        )
    with _reading(file) as opened:
        found = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(opened)}
    for name in ("X", "y"):
        if name not in found:
            raise DataError(
                f"{file} has no variable {name} (it has {', '.join(found) or 'none'}): it is cut short, or another "
                f"file. Delete it and get it again"
            )
    shape, kind = found["X"]
    if kind != "uint8":
        raise DataError(f"{file} has X of {kind}, but images of uint8 are expected: delete it and get it again")
    if shape != (32, 32, 3, count):
        raise DataError(
            f"{file} has X of shape {list(shape)}, but {[32, 32, 3, count]} is expected: delete it and get it again"
        )
    shape, _ = found["y"]
    if shape not in ((count, 1), (1, count)):
        raise DataError(
            f"{file} has y of shape {list(shape)}, but {[count, 1]} is expected: delete it and get it again"
        )


def _copy(file: Path, count: int, writer: Writer, split: str, advance: Advance) -> None:
    # A function of its own, so that these images leave memory before those of the next file come.
    labels = _load(file, "y").reshape(count)
    if labels.dtype.kind not in "iu":
        raise DataError(f"{file} has y of {labels.dtype}, but labels of uint8 are expected: delete it and get it again")
    check_labels(labels, 10, file, first=1)
    images = _load(file, "X")
    for start in range(0, count, PIECE):
        piece = images[..., start : start + PIECE].transpose(3, 2, 0, 1)
        writer.append(split, piece, labels[start : start + PIECE].astype(np.int64) - 1)
        advance(len(piece))


def _load(file: Path, name: str) -> NDArray[Any]:
    import scipy.io

    with _reading(file) as opened:
        value = scipy.io.loadmat(opened, variable_names=[name])[name]
        if not isinstance(value, np.ndarray):
            raise ValueError(value)
    return value


@contextmanager
def _reading(file: Path) -> Iterator[BinaryIO]:
    """Open `file` for scipy, which raises nearly every kind of exception where a file is damaged."""
    try:
        with file.open("rb") as opened:
            yield opened
    except MemoryError:
        raise
    except Exception as error:
        raise DataError(
            f"{file} can't be read ({type(error).__name__}: {error}): if it is cut short or damaged, delete it and get "
            f"it again"
        ) from error
