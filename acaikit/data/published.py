"""Published sets: files with known names, sizes and hashes, which are got from their official addresses."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from acaikit.data.fetch import MIRROR, Remote, fetch
from acaikit.data.location import data_dir
from acaikit.data.space import told
from acaikit.data.stored import Stored
from acaikit.data.writer import Writer
from acaikit.errors import DataError


class Published(Stored):
    """A set that was published. Its files lie in a folder of its own in the data folder.

    Attributes
    ----------
    folder : str
        The folder's name, such as "svhn".
    files : tuple of Remote
        The files.
    source : str
        The page that describes the set.
    licence : str
        What its authors say of its use.
    """

    folder: ClassVar[str]
    files: tuple[Remote, ...]
    source: ClassVar[str]
    licence: ClassVar[str]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder

    @property
    def where(self) -> Path:
        """The folder that holds the files."""
        return data_dir() / self.folder

    def found(self) -> Mapping[str, Path]:
        """Return the files that are there, by their published names."""
        there = {remote.name: remote.find(self.where) for remote in self.files}
        return {name: path for name, path in there.items() if path is not None}

    def fingerprint(self) -> str | None:
        """Return names, sizes and times of the files, or None where one is missing."""
        found = self.found()
        if len(found) < len(self.files):
            return None
        stats = {path.name: path.stat() for path in found.values()}
        return json.dumps({name: [s.st_size, s.st_mtime_ns] for name, s in sorted(stats.items())})

    def fetch(self) -> None:
        """Download the files that are missing."""
        missing = [remote for remote in self.files if remote.find(self.where) is None]
        for number, remote in enumerate(missing, 1):
            beside = remote.find(data_dir())
            if beside is not None and (beside.is_dir() or remote.is_published(beside)):
                raise DataError(
                    f"{beside} lies in the data folder itself, but belongs in a folder {self.folder!r} in it: move it "
                    f"to {self.where}, or name the folder above with --data-dir or ACAIKIT_DATA"
                )
            others = ", ".join(f"{other.name} ({told(other.size)})" for other in missing[number:])
            fetch(remote, self.where, self.help(remote) + (f". Missing as well: {others}" if others else ""))

    def help(self, remote: Remote) -> str:
        """Return what to do where a file can't be downloaded."""
        return (
            f"Get {remote.name} on another machine or in a browser (see {self.source}) and put it in {self.where}, or "
            f"name the folder that holds the folder {self.folder!r} with --data-dir or ACAIKIT_DATA, or a mirror with "
            f"{MIRROR}"
        )

    def fill(self, writer: Writer) -> None:
        """Read the files, and remark on those whose content can't be vouched for."""
        found = self.found()
        writer.notes.classes, writer.notes.class_names = self.classes, self.class_names
        self.read(found, writer)
        writer.notes.remarks = tuple(
            f"{found[remote.name]} is not the published {remote.name} byte for byte, so nothing vouches for its "
            f"content; its format and counts are right, and it is used"
            for remote in self.files
            if remote.content is None and not remote.is_published(found[remote.name])
        )

    @abstractmethod
    def read(self, files: Mapping[str, Path], writer: Writer) -> None:
        """Read the files, given by their published names, into the splits.

        Raises
        ------
        DataError
            If a file is not what it should be; the message says which and how.
        """


def check_labels(labels: NDArray[Any], classes: int, file: Path | str, first: int = 0) -> None:
    """Raise `DataError` unless every label read from `file` is one of the `classes` whole numbers from `first` on."""
    last = first + classes - 1
    wrong = np.flatnonzero((labels < first) | (labels > last))
    if len(wrong):
        raise DataError(
            f"{file} has the label {labels[wrong[0]]} at position {wrong[0]}, but labels are {first} to {last}: "
            f"delete it and get it again"
        )
