"""What is wrong with a recipe, and what follows from it and is no fault of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from acaikit.config.syntax import Where
from acaikit.errors import ConfigError
from acaikit.registry import nearest

MOST = 100
"""Faults that one report lists at most."""


@dataclass(frozen=True)
class Fault:
    """One fault and its line."""

    where: Where
    said: str

    def __str__(self) -> str:
        return f"{self.where}: {self.said}"


def report(faults: Iterable[Fault], files: Iterable[str]) -> ConfigError:
    """Return the error that tells each of `faults` once, in the order of `files` and of their lines."""
    rank = {file: i for i, file in enumerate(files)}
    ordered = sorted(dict.fromkeys(faults), key=lambda f: (rank.get(f.where.file, len(rank)), f.where.line))
    more = [Fault(fault.where, f"this and {len(ordered) - MOST - 1} more faults") for fault in ordered[MOST : MOST + 1]]
    return ConfigError([str(fault) for fault in ordered[:MOST] + more])


@dataclass
class Gaps:
    """What a recipe with faults leaves open, so that what only follows from a fault is not reported as another one.

    Attributes
    ----------
    bound : set of str
        Names of parameters and macros that statements may have set which could not be read.
    mentioned : set of str
        Bare names of parts and macros that they may have referred to.
    guessed : set of (str, str, str)
        Keys of bindings that stand as they are likely to be meant.
    unknown_part : bool
        Whether a reference may be to any part.
    open : bool
        Whether anything may be missing: a file could not be read.
    """

    bound: set[str] = field(default_factory=set)
    mentioned: set[str] = field(default_factory=set)
    guessed: set[tuple[str, str, str]] = field(default_factory=set)
    unknown_part: bool = False
    open: bool = False

    def explains(self, name: str, otherwise: Collection[str] = ()) -> bool:
        """Return whether this may be why nothing sets what is called `name`, unless `otherwise` is likelier."""
        return self.open or name in self.bound or (not otherwise and bool(nearest(name, self.bound)))
