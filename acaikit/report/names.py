"""What runs are called, alone and beside each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count, takewhile
from pathlib import Path

from acaikit.errors import UserError
from acaikit.report.figures import shorten


def about(name: str, samples: int) -> str:
    """Return which run this is, and how many training examples it had been shown."""
    return f"{name} · {samples:,} samples"


def names(paths: Sequence[Path]) -> list[str]:
    """Return what run directories are called: by their last folder, and by as many above it as tell all apart.

    Raises
    ------
    UserError
        If two of them are the same directory.
    """
    folders = [path.resolve() for path in paths]
    for path, folder in zip(paths, folders, strict=True):
        if folders.count(folder) > 1:
            raise UserError(f"{path} is given more than once: a figure shows a run once")
    at = ([folder.parts[-depth:] for folder in folders] for depth in count(1))
    return ["/".join(parts) for parts in next(found for found in at if len(set(found)) == len(found))]


def short_names(names: Sequence[str]) -> list[str]:
    """Return what tells the names apart: without the words at the beginning and at the end that all share.

    "digits_acai_16-s0" and "digits_vae_16-s0" become "acai" and "vae". A name that can't be told from another, or that
    nothing would be left of, leaves them all as they are. Words end at "_", "-" and "/". A long name loses its middle,
    unless it would be another's then.
    """
    ahead, behind = (_shared([re.split(r"([_/-])", name[::way]) for name in names]) for way in (1, -1))
    short = [name[ahead : len(name) - behind] for name in names]
    found = short if all(short) and len(set(short)) == len(names) > 1 else list(names)
    shorter = [shorten(name) for name in found]
    return shorter if len(set(shorter)) == len(set(found)) else found


def _shared(words: Sequence[Sequence[str]]) -> int:
    """Return the number of characters in the words, and what ends them, with which all begin."""
    same = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))]
    return sum(map(len, same[: len(same) // 2 * 2]))
