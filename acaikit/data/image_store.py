"""Many images into a prepared file: on several threads, in order, and in little memory."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from acaikit.data.images import Pixels
from acaikit.data.pile import BadImage, said
from acaikit.data.writer import Writer
from acaikit.errors import DataError
from acaikit.progress import progress
from acaikit.types import Shape

WORKERS = min(8, os.cpu_count() or 1)
TASK = 16
"""How many images one thread decodes at a time."""
PIECE = 2**22
"""About how many bytes of pixels are written at a time."""


def store(
    writer: Writer,
    split: str,
    names: Sequence[str],
    labels: NDArray[np.int64] | None,
    prepare: Callable[[str], Pixels],
    shape: Shape,
    path: Path,
    *,
    skip: bool,
) -> dict[str, str]:
    """Write a split: prepare and append images in the order of `names`, on several threads and in little memory.

    Parameters
    ----------
    writer, split : Writer, str
        Where they go.
    names : sequence of str
        What they are called.
    labels : array or None
        Their labels, int64 ``[N]``.
    prepare : callable
        Makes uint8 pixels of `shape` from a name, or raises `BadImage`; several threads call it at once.
    shape : tuple of int
        One example's shape.
    path : Path
        Where they come from, for messages.
    skip : bool
        Whether to leave out bad images.

    Returns
    -------
    dict of str to str
        The images that were left out, and why.

    Raises
    ------
    DataError
        At the first bad image, unless `skip`; or if all are bad. Whatever else `prepare` raises passes through.
    """
    bad: dict[str, str] = {}
    what = f"reading the {split} images in {path}"
    while True:
        rows = [row for row, name in enumerate(names) if name not in bad]
        if not rows:
            first = named(dict(islice(bad.items(), 1)))
            raise DataError(f"none of the {len(bad):,} {split} images in {path} can be used; the first is {first}")
        writer.split(split, len(rows), shape, labels=labels is not None)
        found = _append(writer, split, names, rows, labels, prepare, path, skip, what)
        if not found:
            return bad
        # How many there are must be known before they are written: once more, without the bad ones.
        bad |= found
        what = f"reading the {split} images in {path} again, without {len(bad):,} that can't be used"


def _append(
    writer: Writer,
    split: str,
    names: Sequence[str],
    rows: Sequence[int],
    labels: NDArray[np.int64] | None,
    prepare: Callable[[str], Pixels],
    path: Path,
    skip: bool,
    what: str,
) -> dict[str, str]:
    """Append the images at `rows` until one is bad; return all bad ones."""

    def one(name: str) -> Pixels | BadImage:
        try:
            return prepare(name)
        except BadImage as error:
            return error

    def flush() -> None:
        if made and not bad:
            here = [row for row, _ in made]
            writer.append(split, np.stack([x for _, x in made]), None if labels is None else labels[here])
        made.clear()

    bad: dict[str, str] = {}
    made: list[tuple[int, Pixels]] = []
    with (
        _pillow_warnings(),
        progress(what, len(rows)) as advance,
        closing(_in_order(one, [names[row] for row in rows])) as results,
    ):
        for row, result in zip(rows, results, strict=True):
            if not isinstance(result, BadImage):
                made.append((row, result))
                if len(made) * result.nbytes >= PIECE:
                    flush()
            elif skip:
                bad[names[row]] = str(result)
            else:
                raise DataError(f"{said(names[row])} in {path} can't be used: {result}") from result
            advance(1)
        flush()
    return bad


def _in_order(one: Callable[[str], Pixels | BadImage], names: Sequence[str]) -> Generator[Pixels | BadImage]:
    """Yield ``one(name)`` for each name, made by several threads that run only a little ahead."""

    def some(start: int) -> list[Pixels | BadImage]:
        return [one(name) for name in names[start : start + TASK]]

    ahead: deque[Future[list[Pixels | BadImage]]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for start in range(0, len(names), TASK):
            ahead.append(pool.submit(some, start))
            if len(ahead) > 2 * WORKERS:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


@contextmanager
def _pillow_warnings() -> Iterator[None]:
    """Turn Pillow's warning of a decompression bomb into an error, and hide its others, which say nothing of pixels."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def named(bad: Mapping[str, str], most: int = 5) -> str:
    """Return the first of some bad images with their reasons, and how many more there are."""
    told = ", ".join(f"{said(name)} ({why})" for name, why in islice(bad.items(), most))
    return told + (f" and {len(bad) - most:,} more" if len(bad) > most else "")
