"""The JSON skeleton of a state tree, read strictly: it may come from anybody."""

from __future__ import annotations

import json
from typing import Any, NoReturn

LONGEST = 2**24
"""Characters of a skeleton, at most: what it decodes to takes some twenty times as many bytes."""


def parse_skeleton(text: str) -> Any:
    """Parse a skeleton, in which each object has one key and each number is finite.

    Raises
    ------
    ValueError
        It isn't such JSON, or is longer than `LONGEST`.
    RecursionError
        It is nested deeper than Python's stack allows.
    """
    if len(text) > LONGEST:
        raise ValueError(f"a skeleton has {len(text):,} characters; {LONGEST:,} are the most")
    return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) != 1:
        raise ValueError("the skeleton has an entry of an unknown kind")
    return dict(pairs)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"the skeleton has the number {constant}")
