"""Calling a part, and once more without what it refuses, so that one report names all that it refuses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from typing import Any

from acaikit.config.syntax import Binding
from acaikit.errors import UserError

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@cache
def parameters_of(target: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a part by name."""
    return inspect.signature(target).parameters


def required(target: Any) -> set[str]:
    """Return the parameters that have no default."""
    return {p.name for p in parameters_of(target).values() if p.default is p.empty and p.kind in NAMED}


class Failed(Exception):
    """A part that was handed over unmade can't be made; its fault has been noted."""


def call(
    target: partial[Any],
    arguments: Mapping[str, Any],
    bound: Mapping[str, Binding],
    doubtful: Collection[str],
    refuse: Callable[[Binding, str], None],
) -> tuple[Any, bool]:
    """Call a part; where it refuses a value, again without that, until it refuses none.

    Parameters
    ----------
    target : functools.partial
        The part's class or function.
    arguments : dict of str to object
        What it is given.
    bound : dict of str to Binding
        The bindings that the arguments come from.
    doubtful : collection of str
        Arguments that are known not to be as they are meant: what the part has against them is no fault.
    refuse : callable
        Takes each binding that is refused, and why.

    Returns
    -------
    (object, bool)
        What was made, None where that is impossible, and whether it was made of all that was given.

    Raises
    ------
    UserError
        If the part refuses something, and it can't be told what.
    """
    # An object that is called in place of a class has no name of its own.
    short, needed = getattr(target.func, "__name__", type(target.func).__name__), required(target.func)
    given, doubts = dict(arguments), set(doubtful)
    while True:
        try:
            return target(**given), len(given) == len(arguments)
        except Failed:
            return None, False
        except UserError as error:
            guilty = _named(str(error), short, [*bound, *doubts])
            if not guilty and not doubts:
                raise
            if guilty and not doubts.intersection(guilty):
                refuse(bound[guilty[0]], str(error))
                doubts.add(guilty[0])
        except Exception as error:
            guilty = []  # whatever happens to a part that is given None where it expects something
            if not doubts:
                if not isinstance(error, TypeError | ValueError):
                    raise
                said = ", ".join(f"{p} = {b.where}" for p, b in bound.items())
                raise UserError(f"{short} refuses its values ({said or 'all defaults'}): {error}") from error
        left = [p for p in guilty if p in given and p not in needed]
        if not left:
            return None, False
        mended = next((p for p in left if p in doubts), left[0])
        del given[mended]
        doubts.add(mended)


def _named(message: str, part: str, parameters: Collection[str]) -> list[str]:
    """Return the parameters that a message names, the first one first; with the part's name before them if it does."""
    for before in (rf"\b{re.escape(part)}", ""):
        at = {p: found.start() for p in parameters if (found := re.search(rf"{before}\.{re.escape(p)}\b", message))}
        if at:
            return sorted(at, key=at.__getitem__)
    return []
