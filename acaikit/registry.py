"""The registry: parts found through entry points, imported only when they are named.

A part is a class or function that a distribution lists under one of the groups ``acaikit.<kind>``. acaikit's own parts
are listed in its pyproject.toml in the same way.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, distributions
from typing import Any

from acaikit.errors import UserError

KINDS = ("encoders", "decoders", "critics", "likelihoods", "regularizers", "datasets", "evaluators", "paths")
ROOTS = "experiments"
OURS = "acaikit"
MANY = 40
"""Names that a message lists at most."""


@dataclass(frozen=True)
class Part:
    """One entry of the registry; nothing of it has been imported.

    Attributes
    ----------
    kind, name : str
        For example "regularizers" and "ACAI".
    distribution, version : str
        Where the part comes from.
    entry_point : importlib.metadata.EntryPoint
        Where its class or function is defined.
    """

    kind: str
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    @property
    def full_name(self) -> str:
        """The name that no other part has: ``distribution.kind.name``."""
        return f"{self.distribution.replace('-', '_').lower()}.{self.kind}.{self.name}"

    def load(self) -> Any:
        """Import the part.

        Raises
        ------
        UserError
            If its module can't be imported or lacks the name; the first cause is chained.
        """
        try:
            return self.entry_point.load()
        except (Exception, SystemExit) as error:
            raise UserError(
                f"{self.name} ({self.entry_point.value}, from {self.distribution} {self.version}) can't be imported: "
                f"{type(error).__name__}: {error}"
            ) from error


@cache
def parts() -> tuple[Part, ...]:
    """Return every part that any installed distribution lists, ours first, then by kind and name."""
    found: dict[tuple[str, str, str], Part] = {}
    for distribution in distributions():
        for point in distribution.entry_points:
            prefix, _, kind = point.group.partition(".")
            if prefix == "acaikit" and kind in (*KINDS, ROOTS):
                if "Name" not in distribution.metadata:  # the left-overs of one that was removed by hand
                    continue
                name = distribution.metadata["Name"]
                part = Part(kind, point.name, name, distribution.version, point)
                # An editable install can be seen twice on sys.path; the first one is what Python imports.
                found.setdefault((name, kind, point.name), part)
    order = {kind: i for i, kind in enumerate((ROOTS, *KINDS))}
    return tuple(sorted(found.values(), key=lambda p: (p.distribution != OURS, order[p.kind], p.distribution, p.name)))


def find(name: str, kind: str | None = None) -> Part:
    """Return the part called `name`: bare (``ACAI``), with its kind (``regularizers.ACAI``) or in full.

    A bare name of acaikit's own never changes its meaning when a plugin is installed.

    Raises
    ------
    UserError
        If there is no such part (the nearest names are listed), or two distributions offer it.
    """
    pool = [part for part in parts() if kind is None or part.kind == kind]
    matches = [part for part in pool if f".{part.full_name}".endswith(f".{name}")]
    ours = [part for part in matches if part.distribution == OURS]
    candidates = ours or matches
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        offers = " or ".join(f"{part.full_name} (from {part.distribution} {part.version})" for part in candidates)
        raise UserError(f"{name!r} is ambiguous: say {offers}")
    raise UserError(
        unknown(f"no {kind[:-1] if kind else 'part'} is called", name, sorted({part.name for part in pool}))
    )


def load(kind: str, name: str) -> Any:
    """Find and import the part of `kind` called `name`; errors as in `find` and `Part.load`."""
    return find(name, kind).load()


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the at most three of the `known` names that `name` may be a misspelling of, the nearest first."""
    folded = {k.lower(): k for k in known}
    return [folded[k] for k in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6)]


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return ``what 'name'`` with the nearest of the `known` names; where none is near, with as many as can be read."""
    known = list(known)
    near = nearest(name, known)
    if near:
        return f"{what} {name!r}: did you mean {' or '.join(near)}?"
    more = f" and {len(known) - MANY} more" if len(known) > MANY else ""
    return f"{what} {name!r}; known: {', '.join(known[:MANY]) or 'none'}{more}"
