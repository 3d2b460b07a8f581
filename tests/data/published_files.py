"""Writes small files in the formats of the published sets, each from its format's description alone."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def images(count: int, shape: tuple[int, ...] = (3, 32, 32), seed: int = 0) -> Pixels:
    """Noise: no axis can be swapped or turned unnoticed."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write(path: Path, content: bytes) -> Path:
    """Write a file that is newer than the one it replaces, however coarse the file system's clock is."""
    later = path.stat().st_mtime_ns + 10**9 if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if later is not None:
        os.utime(path, ns=(later, later))
    return path


def write_idx(path: Path, array: Pixels) -> Path:
    """Write an IDX file, packed where the name ends in .gz."""
    raw = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    return write(path, gzip.compress(raw) if path.suffix == ".gz" else raw)


def write_mnist(folder: Path, counts: Mapping[str, int], *, ending: str = ".gz", seed: int = 0) -> dict[str, Any]:
    """Write the four files of a set like MNIST; return ``split: (images [N, 28, 28], labels [N])``."""
    content = {}
    for split, name in (("train", "train"), ("test", "t10k")):
        x = images(counts[split], (28, 28), seed)
        y = np.arange(counts[split], dtype=np.uint8)[::-1] % 10
        write_idx(folder / f"{name}-images-idx3-ubyte{ending}", x)
        write_idx(folder / f"{name}-labels-idx1-ubyte{ending}", y)
        content[split] = x, y
    return content


def svhn_axes(x: Pixels) -> Pixels:
    """Return images ``[N, 3, 32, 32]`` as SVHN's files have them: rows, columns, channels, examples."""
    turned = np.empty((32, 32, 3, len(x)), np.uint8)
    for n, image in enumerate(x):
        for channel in range(3):
            turned[:, :, channel, n] = image[channel]
    return turned


def write_svhn_mat(path: Path, x: NDArray[Any] | None, y: NDArray[Any] | None, *, packed: bool = True) -> Path:
    """Write a MATLAB 5 file of X and y as they are given, without the one that is None."""
    variables = {name: value for name, value in (("X", x), ("y", y)) if value is not None}
    content = io.BytesIO()
    scipy.io.savemat(content, variables, do_compression=packed)
    return write(path, content.getvalue())


def cifar_batch(x: Pixels, labels: Pixels) -> bytes:
    """Return a batch file: for each image ``[3, 32, 32]`` its label, then its planes."""
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(x, labels, strict=True))


def write_cifar_tar(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    """Write a tar file, packed where the name ends in .gz, of files (and of what is no file) by their whole names."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, member in members.items():
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(name)
            raw = member if isinstance(member, bytes) else b""
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return write(path, content.getvalue())
