"""A small prepared set: 20 numbered examples of 7 classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from acaikit.data.writer import Writer, write_prepared

X = np.arange(240, dtype=np.uint8).reshape(20, 3, 2, 2)
Y = np.arange(20) % 7


def fill(writer: Writer) -> None:
    writer.notes.classes, writer.notes.class_names = 7, tuple("abcdefg")
    for name, rows in (("train", slice(0, 15)), ("test", slice(15, 20))):
        writer.split(name, len(X[rows]), (3, 2, 2), labels=True)
        writer.append(name, X[rows], Y[rows])


def write_small(path: Path) -> Path:
    write_prepared(path, "made of this", fill)
    return path
