"""What runs are called beside each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from acaikit.report.figures import shorten


def short_names(names: Sequence[str]) -> list[str]:
    """Return what tells the names apart: without the words at the beginning and at the end that all share.

    "digits_acai_16-s0" and "digits_vae_16-s0" become "acai" and "vae". A name that can't be told from another, or that
    nothing would be left of, leaves them all as they are. Words end at "_", "-" and "/".
    """
    ahead, behind = (_shared([re.split(r"([_/-])", name[::way]) for name in names]) for way in (1, -1))
    short = [name[ahead : len(name) - behind] for name in names]
    return [shorten(name) for name in (short if all(short) and len(set(short)) == len(names) > 1 else names)]


def _shared(words: Sequence[Sequence[str]]) -> int:
    """Return the number of characters in the words, and what ends them, with which all begin."""
    same = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))]
    return sum(map(len, same[: len(same) // 2 * 2]))
