"""What a recipe amounts to: its bindings once includes, precedence, overrides and names are settled."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from acaikit.config.syntax import Binding, Macro, Reference, Where, label
from acaikit.registry import find, parts

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Config:
    """A recipe's bindings under the parts' full names, and the texts they came from.

    Attributes
    ----------
    bindings : dict
        Each binding by (scope, full name, parameter); a macro's by ("", "", name).
    sources : dict of str to str
        The text of the recipe and of every file it includes, by name; the recipe comes first.
    given_up : sequence of (Binding, Binding)
        Each binding that doesn't count, and the one that stands above it: another value of the same parameter, or of
        the only binding that mentioned it.
    every : dict
        All bindings that were read, by key, the highest first.
    home : str or None
        The distribution that brings the recipe: of others' parts, a bare name means its own.
    included : dict of str to Where
        Where each file but the recipe's own is first asked for.
    """

    bindings: Mapping[Key, Binding]
    sources: Mapping[str, str]
    given_up: Sequence[tuple[Binding, Binding]] = ()
    every: Mapping[Key, Sequence[Binding]] = field(default_factory=dict)
    home: str | None = None
    included: Mapping[str, Where] = field(default_factory=dict)

    def reachable(self, name: str) -> set[str]:
        """Return the part called `name` in full, and every part and macro (as ``%name``) that its bindings lead to."""
        found, waiting = {name}, [name]
        while waiting:
            of = waiting.pop()
            values = [binding.value for binding in self.bindings.values() if binding.subject == of]
            new = {other for value in values for other in mentioned(value)} - found
            found |= new
            waiting += new
        return found

    @property
    def resolved(self) -> str:
        """The whole recipe as one gin text: full names, no includes, macros kept, in a fixed order."""
        ordered = sorted(
            self.bindings.values(), key=lambda b: (b.name != "", not b.name.endswith(".Experiment"), b.key)
        )
        lines, group = [], None
        for binding in ordered:
            if group is not None and group != (binding.scope, binding.name):
                lines.append("")
            group = (binding.scope, binding.name)
            lines.append(f"{label(*binding.key)} = {write(binding.value)}")
        return "\n".join(lines) + "\n"


def write(value: Any) -> str:
    """Return `value` as gin writes it."""
    match value:
        case Reference(name, scope, call):
            return f"@{scope}/{name}{'()' * call}" if scope else f"@{name}{'()' * call}"
        case Macro(name):
            return f"%{name}"
        case list():
            return f"[{', '.join(map(write, value))}]"
        case tuple():
            return f"({', '.join(map(write, value))}{',' * (len(value) == 1)})"
        case dict():
            return "{" + ", ".join(f"{write(k)}: {write(v)}" for k, v in value.items()) + "}"
        case float() if math.isinf(value):
            return "1e999" if value > 0 else "-1e999"
        case _:
            return repr(value)


class Difference(NamedTuple):
    """A binding in which two configs differ, and its values as gin writes them."""

    label: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.label}: {self.before} -> {self.after}"


def differences(a: Config, b: Config) -> Iterable[Difference]:
    """Yield every binding in which two configs differ."""
    for key in sorted({*a.bindings, *b.bindings}):
        one, two = (write(c.bindings[key].value) if key in c.bindings else _default(key) for c in (a, b))
        if one != two:
            found = a.bindings.get(key) or b.bindings[key]
            yield Difference(found.label, one, two)


def _default(key: Key) -> str:
    """Return what a parameter is where nothing binds it, as gin writes it."""
    scope, name, parameter = key
    if scope or not name:
        return "(unset)"
    default = inspect.signature(find(name).load()).parameters[parameter].default
    return write(default) if isinstance(default, int | float | str | tuple | None) else "(default)"


def names(config: Config) -> set[str]:
    """Return the full names of every part that the config names: a path may be named by a text, such as 'slerp'."""
    values = [binding.value for binding in config.bindings.values()]
    subjects = {binding.subject for binding in config.bindings.values()}
    found = subjects.union(*map(mentioned, values))
    texts = {f".{leaf}" for value in values for leaf in _leaves(value) if isinstance(leaf, str)}
    paths = {part.full_name for part in parts() if part.kind == "paths"}
    found |= {path for path in paths if f".{path}".endswith(tuple(texts))}
    return {name for name in found if not name.startswith("%")}


def mentioned(value: Any) -> set[str]:
    """Return the parts and macros that stand in a value, macros as ``%name``."""
    return {named.name if isinstance(named, Reference) else f"%{named.name}" for named in mentions(value)}


def mentions(value: Any) -> Iterator[Reference | Macro]:
    """Yield the references and macros that stand in a value."""
    return (leaf for leaf in _leaves(value) if isinstance(leaf, Reference | Macro))


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what stands in a value and holds nothing else."""
    match value:
        case list() | tuple():
            for item in value:
                yield from _leaves(item)
        case dict():
            yield from _leaves([*value.keys(), *value.values()])
        case _:
            yield value
