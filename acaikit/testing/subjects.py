"""What a name stands for, a part or a distribution, and everything there is to check of it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from acaikit.config import Config, build, read_bindings
from acaikit.config.call import parameters_of
from acaikit.errors import UserError
from acaikit.recipes import named
from acaikit.registry import KINDS, ONLY, RECIPES, Part, counts, find, full_name, installed, nearest, unknown
from acaikit.sources import source_file
from acaikit.testing.distribution import faults_of, findings_of
from acaikit.testing.findings import Finding, Verdict, examine, find_out
from acaikit.testing.rules import check_factory, required


@dataclass(frozen=True)
class Subject:
    """A part, or what a distribution has beside its parts.

    Attributes
    ----------
    name, kind : str
        A part's full name and kind; or the distribution's name and "distribution".
    distribution, version : str
        Where it comes from.
    findings : iterator of Finding
        Each rule is checked as its finding is asked for.
    """

    name: str
    kind: str
    distribution: str
    version: str
    findings: Iterator[Finding]


def subjects(name: str, overrides: Sequence[str] = (), data: str | None = None) -> list[Subject]:
    """Return what is to be checked under a name, each with its findings still to come.

    Parameters
    ----------
    name : str
        A part, bare or in full, or a distribution: all its parts and recipes.
    overrides : sequence of str
        Bindings of the parts' parameters, as ``--set`` takes them.
    data : str, optional
        The only kind of data to check on, where a part doesn't bring its own.

    Raises
    ------
    UserError
        If there is no such part or distribution, nothing reads a binding, a part hasn't its parameter, or a parameter
        of the part has no default and is given no value; a part of a distribution then goes without a verdict.
    ConfigError
        If a binding can't be read.
    """
    chosen, members = _named(name)
    settings = _settings(chosen, read_bindings(overrides))
    if not members and (missing := _missing(chosen[0], settings[chosen[0]])):
        raise UserError(missing)
    found = []
    if members:
        one = members[0]
        found.append(Subject(one.distribution, "distribution", one.distribution, one.version, findings_of(members)))
    for part, config in settings.items():
        found.append(Subject(part.full_name, part.kind, part.distribution, part.version, _part(part, config, data)))
    return found


def _named(name: str) -> tuple[list[Part], list[Part]]:
    """Return the parts that a name stands for, and all that its distribution lists where it is one's name."""
    known = [part for part in installed() if part.kind in (*KINDS, RECIPES)]
    parts = [part for part in known if part.kind in KINDS]
    if any(f".{part.full_name}".endswith(f".{name}") for part in parts):
        return [find(name)], []
    members = [part for part in known if full_name(part.distribution) == full_name(name)]
    if not members:
        names = [*(part.name for part in parts), *(part.distribution for part in known)]
        raise UserError(_unknown(name, dict.fromkeys(names)))
    if not counts(name):
        raise UserError(f"{members[0].distribution} is here, but {ONLY}={os.environ[ONLY]!r} leaves it out")
    return [part for part in members if part.kind in KINDS], members


def _unknown(name: str, known: Iterable[str]) -> str:
    if told := faults_of(name):
        return "\n".join(told)
    if name in named() or name.endswith(".gin"):
        return f"{name} is a recipe, and parts and distributions are checked here: try acaikit run {name} --dry-run"
    near = nearest(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else "acaikit list shows what there is"
    return f"no part and no distribution with parts is called {name!r}: {hint}"


def _settings(chosen: Sequence[Part], given: Config) -> dict[Part, Config]:
    """Return the bindings that are for each part, or for what these refer to."""
    reached = {part: given.reachable(part.full_name) for part in chosen}
    unread = [b for b in given.bindings.values() if not any(b.subject in names for names in reached.values())]
    if unread:
        raise UserError("\n".join(f"{b.where}: {b.label} is read by nothing that is checked" for b in unread))
    settings = {}
    for part, names in reached.items():
        bindings = {key: binding for key, binding in given.bindings.items() if binding.subject in names}
        settings[part] = Config(bindings, given.sources)
    misspelled = [said for part, config in settings.items() for said in _misspelled(part, config)]
    if misspelled:
        raise UserError("\n".join(misspelled))
    return settings


def _misspelled(part: Part, config: Config) -> list[str]:
    """Return a line about each binding of a parameter that the part hasn't."""
    bound = {parameter: b for (_, name, parameter), b in config.bindings.items() if name == part.full_name}
    try:
        parameters = parameters_of(part.load()) if bound else {}
    except (UserError, TypeError, ValueError):
        return []  # that is the first finding
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return []
    said = f"{part.name} has no parameter"
    return [f"{b.where}: {unknown(said, name, parameters)}" for name, b in bound.items() if name not in parameters]


def _part(part: Part, config: Config, data: str | None) -> Iterator[Finding]:
    home = _home(part)
    imported = find_out("can be imported", part.load, home)
    yield imported
    if imported.verdict is not Verdict.kept:
        return
    if missing := _missing(part, config):
        yield Finding("can be made", Verdict.skipped, message=missing)
        return
    made: Callable[..., Any] = part.load()
    factory = partial(build, config, part.full_name) if config.bindings else made
    if not inspect.isroutine(made):  # a function makes the part where it is needed, or is a path itself
        can_be_made = find_out("can be made", partial(_make, made, factory), home)
        yield can_be_made
        if can_be_made.verdict is not Verdict.kept:
            return
    yield from examine(part, factory, home, data)


def _make(made: object, factory: Callable[[], Any]) -> None:
    if not isinstance(made, type):
        check_factory(made)
    factory()


def _home(part: Part) -> Path | None:
    """Return the part's file, or the folder of its package where it is defined in ``__init__.py``."""
    if part.entry_point.pattern.match(part.entry_point.value) is None:
        return None
    file = source_file(part.entry_point.module)
    return file.parent if file is not None and file.name == "__init__.py" else file


def _missing(part: Part, config: Config) -> str:
    """Return what to do about parameters that have no default and are given no value; empty where there are none."""
    try:
        needed = required(part.load())
    except UserError:
        return ""  # that is the first finding
    bound = {parameter for _, name, parameter in config.bindings if name == part.full_name}
    missing = [parameter for parameter in needed if parameter not in bound]
    if not missing:
        return ""
    said = " ".join(f'--set "{part.name}.{parameter}=..."' for parameter in missing)
    return f"{part.name} can't be made without its {', '.join(missing)}: give {said}"
