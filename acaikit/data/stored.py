"""Datasets of fixed examples: prepared once into one file, which is memory-mapped from then on."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator

from acaikit.artifacts.publish import make_folder, remove_stale
from acaikit.data.alone import alone
from acaikit.data.base import Dataset, Shuffled, Split, Stream
from acaikit.data.location import prepared_files, writable
from acaikit.data.prepared import Prepared, open_prepared
from acaikit.data.space import writing
from acaikit.data.writer import Writer, write_prepared
from acaikit.errors import DataError, DataWarning


class Stored(Dataset):
    """A dataset whose examples come from files. Subclasses say what the files are and how they are read.

    Attributes
    ----------
    version : int
        Raised when `fill` makes other examples of the same files: what was prepared before is then made anew, and runs
        that began with it can't go on.
    """

    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def name(self) -> str:
        """What the prepared file's name begins with."""

    @property
    def key(self) -> str:
        """What tells prepared files of one name apart: the path and the parameters that the examples depend on."""
        return ""

    @abstractmethod
    def fingerprint(self) -> str | None:
        """Return the present state of the source files, None where they aren't there.

        A prepared file made from another state is made anew; where the sources are gone, it is used as it is.
        """

    @property
    def state(self) -> str:
        """``prepared``, or what there is to prepare from: ``files there`` or ``missing``."""
        if self.prepared_file is not None:
            return "prepared"
        return "missing" if self.fingerprint() is None else "files there"

    @property
    def digests(self) -> Mapping[str, str]:  # type: ignore[override]
        """A hash of each split's examples and labels."""
        return self.prepared.digests

    def fetch(self) -> None:
        """Get the source files that are missing, or raise `DataError`."""

    @abstractmethod
    def fill(self, writer: Writer) -> None:
        """Read the source files into the splits "train" and, unless `test` is overridden, "test"."""

    def prepare(self) -> None:
        """Get and read the source files, unless that was done before."""
        _ = self.prepared

    @property
    def prepared_file(self) -> Path | None:
        """The prepared file that fits the present sources, if there is one."""
        found, _ = self._look()
        return None if found is None else found.file

    @cached_property
    def prepared(self) -> Prepared:
        """The prepared set; made now, if need be. Two processes that want the same one make it once.

        Its remarks are shown as `DataWarning`, once.

        Raises
        ------
        DataError
            If the sources can't be got or read, or the prepared file can't be written.
        """
        found, _ = self._look()
        prepared = found or self._make()
        for remark in prepared.notes.remarks:
            warnings.warn(remark, DataWarning, stacklevel=4)  # where the method that needs the data is called
        return prepared

    def _look(self) -> tuple[Prepared | None, list[str]]:
        """Return the prepared set that fits the present sources, and what is wrong with files that might have been."""
        faults: list[str] = []
        try:
            fingerprint = self.fingerprint()
            for file in prepared_files(self.name, self.key):
                if not file.exists():
                    continue
                try:
                    found = open_prepared(file)
                except DataError as error:
                    faults.append(str(error))
                else:
                    if found.notes.version != self.version:
                        faults.append(f"{file} was prepared by another version of acaikit")
                    elif fingerprint in (None, found.notes.fingerprint):
                        return found, faults
        except OSError as error:
            raise DataError(f"the files of {self.name} can't be looked at: {error}") from error
        return None, faults

    def _make(self) -> Prepared:
        places = [file.parent for file in prepared_files(self.name, self.key)]
        target = next((f for f in prepared_files(self.name, self.key) if writable(f.parent)), None)
        if target is None:
            raise DataError(
                f"nothing can be written to {' or '.join(map(str, places))}: name a data folder that can be, with "
                f"--data-dir or ACAIKIT_DATA"
            )
        with writing(target):
            make_folder(target.parent)
            with alone(target):
                ready, faults = self._look()
                if ready is not None:
                    return ready
                remove_stale(target.parent, target.name)
                write_prepared(target, self._sources(faults), self.fill, self.version)
                return open_prepared(target)

    def _sources(self, faults: list[str]) -> str:
        """Get the sources and return their fingerprint; say that the prepared files were no help either."""
        try:
            self.fetch()
            fingerprint = self.fingerprint()
            if fingerprint is None:
                raise DataError(f"the source files of {self.name} are missing")
        except DataError as error:
            raise DataError("\n".join([*faults, str(error)])) from error
        return fingerprint

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return batches of the training set, shuffled anew each epoch."""
        return Shuffled(self.prepared.splits["train"], batch_size, generator, device)

    def test(self) -> Split:
        """Return the test set."""
        return self.prepared.splits["test"]
