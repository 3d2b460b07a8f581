"""A dataset's files, looked at byte by byte: whether they are what was published, and what was prepared from them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import BinaryIO, cast

import torch

from acaikit.data.base import Dataset, Split
from acaikit.data.fetch import Remote
from acaikit.data.location import prepared_files
from acaikit.data.prepared import PIECE, changed_splits, open_prepared
from acaikit.data.published import Published
from acaikit.data.space import told
from acaikit.data.stored import Stored
from acaikit.errors import DataError


@dataclass(frozen=True)
class Finding:
    """What a look at one file showed.

    Attributes
    ----------
    what : str
        The file.
    verdict : str
        How it is.
    wrong : bool
        Whether something must be done about it.
    """

    what: str
    verdict: str
    wrong: bool = False


@dataclass(frozen=True)
class Checked:
    """What a look at all of a dataset's files showed.

    Attributes
    ----------
    findings : sequence of Finding
        One for each file; none where a dataset needs no files.
    splits : mapping of str to Split
        What the prepared file holds.
    classes : sequence of str
        What its classes are called, by number.
    """

    findings: Sequence[Finding]
    splits: Mapping[str, Split] = field(default_factory=dict)
    classes: Sequence[str] = ()

    @property
    def wrong(self) -> bool:
        """Whether anything is."""
        return any(finding.wrong for finding in self.findings)

    def counts(self, split: str) -> list[int]:
        """Return how many examples of each class a split holds; empty where there are no labels."""
        labels = self.splits[split].labels
        if labels is None:
            return []
        inside = labels[(labels >= 0) & (labels < len(self.classes))]
        return torch.bincount(inside, minlength=len(self.classes)).tolist()


def check(dataset: Dataset) -> Checked:
    """Look at every file of a dataset, and at the prepared file; nothing is got, made or changed."""
    if not isinstance(dataset, Stored):
        return Checked([])
    ready = dataset.prepared_file is not None
    if isinstance(dataset, Published):
        findings = [_looked_at(remote, dataset.where, ready) for remote in dataset.files]
    else:
        there = dataset.fingerprint() is not None
        findings = [
            Finding(f"what {type(dataset).__name__} reads", "there" if there else _gone(ready), not (there or ready))
        ]
    prepared = [path for path in prepared_files(dataset.name, dataset.key) if path.exists()]
    for path in prepared:
        findings.append(_prepared(path, dataset))
    if not prepared:
        findings.append(Finding(str(prepared_files(dataset.name, dataset.key)[0]), "not made yet"))
    if dataset.prepared_file is None:
        return Checked(findings)
    opened = open_prepared(dataset.prepared_file)
    names = opened.notes.class_names or [str(i) for i in range(opened.notes.classes or 0)]
    return Checked(findings, training_first(opened.splits), names)


def training_first(splits: Mapping[str, Split]) -> dict[str, Split]:
    """Return `splits` in the order in which people think of them."""
    return dict(sorted(splits.items(), key=lambda item: (item[0] != "train", item[0])))


def _gone(ready: bool) -> str:
    return "missing, but the prepared file stands for it" if ready else "missing"


def _looked_at(remote: Remote, folder: Path, ready: bool) -> Finding:
    try:
        return _published(remote, folder, ready)
    except OSError as error:
        return Finding(str(folder / remote.name), f"can't be read: {error.strerror}", True)


def _published(remote: Remote, folder: Path, ready: bool) -> Finding:
    """Say whether a file is what was published."""
    path = remote.find(folder)
    if path is None:
        part = folder / f"{remote.name}.part"
        began = f"; {told(part.stat().st_size)} of {told(remote.size)} have come" if part.exists() else ""
        return Finding(str(folder / remote.name), _gone(ready) + began, not ready)
    if remote.is_published(path):
        return Finding(str(path), "as published")
    if path.is_dir() or (path.name != remote.name and remote.content is None):
        return Finding(str(path), "unpacked, so there is nothing to compare it with")
    if remote.content is not None:
        if _content(path) == remote.content:
            unpacked = path.name != remote.name
            return Finding(str(path), f"as published, {'unpacked' if unpacked else 'packed anew'}")
        return Finding(str(path), "its content is not what was published: delete it and fetch it again", True)
    return Finding(str(path), "not the published file: delete it and fetch it again, unless you know better", True)


def _content(path: Path) -> str | None:
    """Return the MD5 of a file's content, unpacked; None where it can't be read."""
    found = md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with cast("BinaryIO", gzip.open(path) if packed else path.open("rb")) as file:
            while piece := file.read(PIECE):
                found.update(piece)
    except (OSError, EOFError, zlib.error):
        return None
    return found.hexdigest()


def _prepared(path: Path, dataset: Stored) -> Finding:
    """Say whether a prepared file is what was written, and from the files that are there."""
    try:
        opened = open_prepared(path)
        changed = changed_splits(path)
    except (DataError, OSError, KeyError) as error:
        said = str(error).removeprefix(f"{path} is ")
        return Finding(str(path), f"{said}: delete it, and it is made anew", True)
    if changed:
        said = " and ".join(changed)
        return Finding(str(path), f"the {said} examples have changed since they were written: delete it", True)
    if opened.notes.version != dataset.version:
        return Finding(str(path), "made by another version of acaikit: it will be made anew when it is needed")
    if dataset.fingerprint() not in (None, opened.notes.fingerprint):
        return Finding(str(path), "made from other files than those there: it will be made anew when it is needed")
    for name, split in opened.splits.items():
        wanted = dataset.counts.get(name, len(split))
        if len(split) != wanted:
            return Finding(str(path), f"{len(split):,} {name} examples where {wanted:,} should be: delete it", True)
    return Finding(str(path), "as it was written, from these files" if dataset.fingerprint() else "as it was written")
