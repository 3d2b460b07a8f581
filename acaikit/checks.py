"""Checks of a part's arguments: each raises `UserError` with a sentence that names the argument and what would do."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from acaikit.errors import UserError

SIZE = 2**31 - 1
"""The largest size of anything: a product of two still fits 64 bits."""


def whole(name: str, value: object, at_least: int, at_most: int | None = None) -> None:
    """Refuse anything but an int of at least `at_least`, and of at most `at_most` where that is given."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        rounded = isinstance(value, float) and value.is_integer() and value >= at_least
        hint = f": write {int(cast('float', value))}" if rounded else _unquoted(value)
        raise UserError(f"{name} must be a whole number of at least {at_least}, not {said(value)}{hint}")
    if at_most is not None and value > at_most:
        raise UserError(f"{name} must be a whole number of at most {at_most:,}, not {said(value)}")


def number(name: str, value: object, at_least: float, *, strictly: bool = False) -> None:
    """Refuse anything but a finite number of at least `at_least`, or `strictly` above it."""
    least = f"{'above' if strictly else 'of at least'} {at_least:g}"
    _check(name, value, lambda v: v > at_least or (v == at_least and not strictly), least)


def share(name: str, value: object, *, one: bool) -> None:
    """Refuse anything but a number in [0, 1], or in [0, 1) where `one` itself makes no sense."""
    _check(name, value, lambda v: 0 <= v < 1 or (v == 1 and one), f"in [0, 1{']' if one else ')'}")


def instance(name: str, value: object, kind: type) -> None:
    """Refuse anything but an instance of `kind`."""
    if not isinstance(value, kind):
        quoted = isinstance(value, str) and value.isidentifier()
        hint = ": write True or False" if kind is bool else f": a part is written @{value}()" if quoted else ""
        raise UserError(f"{name} must be {_a(kind)}, not {said(value)}{hint}")


def said(value: object) -> str:
    """Return `value` as a message calls it: a literal as it is written, anything else by its type."""
    if isinstance(value, int | float | str | None):
        return repr(value)
    if isinstance(value, type) or (callable(value) and not hasattr(value, "parameters")):
        return "a part that is not made: write @Name() with brackets"
    return _a(type(value))


def _a(kind: type) -> str:
    return f"a{'n' * kind.__name__.startswith(tuple('AEIOaeio'))} {kind.__name__}"


def _unquoted(value: object) -> str:
    """Return how to write what was given as a text, if it is the text of a number."""
    if isinstance(value, str):
        with suppress(ValueError):
            float(value)
            return f": a number is written without quotes, {value.strip()}"
    return ""


def _check(name: str, value: object, accept: Callable[[float], bool], range_: str) -> None:
    finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not finite or not accept(cast("float", value)):
        raise UserError(f"{name} must be a number {range_}, not {said(value)}{_unquoted(value)}")
