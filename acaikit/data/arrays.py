"""A user's own arrays: vectors, sequences or images, with or without labels, in an .npz or HDF5 file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from functools import cached_property
from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acaikit import checks
from acaikit.data.array_file import ENDINGS, Array, ArrayFile, open_arrays
from acaikit.data.held_out import held_out
from acaikit.data.labels import read_labels
from acaikit.data.layout import LAYOUTS, find_layout, laid_out
from acaikit.data.location import expand
from acaikit.data.prepared import PIECE
from acaikit.data.scale import Scale
from acaikit.data.stored import Stored
from acaikit.data.writer import Writer
from acaikit.errors import DataError, UserError
from acaikit.progress import progress
from acaikit.types import Shape


class Arrays(Stored):
    """Arrays of your own: vectors, sequences or images, and their labels, in an .npz or HDF5 file.

    The file is read once; an HDF5 file in pieces, so that it may be larger than memory.

    ``x`` ``[N, ...]`` holds floats in [-1, 1], uint8 pixels (2 v / 255 - 1), or, with `limits`, any floats, integers or
    bools. ``y`` ``[N]`` or ``[N, 1]`` holds integers 0 to K - 1, of which none is left out; labels that are all the
    same are dropped. ``x_test`` and ``y_test`` are the test set; without them a share of the examples is held out.

    Parameters
    ----------
    path : str or path
        The file: .npz, .h5 or .hdf5. ``~`` is the home folder; a relative path starts at the working directory.
    limits : pair of float, optional
        The values of ``x`` that become -1 and 1. The others lie between them.
    layout : str, optional
        The order of one example's axes: "D" for vectors; "CL" or "L" for sequences; "CHW", "HWC" or "HW" for images.
        Left out, 2 axes of ``x`` are "D" and 4 are "CHW".
    test : float
        The share of the examples that is held out where there is no ``x_test``, above 0 and below 1: drawn at random,
        the same in every run.

    Raises
    ------
    UserError
        If a parameter is none of these. What is wrong with the file is a `DataError` once it is read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        limits: tuple[float, float] | None = None,
        layout: str | None = None,
        test: float = 0.1,
    ) -> None:
        self.file = _file(path)
        self.limits = None if limits is None else _limits(limits)
        if layout is not None and (not isinstance(layout, str) or layout not in LAYOUTS):
            raise UserError(f"Arrays.layout must be one of {', '.join(map(repr, LAYOUTS))}, not {checks.said(layout)}")
        checks.share("Arrays.test", test, one=False)
        self.layout, self.share = layout, test

    @property
    def name(self) -> str:
        """``arrays``."""
        return "arrays"

    @property
    def key(self) -> str:
        """The file's absolute path, and every parameter."""
        return json.dumps([str(self.file), self.limits, self.layout, self.share])

    @cached_property
    def shape(self) -> Shape:  # type: ignore[override]
        """One example's shape."""
        return tuple(self.prepared.splits["train"].data.shape[1:])

    @cached_property
    def classes(self) -> int | None:  # type: ignore[override]
        """Number of classes, or None where there are no labels or only one class."""
        return self.prepared.notes.classes

    def fingerprint(self) -> str | None:
        """Return size and time of the file, or None where it isn't there."""
        try:
            found = self.file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise DataError(f"{self.file} (Arrays.path) can't be looked at: {error}") from error
        return json.dumps([found.st_size, found.st_mtime_ns])

    def fetch(self) -> None:
        """Raise `DataError` unless the file is there."""
        if self.fingerprint() is None:
            raise DataError(f"{self.file} (Arrays.path) is missing: give the path of a file with the array x")

    def fill(self, writer: Writer) -> None:
        """Read the arrays, scale them to [-1, 1] and put their axes in order."""
        with open_arrays(self.file) as arrays:
            x, y = _arrays(arrays)
            layout = find_layout(x["train"], self.layout)
            _check_alike(x)
            scale = Scale(list(x.values()), self.limits)
            labels, classes = read_labels(y, {split: len(array) for split, array in x.items()})
            if classes == 1:
                labels = {}
                writer.notes.remarks = (
                    f"the labels in {self.file} are all the same: they say nothing, and are left out",
                )
            elif classes:
                writer.notes.classes = classes
            parts = {split: {split: np.ones(len(array), bool)} for split, array in x.items()}
            if "test" not in x:
                train, test = held_out(len(x["train"]), self.share)
                parts["train"] = {"train": _mask(train, len(x["train"])), "test": _mask(test, len(x["train"]))}
            shape = laid_out(np.empty((1, *x["train"].shape[1:]), np.uint8), layout).shape[1:]
            for split, chosen in (item for part in parts.values() for item in part.items()):
                writer.split(split, int(chosen.sum()), shape, labels=bool(labels), dtype=scale.dtype)
            with progress(f"reading {self.file}", sum(map(len, x.values()))) as advance:
                for source, array in x.items():
                    for start, piece in array.pieces(PIECE):
                        values, here = laid_out(scale(array, start, piece), layout), slice(start, start + len(piece))
                        for split, chosen in parts[source].items():
                            rows = chosen[here]
                            writer.append(split, values[rows], labels[source][here][rows] if labels else None)
                        advance(len(piece))


def _mask(index: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    mask = np.zeros(count, bool)
    mask[index] = True
    return mask


def _arrays(file: ArrayFile) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return examples and labels by split, as far as they are there."""
    known = {name for name in ("x", "y", "x_test", "y_test") if name in file.names}
    needed = {"x"} | {"y" for name in known if "y" in name} | {"x_test" for name in known if "test" in name}
    needed |= {"y_test"} if {"y", "x_test"} <= needed else set()
    if known != needed:
        holds, lacks = ", ".join(file.names) or "nothing", " and ".join(sorted(needed - known))
        raise DataError(
            f"{file.path} holds {holds}, but not {lacks}: x is needed; y too where there are labels; and both again as "
            f"x_test and y_test where there is a test set"
        )
    x, y = (
        {split: file.array(name) for split, name in (("train", kind), ("test", f"{kind}_test")) if name in known}
        for kind in "xy"
    )
    return x, y


def _check_alike(x: Mapping[str, Array]) -> None:
    first = x["train"]
    for array in x.values():
        if 0 in array.shape:
            raise DataError(f"{array.label} is empty: it has the shape {list(array.shape)}")
        if (array.shape[1:], array.dtype) != (first.shape[1:], first.dtype):
            raise DataError(
                f"{array.label} is {array.dtype} of the shape {list(array.shape)}, but x is {first.dtype} of the shape "
                f"{list(first.shape)}: only the number of examples may differ"
            )


def _file(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"Arrays.path must be the path of a file, not {checks.said(path)}")
    file = Path(path)
    if file.suffix.lower() not in ENDINGS:
        how = ": save the array with np.savez('name.npz', x=x)" if file.suffix.lower() == ".npy" else ""
        raise UserError(
            f"Arrays.path must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, not be {str(file)!r}{how}"
        )
    return expand("Arrays.path", file).absolute()


def _limits(limits: object) -> tuple[float, float]:
    if isinstance(limits, list | tuple) and len(limits) == 2 and all(isinstance(v, Real) for v in limits):
        try:
            low, high = map(float, limits)
            if low < high and math.isfinite(high - low):
                return low, high
        except OverflowError:
            pass
    raise UserError(f"Arrays.limits must be two finite numbers, the low one first, such as (0, 255), not {limits!r}")
