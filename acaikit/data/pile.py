"""Piles of image files: in a folder, or in a zip, which is not extracted."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from acaikit.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg")
"""What the names of image files end in, in any case."""
OTHERS = (".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".heic", ".jp2")
"""What the names of other image files end in, which are passed over."""


class BadImage(DataError):
    """An image can't be used; the message says why, not which."""


class Pile(ABC):
    """Image files under one path.

    Attributes
    ----------
    path : Path
        The folder or the zip.
    names : list of str
        The images' names, relative to it and with ``/`` between their parts, sorted part by part.
    passed_over : list of str
        Image files of other kinds.
    """

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        found = sorted(names, key=lambda name: name.split("/"))
        self.path = path
        self.names = [name for name in found if name.lower().endswith(SUFFIXES)]
        self.passed_over = [name for name in found if name.lower().endswith(OTHERS)]

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of the file `name`, or raise `BadImage`; several threads may call it at once."""


class _Folder(Pile):
    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise BadImage(error.strerror or str(error)) from error


class _Zip(Pile):
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        entries = {_parts(entry.filename): entry for entry in archive.infolist() if not entry.is_dir()}
        entries = {parts: entry for parts, entry in entries.items() if _is_image(parts)}
        # Packing a folder puts it around everything in the zip.
        kept = [parts for parts in entries if parts[-1].lower().endswith(SUFFIXES)]
        around = len({parts[0] for parts in kept}) == 1 and all(len(parts) > 1 for parts in kept)
        self.entries = {"/".join(parts[around:] or parts): entry for parts, entry in entries.items()}
        super().__init__(path, self.entries)
        self.archive, self.lock = archive, threading.Lock()

    def read(self, name: str) -> bytes:
        try:
            with self.lock:
                return self.archive.read(self.entries[name])
        except Exception as error:  # a broken zip raises errors of many kinds, those of each compression among them
            raise BadImage(str(error)) from error


@contextmanager
def open_pile(path: Path) -> Iterator[Pile]:
    """List the images in a folder and all its subfolders, or in a zip, which is not extracted.

    Hidden files and folders and ``__MACOSX`` are passed over. Where one folder in a zip holds all of its images, names
    begin below it.

    Raises
    ------
    DataError
        If `path` is neither a folder nor a zip, or can't be read.
    """
    try:
        if path.is_dir():
            yield _Folder(path, [name for name, _ in _walk(path)])
            return
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is neither a folder nor a zip that can be read ({error}): get it again") from error
    except (OSError, NotImplementedError) as error:
        raise DataError(f"{path} can't be read: {error}") from error
    with archive:
        yield _Zip(path, archive)


def state(path: Path) -> str | None:
    """Return what tells whether a pile has changed: the size and time of the zip, or of every image in the folder.

    Returns
    -------
    str or None
        None where there is nothing at `path`.

    Raises
    ------
    DataError
        If a folder can't be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            return json.dumps([found.st_size, found.st_mtime_ns])
        files = sorted((name, file.st_size, file.st_mtime_ns) for name, file in _walk(path))
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}") from error


def _walk(
    folder: Path, inside: tuple[str, ...] = (), above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield names and stats of the images in `folder`; links are followed, unless they lead back up."""
    found = folder.stat()
    here = (found.st_dev, found.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            parts = (*inside, entry.name)
            if entry.is_dir():
                if not _is_hidden(entry.name):
                    yield from _walk(folder / entry.name, parts, above | {here})
            elif _is_image(parts):
                if entry.is_file():
                    yield "/".join(parts), entry.stat()
                elif entry.is_symlink():  # to nothing: an image that can't be read
                    yield "/".join(parts), entry.stat(follow_symlinks=False)


def _parts(name: str) -> tuple[str, ...]:
    """Return the parts of a zip's entry's name. Some programs write Windows' separators."""
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _is_image(parts: tuple[str, ...]) -> bool:
    return parts != () and parts[-1].lower().endswith(SUFFIXES + OTHERS) and not any(map(_is_hidden, parts))


def _is_hidden(part: str) -> bool:
    return part == "__MACOSX" or (part.startswith(".") and part != "..")


def said(name: str) -> str:
    """Return a file's name as text that can be printed, whatever bytes it holds."""
    return name.encode(errors="backslashreplace").decode()
