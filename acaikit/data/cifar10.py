"""CIFAR-10 (Krizhevsky 2009), from its binary version: plain bytes, no pickle."""

from __future__ import annotations

import gzip
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

import numpy as np

from acaikit.data.fetch import Remote
from acaikit.data.published import Published, check_labels
from acaikit.data.writer import Writer
from acaikit.errors import DataError

ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
BATCHES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
RECORD = 1 + 3 * 32 * 32
"""Bytes of one example: its label, then the red, green and blue plane, row by row."""


class CIFAR10(Published):
    """50,000 training and 10,000 test photographs of animals and vehicles, 32x32 in colour.

    Read from ``cifar-10-binary.tar.gz`` in the folder ``cifar10`` of the data folder, got from the network where it is
    missing. The unpacked ``cifar-10-binary.tar`` and the folder ``cifar-10-batches-bin`` in it do as well.
    """

    shape = (3, 32, 32)
    classes = 10
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    counts: ClassVar = {"train": 50_000, "test": 10_000}
    folder = "cifar10"
    source = "https://www.cs.toronto.edu/~kriz/cifar.html"
    licence = "not stated; cite Krizhevsky 2009"
    files = (
        Remote(
            ARCHIVE,
            ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
            "c32a1d4ab5d03f1284b67883e8d87530",
            170_052_171,
            ("cifar-10-binary.tar", FOLDER),
        ),
    )

    def fingerprint(self) -> str | None:
        """Return name, size and time of the archive or of the unpacked files, None where there are none."""
        folder = self.found().get(ARCHIVE)
        if folder is None or not folder.is_dir():
            return super().fingerprint()
        # The time of a folder isn't that of the files in it.
        stats = {path.name: path.stat() for path in sorted(folder.iterdir())}
        return json.dumps({name: [s.st_size, s.st_mtime_ns] for name, s in stats.items()})

    def read(self, files: Mapping[str, Path], writer: Writer) -> None:
        """Read the batches of the training set in order, then that of the test set."""
        source = files[ARCHIVE]
        lengths = {name: self.counts[split] // len(names) for split, names in BATCHES.items() for name in names}
        batches = _batches(source, {name: length * RECORD for name, length in lengths.items()})
        for split, names in BATCHES.items():
            writer.split(split, self.counts[split], self.shape, labels=True)
            for name in names:
                records = np.frombuffer(next(batches), np.uint8).reshape(lengths[name], RECORD)
                check_labels(records[:, 0], self.classes, f"{name} in {source}")
                writer.append(split, records[:, 1:].reshape(-1, *self.shape), records[:, 0])
        # What remains is the check of the archive's end.
        next(batches, None)


def _batches(source: Path, sizes: Mapping[str, int]) -> Iterator[bytes]:
    """Yield the content of the files named in `sizes`, in that order, from a folder or an archive of one."""
    try:
        yield from _unpacked(source, sizes) if source.is_dir() else _packed(source, sizes)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{source} can't be read as a whole tar archive, packed with gzip or not, nor as a folder ({error}): "
            f"delete it and get it again"
        ) from error


def _unpacked(folder: Path, sizes: Mapping[str, int]) -> Iterator[bytes]:
    for name, size in sizes.items():
        file = folder / name
        _expect(folder, name, size, file.stat().st_size if file.is_file() else None)
        yield file.read_bytes()


def _packed(archive: Path, sizes: Mapping[str, int]) -> Iterator[bytes]:
    # Nothing is extracted to the disk: members are looked up by name, and whatever else is in there is never touched.
    with _plain(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        members = {member.name.removeprefix("./"): member for member in tar if member.isreg()}
        for name, size in sizes.items():
            member = members.get(f"{FOLDER}/{name}")
            _expect(archive, f"{FOLDER}/{name}", size, None if member is None else member.size)
            yield cast("BinaryIO", tar.extractfile(cast("tarfile.TarInfo", member))).read()
        # gzip's checksum comes last.
        while stream.read(2**20):
            pass


def _plain(archive: Path) -> BinaryIO:
    # Some browsers unpack gzip as they download, and keep the name.
    with archive.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast("BinaryIO", gzip.open(archive) if packed else archive.open("rb"))


def _expect(source: Path, name: str, size: int, found: int | None) -> None:
    if found is None:
        raise DataError(
            f"{source} holds no file {name}: it is not the binary version of CIFAR-10. Delete it and get it again"
        )
    if found != size:
        raise DataError(f"{name} in {source} holds {found} bytes, but {size} are expected: delete it and get it again")
