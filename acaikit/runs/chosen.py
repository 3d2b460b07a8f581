"""Which evaluators measure a run, and with which settings."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from acaikit.catalogue import describe
from acaikit.config import Config, build
from acaikit.errors import Note, UserError
from acaikit.evaluators.base import Evaluator
from acaikit.experiment import key_of
from acaikit.registry import OURS, Part, find, parts, unknown


def choose(own: Sequence[Evaluator], asked: Sequence[str], protocol: str | None, given: Config) -> list[Evaluator]:
    """Return the evaluators that are to measure a run.

    Parameters
    ----------
    own : sequence of Evaluator
        The run's own: where one of them is asked for, its settings hold.
    asked : sequence of str
        Keys (``probe``) or registered names (``ProbeAccuracy``); none asks for all of `own`.
    protocol : str, optional
        One of `PROTOCOLS`; left out, each evaluator is taken as it is.
    given : Config
        Bindings of the evaluators' parameters, which stand above all.

    Raises
    ------
    UserError
        If no evaluator has such a name, or it can't be made.
    ConfigError
        If a binding can't be read, or is for none of them.
    """
    settings = _Settings(given)
    chosen: dict[str, Evaluator] = {}
    for part in [_find(name) for name in asked] or [_part_of(evaluator) for evaluator in own]:
        kind = part.load()
        mine = next((evaluator for evaluator in own if type(evaluator) is kind), None)
        evaluator = settings.make(part, mine)
        if protocol is not None and (other := evaluator.under(protocol)) is not evaluator:
            evaluator = settings.make(_part_of(other), other)
        if type(chosen.setdefault(evaluator.key, evaluator)) is not type(evaluator):
            both = f"{type(chosen[evaluator.key]).__name__} and {type(evaluator).__name__}"
            raise UserError(f"{both} have one key, {evaluator.key!r}, by which results are stored: measure them apart")
    settings.check_all_read(chosen.values())
    return list(chosen.values())


def _installed() -> list[Part]:
    return [part for part in parts() if part.kind == "evaluators"]


def _find(name: str) -> Part:
    """Return the evaluator registered as `name`, or whose key is `name`; a key of ours never changes its meaning."""
    if any(f".{part.full_name}".endswith(f".{name}") for part in _installed()):
        return find(name, "evaluators")
    keys = {part: describe(part).key for part in _installed()}
    if name not in keys.values():
        keys |= {part: _imported_key(part) for part, key in keys.items() if key is None}
    having = [part for part, key in keys.items() if key == name]
    if not having:
        known = [key for key in keys.values() if key is not None]
        raise UserError(unknown("no evaluator is called", name, [*known, *(part.name for part in keys)]))
    first, *more = having
    said = " or ".join(f"{part.full_name} (from {part.distribution} {part.version})" for part in more)
    if more and first.distribution != OURS:
        own = f"{first.full_name} (from {first.distribution} {first.version})"
        raise UserError(f"the key {name!r} is ambiguous: say {own} or {said}")
    if more:
        warnings.warn(f"{name} is {first.name} here; for the other of this key say {said}", Note, stacklevel=2)
    return first


def _imported_key(part: Part) -> str | None:
    """Return the key of an evaluator whose source doesn't say it."""
    with suppress(UserError, AttributeError):  # a broken one is none of this command's business
        found: str = part.load().key
        return found
    return None


def _part_of(evaluator: Evaluator) -> Part:
    where = f"{type(evaluator).__module__}:{type(evaluator).__qualname__}"
    for part in _installed():
        if part.entry_point.value == where or _is(part, type(evaluator)):
            return part
    raise UserError(f"{type(evaluator).__name__} ({where}) is no part that a distribution lists")


def _is(part: Part, kind: type) -> bool:
    """Return whether a part is this class, which has been imported; nothing else is imported to find out."""
    with suppress(UserError, AttributeError):
        return part.entry_point.module in sys.modules and part.load() is kind
    return False


class _Settings:
    """Bindings for evaluators and for the parts that these refer to, and which of them were read."""

    def __init__(self, given: Config) -> None:
        self.given = given
        self.read: set[str] = set()

    def make(self, part: Part, like: Evaluator | None) -> Evaluator:
        """Make the evaluator; what no binding gives is as in `like`, where there is one."""
        names = self.given.reachable(part.full_name)
        self.read |= names
        bindings = {key: binding for key, binding in self.given.bindings.items() if binding.subject in names}
        if like is not None and not bindings:
            return like
        made: Evaluator = build(Config(bindings, self.given.sources), part.full_name)
        if not isinstance(made, Evaluator):
            raise UserError(f"{part.name} ({part.entry_point.value}, from {part.distribution}) is no Evaluator")
        key_of(made)
        if like is None:
            return made
        bound = {parameter for _, name, parameter in bindings if name == part.full_name}
        values: dict[str, Any] = {}
        for parameter in inspect.signature(type(made)).parameters:
            chosen = made if parameter in bound else like
            if not hasattr(chosen, parameter):
                raise UserError(
                    f"{part.name} doesn't keep its parameter {parameter} as an attribute of that name, so the "
                    f"run's own settings can't be joined with --set: give all of its settings with --set, or none"
                )
            values[parameter] = getattr(chosen, parameter)
        return type(made)(**values)

    def check_all_read(self, chosen: Iterable[Evaluator]) -> None:
        """Raise `UserError` about bindings that none of the evaluators has read."""
        unread = [b for b in self.given.bindings.values() if b.subject not in self.read]
        if unread:
            kinds = ", ".join(type(evaluator).__name__ for evaluator in chosen)
            said = "\n".join(f"{b.where}: {b.label} is read by none of what is measured ({kinds})" for b in unread)
            raise UserError(said)
