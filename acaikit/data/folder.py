"""A user's own images: a folder of files, or a zip of one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acaikit import checks
from acaikit.data.held_out import held_out
from acaikit.data.image_store import named, store
from acaikit.data.images import FITS, Pixels, decode, fit, pixels
from acaikit.data.location import expand
from acaikit.data.pile import SUFFIXES, Pile, open_pile, said, state
from acaikit.data.stored import Stored
from acaikit.data.writer import Writer
from acaikit.errors import DataError, UserError

SPLITS = ("train", "test")
ENDINGS = ", ".join(SUFFIXES[:-1]) + f" or {SUFFIXES[-1]}"
CORRUPT = ("skip", "fail")


class ImageFolder(Stored):
    """The .png, .jpg and .jpeg files of a folder or a zip, with one subfolder per class, or none.

    Labels follow the sorted names of the classes; what lies deeper in a class's folder belongs to it. With only one
    class there are no labels. Where there are two folders ``train`` and ``test`` (in any case), these are the splits,
    the classes are the subfolders of ``train``, and images beside the two are left out. Otherwise a share of the images
    is held out. A zip is not extracted; where one folder in it holds everything, that is taken for the zip.

    Images are turned as their EXIF orientation says; of an animation the first frame is taken. Where they are resized,
    it is by Pillow's bicubic filter, which averages over what it shrinks.

    Parameters
    ----------
    path : str or path
        The folder or the zip. ``~`` is the home folder; a relative path starts at the working directory.
    size : int or pair of int
        The images' side in pixels, or their height and width.
    colors : int
        3 for RGB, 1 for grey.
    fit : str
        How images come by their size. "exact": they must have it. "crop": resized until they cover it, and the centre
        is kept. "pad": resized until they fit into it, and centred on the background. "stretch": both sides resized.
    background : int
        The grey level, 0 to 255, behind what is transparent and around what is padded.
    test : float
        The share of the images that is held out where there is no ``test`` folder, above 0 and below 1: drawn at
        random, the same in every run.
    corrupt : str
        What to do with images that can't be read: "skip" leaves them out, with a warning; "fail" stops at the first.

    Raises
    ------
    UserError
        If a parameter is none of these. What is wrong with the images is a `DataError` once they are read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: int | tuple[int, int] = 32,
        colors: int = 3,
        fit: str = "exact",
        background: int = 0,
        test: float = 0.1,
        corrupt: str = "skip",
    ) -> None:
        self.path, self.size = _path(path), _size(size)
        if colors not in (1, 3) or not isinstance(colors, int) or isinstance(colors, bool):
            raise UserError(f"ImageFolder.colors must be 1 (grey) or 3 (RGB), not {checks.said(colors)}")
        _one_of("fit", fit, FITS)
        checks.whole("ImageFolder.background", background, at_least=0)
        if background > 255:
            raise UserError(f"ImageFolder.background must be a grey level, 0 to 255, not {background}")
        checks.share("ImageFolder.test", test, one=False)
        _one_of("corrupt", corrupt, CORRUPT)
        self.fit, self.background, self.share, self.corrupt = fit, background, test, corrupt
        self.shape = (colors, *self.size)

    @property
    def name(self) -> str:
        """``images``."""
        return "images"

    @property
    def key(self) -> str:
        """The absolute path, and every parameter."""
        return json.dumps([str(self.path), self.shape, self.fit, self.background, self.share, self.corrupt])

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The classes' names, sorted; empty where there are no labels. Found by listing the files."""
        if state(self.path) is None:
            return self.prepared.notes.class_names
        with open_pile(self.path) as pile:
            return self._arranged(pile).classes

    @cached_property
    def classes(self) -> int | None:  # type: ignore[override]
        """Number of classes, or None where there are no labels or only one class."""
        return len(self.class_names) or None

    def fingerprint(self) -> str | None:
        """Return the size and time of the zip, or a hash of every image's name, size and time; None if it's missing."""
        return state(self.path)

    def fetch(self) -> None:
        """Raise `DataError` unless there is something at the path."""
        if self.fingerprint() is None:
            raise DataError(f"{self.path} (ImageFolder.path) is missing: give the path of a folder or a zip of images")

    def fill(self, writer: Writer) -> None:
        """Read the images split by split."""
        with open_pile(self.path) as pile:
            arranged = self._arranged(pile)

            def prepare(name: str) -> Pixels:
                return self._pixels(name, pile.read(name))

            bad: dict[str, str] = {}
            for split, (names, labels) in arranged.splits.items():
                skip = self.corrupt == "skip"
                bad |= store(writer, split, names, labels, prepare, self.shape, self.path, skip=skip)
        writer.notes.class_names, writer.notes.classes = arranged.classes, len(arranged.classes) or None
        writer.notes.remarks = tuple(f"{self.path}: {remark}" for remark in arranged.remarks)
        if pile.passed_over:
            over = f"passed over image files that are not {ENDINGS}, {len(pile.passed_over):,} in all"
            writer.notes.remarks += (f"{self.path}: {over}, such as {said(pile.passed_over[0])}",)
        if bad:
            left = f"left out {len(bad):,} of {len(pile.names):,} images, which can't be read"
            writer.notes.remarks += (f"{self.path}: {left}: {named(dict(sorted(bad.items())))}",)

    def _pixels(self, name: str, data: bytes) -> Pixels:
        image = decode(data, self.shape[0], self.background)
        try:
            return pixels(fit(image, self.size, self.fit, self.background))
        except ValueError as error:
            width, height = image.size
            raise DataError(
                f"{said(name)} in {self.path} is {error}, not {self.size[1]} wide and {self.size[0]} high: set "
                f"ImageFolder.fit to 'crop', 'pad' or 'stretch', or, if all images are like it, ImageFolder.size to "
                f"({height}, {width})"
            ) from error

    def _arranged(self, pile: Pile) -> _Arranged:
        try:
            return _arrange(pile.names, self.share)
        except DataError as error:
            raise DataError(f"{self.path} (ImageFolder.path): {error}") from None


@dataclass(frozen=True)
class _Arranged:
    """Which images belong to which split, by name, with their labels where there are any."""

    splits: Mapping[str, tuple[Sequence[str], NDArray[np.int64] | None]]
    classes: tuple[str, ...]
    remarks: tuple[str, ...]


def _arrange(names: Sequence[str], share: float) -> _Arranged:
    """Tell splits and classes from the names of all images; the messages of its `DataError` lack the path."""
    if not names:
        raise DataError(f"there are no images in it, files whose names end in {ENDINGS}")
    tops = {name: name.partition("/")[0].lower() for name in names if "/" in name}
    divided = [split for split in SPLITS if split in tops.values()]
    if not divided:
        owners = _owners(names, inside=0)
        labels, classes, remarks = _labelled(owners)
        chosen = zip(SPLITS, held_out(len(names), share), strict=True)
        splits = {split: ([names[i] for i in rows], None if labels is None else labels[rows]) for split, rows in chosen}
        return _Arranged(splits, classes, remarks)
    if len(divided) == 1:
        (lacking,) = set(SPLITS) - set(divided)
        raise DataError(
            f"it has a folder {divided[0]} but no folder {lacking}: put the {lacking} images in a folder of that name; "
            f"or, to hold out a share, give the path of a folder or a zip that holds the classes themselves; or, if "
            f"{divided[0]} is a class, give its folder another name"
        )
    groups = {split: [name for name in names if tops.get(name) == split] for split in SPLITS}
    by_split = {split: _owners(group, inside=1) for split, group in groups.items()}
    train, test = (by_split[split] for split in SPLITS)
    known = set(train.values())
    for name, owner in test.items():
        if owner not in known:
            of = "in no class's folder" if owner is None else f"of the class {said(owner)}"
            told = ", ".join(sorted("none" if each is None else said(each) for each in known))
            raise DataError(f"{said(name)} is {of}, but the classes of the images in train are: {told}")
    labels, classes, remarks = _labelled(train | test)
    left = [name for name in names if tops.get(name) not in SPLITS]
    if left:
        remarks += (
            f"left out images beside the folders train and test, {len(left):,} in all, such as {said(left[0])}",
        )
    cut = {"train": slice(len(train)), "test": slice(len(train), None)}
    splits = {split: (group, None if labels is None else labels[cut[split]]) for split, group in groups.items()}
    return _Arranged(splits, classes, remarks)


def _owners(names: Sequence[str], inside: int) -> dict[str, str | None]:
    """Return each image's class, the folder that is the part `inside` of its name; all None where none has a folder."""
    parts = {name: name.split("/")[inside:] for name in names}
    loose = [name for name, rest in parts.items() if len(rest) == 1]
    if loose and len(loose) < len(names):
        folder = next(rest[0] for rest in parts.values() if len(rest) > 1)
        raise DataError(
            f"{said(loose[0])} lies beside folders of classes, such as {said(folder)}: put every image into the folder "
            f"of its class, or all of them beside one another"
        )
    return {name: None if loose else rest[0] for name, rest in parts.items()}


def _labelled(owners: Mapping[str, str | None]) -> tuple[NDArray[np.int64] | None, tuple[str, ...], tuple[str, ...]]:
    """Return the labels, int64 ``[N]``, the classes' names, and remarks; None and no names where labels say nothing."""
    classes = sorted({owner for owner in owners.values() if owner is not None})
    if len(classes) == 1:
        remark = f"there is only one class, {said(classes[0])}; labels would say nothing, and are left out"
        return None, (), (remark,)
    if not classes:
        return None, (), ()
    numbers = {name: i for i, name in enumerate(classes)}
    return np.array([numbers[owner] for owner in owners.values() if owner is not None], np.int64), tuple(classes), ()


def _path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike) or str(path) == "":
        raise UserError(
            f"ImageFolder.path must be the path of a folder or a zip of images, not {checks.said(path)}: "
            f"--set \"ImageFolder.path='photos.zip'\""
        )
    return expand("ImageFolder.path", path).absolute()


def _size(size: object) -> tuple[int, int]:
    sides = size if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2:
        raise UserError(f"ImageFolder.size must be a side or (height, width), not {size!r}")
    for side in sides:
        checks.whole("ImageFolder.size", side, at_least=1)
    return sides[0], sides[1]


def _one_of(parameter: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise UserError(
            f"ImageFolder.{parameter} must be one of {', '.join(map(repr, known))}, not {checks.said(value)}"
        )
