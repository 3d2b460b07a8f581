"""What a check is made of: the rules of a kind of part, in order."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn


class NotConforming(AssertionError):
    """A part breaks a rule; the message says which and what to do."""


class Refused(NotConforming):
    """A part doesn't take the data that it was to be checked on."""


class NotApplicable(Exception):
    """A rule says nothing about a part; the message says why."""


@dataclass(frozen=True)
class Rule:
    """One rule that parts of a kind keep.

    Attributes
    ----------
    title : str
        What a report calls it, as a sentence about the part: "keeps the dtype of the data".
    check : callable
        Takes a factory of parts and what else the kind is checked on; raises `NotConforming`, or `NotApplicable`.
    """

    title: str
    check: Callable[..., None]


def keep(rules: Iterable[Rule], factory: object, *on: object) -> None:
    """Check one rule after the other; the first that is broken raises `NotConforming`."""
    check_factory(factory)
    for rule in rules:
        with suppress(NotApplicable):
            rule.check(factory, *on)


def check_factory(factory: Any) -> None:
    """Raise `NotConforming` unless `factory` can be called to make a part."""
    if isinstance(factory, nn.Module) or not callable(factory):
        raise NotConforming(
            f"an object of type {type(factory).__name__} was given in place of what makes the part: give a class, or a "
            f"function such as lambda: MyPart(weight=1), which makes a new one each time it is called"
        )
    missing = required(factory)
    if missing:
        raise NotConforming(
            f"{factory.__name__} can't be made without its {', '.join(missing)}: give what makes it, "
            f"lambda: {factory.__name__}({', '.join(f'{name}=...' for name in missing)})"
        )


def required(made: Any) -> list[str]:
    """Return the parameters of a class that have no default; none for anything else."""
    try:
        parameters = inspect.signature(made).parameters.values() if isinstance(made, type) else ()
    except ValueError:
        return []  # a class that isn't written in Python
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.default is p.empty and p.kind in named]


def about_dtypes(error: RuntimeError) -> bool:
    """Return whether torch says that two dtypes don't go together; it has no exception of its own for that."""
    return re.search(r"\bd?types?\b", str(error)) is not None


def made_as(part: object, kind: type, home: str) -> None:
    """Raise `NotConforming` unless `part` is of the abstract class `kind`, which authors import from `home`."""
    if not isinstance(part, kind):
        what = kind.__name__.lower()
        raise NotConforming(f"a {type(part).__name__} is no {what}: subclass {home}.{kind.__name__}")
    if isinstance(part, nn.Module) and "_modules" not in vars(part):
        raise NotConforming(f"{type(part).__name__}.__init__ must begin with super().__init__()")
