"""The registry: parts found through entry points, imported only when they are named.

A part is a class or function that a distribution lists under one of the groups ``acaikit.<kind>``. acaikit's own parts
are listed in its pyproject.toml in the same way. Under ``acaikit.recipes`` a distribution lists packages whose ``.gin``
files are recipes. The environment variable ACAIKIT_PLUGINS, where it is set, names the only distributions beside
acaikit that count, separated by commas; set and empty, there are none.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any

from acaikit.errors import UserError

KINDS = ("encoders", "decoders", "critics", "likelihoods", "regularizers", "datasets", "evaluators", "paths")
ROOTS = "experiments"
RECIPES = "recipes"
_GROUPS = (ROOTS, *KINDS, RECIPES)
_PREFIX = "acaikit."
_ENTRY_POINT_GROUPS = tuple(f"{_PREFIX}{group}" for group in _GROUPS)
OURS = "acaikit"
ONLY = "ACAIKIT_PLUGINS"
"""The environment variable that restricts which distributions count."""
MANY = 12
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
        return full_name(self.distribution, self.kind, self.name)

    def load(self) -> Any:
        """Import the part.

        Raises
        ------
        UserError
            If its module can't be imported or lacks the name (the first cause is chained), or that is no class or
            function.
        """
        said = f"{self.name} ({self.entry_point.value}, from {self.distribution} {self.version})"
        try:
            loaded = self.entry_point.load()
        except (Exception, SystemExit) as error:
            raise UserError(f"{said} can't be imported: {type(error).__name__}: {error}") from error
        if not callable(loaded):
            raise UserError(f"{said} is no class or function: its entry point must be written module:Class")
        return loaded


def full_name(distribution: str, *names: str) -> str:
    """Return ``distribution.names``, the distribution written as an identifier."""
    return ".".join([_normal(distribution).replace("-", "_"), *names])


@cache
def installed() -> tuple[Part, ...]:
    """Return all that any installed distribution lists, whether it counts or not: ours first, then by kind and name."""
    order = {kind: i for i, kind in enumerate(_GROUPS)}
    return tuple(sorted(_scan()[0], key=lambda p: (p.distribution != OURS, order[p.kind], p.distribution, p.name)))


def faults() -> list[str]:
    """Return a line about each distribution that can't be read, is there twice, or lists parts under no group."""
    return _scan()[1]


def _scan() -> tuple[list[Part], list[str]]:
    copies: dict[str, dict[str, list[Part]]] = {}  # of each distribution, by version: there should be one
    folders: dict[str, str] = {}
    unread = []
    for distribution in distributions():
        folder = str(distribution.locate_file(""))
        try:
            points = [point for point in distribution.entry_points if point.group.startswith(_PREFIX)]
            if not points:
                continue
            if not ("Name" in distribution.metadata and "Version" in distribution.metadata):
                raise ValueError("its METADATA gives no name and version")  # or was removed by hand
            name, version = distribution.metadata["Name"], distribution.version
        except Exception as error:  # whatever reading broken files raises
            where = Path(getattr(distribution, "_path", folder)).resolve()
            unread.append(f"{where} can't be read, and what it lists is left out: {type(error).__name__}: {error}")
            continue
        # What is installed twice, in two folders of sys.path, is imported from the first.
        if folders.setdefault(_normal(name), folder) == folder:
            made = {(p.group, p.name): Part(p.group.removeprefix(_PREFIX), p.name, name, version, p) for p in points}
            copies.setdefault(_normal(name), {})[version] = [part for part in made.values() if part.kind in _GROUPS]
            unread += [_no_group(name, group) for group in sorted({p.group for p in points} - {*_ENTRY_POINT_GROUPS})]
    found = []
    for name, by_version in copies.items():
        versions = sorted(by_version, key=lambda text: [int(number) for number in re.findall(r"\d+", text)])
        found += by_version[versions[-1]]
        if len(versions) > 1:
            said = " and ".join(versions)
            unread.append(f"{name} is there twice in {folders[name]}, as {said}: uninstall it and install it again")
    return found, list(dict.fromkeys(unread))


def _no_group(distribution: str, group: str) -> str:
    near = [f"{_PREFIX}{meant}" for meant in nearest(group.removeprefix(_PREFIX), _GROUPS)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"the groups are {', '.join(_ENTRY_POINT_GROUPS)}"
    return f"{distribution} lists parts under {group}, which is no group: {hint}"


def version(distribution: str) -> str | None:
    """Return the version of an installed distribution that lists parts or recipes; None where there is none."""
    versions = {_normal(part.distribution): part.version for part in installed()}
    return versions.get(_normal(distribution))


def counts(distribution: str) -> bool:
    """Return whether ACAIKIT_PLUGINS lets the distribution of this name count."""
    only = os.environ.get(ONLY)
    return only is None or _normal(distribution) in {OURS, *map(_normal, only.split(","))}


def left_out() -> list[str]:
    """Return the distributions, with versions, that ACAIKIT_PLUGINS leaves out."""
    return sorted({f"{part.distribution} {part.version}" for part in installed() if not counts(part.distribution)})


def absent() -> list[str]:
    """Return what ACAIKIT_PLUGINS names and no installed distribution with parts or recipes is called."""
    named = [name.strip() for name in os.environ.get(ONLY, "").split(",")]
    return [name for name in named if name and version(name) is None]


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()


def parts() -> tuple[Part, ...]:
    """Return every part that counts, ours first, then by kind and name."""
    return tuple(part for part in installed() if part.kind != RECIPES and counts(part.distribution))


def recipe_packages() -> tuple[Part, ...]:
    """Return what is listed under ``acaikit.recipes``: each entry point's module is a package that holds recipes."""
    return tuple(part for part in installed() if part.kind == RECIPES and counts(part.distribution))


def find(name: str, kind: str | None = None, home: str | None = None) -> Part:
    """Return the part called `name`: bare (``ACAI``), with its kind (``regularizers.ACAI``) or in full.

    A bare name of acaikit's own never changes its meaning when a plugin is installed. Of others' parts, those of the
    distribution `home` come first.

    Raises
    ------
    UserError
        If there is no such part (the nearest names are listed), two distributions offer it, or ACAIKIT_PLUGINS leaves
        out the one that does.
    """
    pool = [part for part in installed() if part.kind != RECIPES and (kind is None or part.kind == kind)]
    named = [part for part in pool if f".{part.full_name}".endswith(f".{name}")]
    matches = [part for part in named if counts(part.distribution)]
    ours = [part for part in matches if part.distribution == OURS]
    candidates = ours or [part for part in matches if part.distribution == home] or matches
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        offers = " or ".join(f"{part.full_name} (from {part.distribution} {part.version})" for part in candidates)
        raise UserError(f"{name!r} is ambiguous: say {offers}")
    said = f"no {kind[:-1] if kind else 'part'} is called"
    if named:
        raise UserError(
            f"{said} {name!r}: {named[0].distribution} {named[0].version} has one, but {ONLY}={os.environ[ONLY]!r} "
            f"leaves it out"
        )
    known = {part.full_name: shortest_name(part) for part in pool if counts(part.distribution)}
    raise UserError(not_called(said, name, known, f"acaikit list {kind}" if kind in KINDS else "acaikit list"))


def shortest_name(part: Part) -> str:
    """Return the shortest name by which `find` finds a part that counts."""
    for name in (part.name, f"{part.kind}.{part.name}"):
        with suppress(UserError):
            if find(name) == part:
                return name
    return part.full_name


def load(kind: str, name: str) -> Any:
    """Find and import the part of `kind` called `name`; errors as in `find` and `Part.load`."""
    return find(name, kind).load()


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the at most three of the `known` names that `name` may be a misspelling of, the nearest first."""
    folded: dict[str, list[str]] = {}
    for k in known:
        folded.setdefault(k.lower(), []).append(k)
    return [k for near in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6) for k in folded[near]][:3]


def unknown(what: str, name: str, known: Iterable[str], command: str = "") -> str:
    """Return ``what 'name'`` with the nearest of the `known` names; where none is near, with as many as can be read.

    `command` is what lists all of them.
    """
    known = list(known)
    near = nearest(name, known)
    if near:
        return f"{what} {name!r}: did you mean {' or '.join(near)}?"
    return f"{what} {name!r}; known: {listed(known, command)}"


def not_called(what: str, name: str, known: Mapping[str, str], command: str) -> str:
    """Return ``what 'name'`` with what may be meant; `known` are full names, each with the shortest that will do.

    Of those that have its last piece, the full names are given.
    """
    last, bare = name.rpartition(".")[2], {full: full.rpartition(".")[2] for full in known}
    near = [full for full in known if bare[full] == last]
    meant = [] if near else nearest(last, sorted({*bare.values()}))
    near += [known[full] for one in meant for full in known if bare[full] == one]
    if near:
        return f"{what} {name!r}: did you mean {' or '.join(near[:3])}?"
    return unknown(what, name, sorted(known.values()), command)


def listed(names: Sequence[str], command: str = "") -> str:
    """Return as many names as can be read, and how many more there are, which `command` lists."""
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    hint = f" ({command} lists all)" if more and command else ""
    return f"{', '.join(names[:MANY]) or 'none'}{more}{hint}"
