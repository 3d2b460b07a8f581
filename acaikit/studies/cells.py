"""The cells of a study's grid: which bindings each stands for, and what its runs are called."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from acaikit.config.resolve import write

LONGEST = 100
"""Letters that the settings have in a run's name at most."""
_PARTS = re.compile(r"\[@\w+\(\)(, @\w+\(\))*\]")


def cells(grid: Mapping[str, Sequence[Any]]) -> list[tuple[str, ...]]:
    """Return the bindings of each combination of the grid's values; of no grid, one that binds nothing."""
    return list(itertools.product(*([f"{name} = {written(value)}" for value in grid[name]] for name in grid)))


def written(value: Any) -> str:
    """Return a value of the grid in gin; a text stands for what it says."""
    return value if isinstance(value, str) else write(value)


def tail(cell: Sequence[str]) -> str:
    """Return what the name of a run says of its cell; it depends on nothing else, so that a run keeps its name.

    A hash stands for what a folder's name can't hold.
    """
    texts = [binding.removeprefix("Experiment.").replace(" = ", "=", 1) for binding in cell]
    named = [_with_names_alone(text) for text in texts]
    plain = [re.sub(r"[^A-Za-z0-9._=+-]+", "_", text).strip("_") for text in named]
    name = ",".join(plain)[:LONGEST].strip("_,")
    digest = f"_{hashlib.sha256(repr(texts).encode()).hexdigest()[:8]}" if name != ",".join(named) else ""
    return f",{name}{digest}" if cell else ""


def _with_names_alone(text: str) -> str:
    """Return ``x=KL+ACAI`` for ``x=[@KL(), @ACAI()]`` and ``x=empty`` for ``x=[]``: a bare word is no value in gin."""
    name, equals, value = text.partition("=")
    if value == "[]":
        return f"{name}=empty"
    return name + equals + ("+".join(re.findall(r"\w+", value)) if _PARTS.fullmatch(value) else value)
