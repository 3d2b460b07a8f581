"""From a recipe to its bindings: includes, precedence, overrides and names.

Precedence is the order of inclusion and nothing else: a file's own bindings stand above those of the files it includes,
wherever in the file they are. Two files that bind the same parameter to different values, neither of which includes the
other, are an error, unless a file above them settles it.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from acaikit.config.syntax import OVERRIDE, Binding, Include, Macro, Reference, Where, label, parse
from acaikit.errors import ConfigError, UserError
from acaikit.recipes import is_file, locate, recipe_root
from acaikit.registry import find

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
    """

    bindings: Mapping[Key, Binding]
    sources: Mapping[str, str]
    given_up: Sequence[tuple[Binding, Binding]] = ()

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


def read_recipe(recipe: str, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe, everything it includes, and bindings that stand above it.

    Parameters
    ----------
    recipe : str
        A file, or a shipped recipe's name.
    overrides : sequence of str
        Bindings such as ``"ACAI.weight = 1.0"``, as ``--set`` takes them.

    Raises
    ------
    ConfigError
        With every fault found, each with its file and line.
    """
    reader = _Reader()
    reader.file(locate(recipe))
    for text in overrides:
        reader.override(text)
    return reader.settle()


def read_bindings(texts: Sequence[str]) -> Config:
    """Read bindings alone, as ``--set`` takes them, without a recipe.

    Raises
    ------
    ConfigError
        With every fault found.
    """
    reader = _Reader()
    for text in texts:
        reader.override(text)
    return reader.settle()


def read_resolved(text: str, file: str = "resolved") -> Config:
    """Read what `Config.resolved` returned; includes are refused."""
    reader = _Reader()
    reader.text(text, file, folder=None)
    return reader.settle()


class _Reader:
    """Collects bindings and which file includes which, then settles precedence."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.below: dict[str, set[str]] = defaultdict(set)
        self.bindings: dict[Key, list[Binding]] = defaultdict(list)
        self.faults: list[str] = []
        self.stack: list[str] = []
        self.shown: dict[Path, str] = {}

    def file(self, path: Path) -> None:
        resolved = path.resolve()
        name = self.shown.setdefault(resolved, str(path))
        if name in self.stack:
            chain = " includes ".join([*self.stack[self.stack.index(name) :], name])
            raise ConfigError([f"{name}:1: a circle of includes: {chain}"])
        for above in self.stack:
            self.below[above] |= {name} | self.below[name]
        if name in self.sources:
            return
        try:
            content = resolved.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{name}:1: the file can't be read: {error}"]) from error
        self.text(content, name, resolved.parent)

    def text(self, text: str, name: str, folder: Path | None) -> None:
        self.sources[name] = text
        own: dict[Key, Binding] = {}
        self.stack.append(name)
        for statement in parse(text, name):
            if isinstance(statement, Include):
                self._include(statement, folder)
            else:
                self._bind(statement, own)
        self.stack.pop()

    def override(self, text: str) -> None:
        name = f"{OVERRIDE}{text!r}"
        self.below[name] = {file for file in (*self.sources, *self.below) if not file.startswith(OVERRIDE)}
        self.sources[name] = text
        statements = parse(text, name)
        if not statements:
            self.faults.append(f"{name}: there is no binding in it; write for example --set ACAI.weight=1.0")
        for statement in statements:
            if isinstance(statement, Include):
                self.faults.append(f"{statement.where}: a binding is expected, not an include")
            else:
                self._bind(statement, {})

    def _include(self, include: Include, folder: Path | None) -> None:
        if folder is None:
            self.faults.append(f"{include.where}: a resolved recipe has no includes")
            return
        tried = [folder / include.file, recipe_root() / include.file]
        allowed = [folder, recipe_root().resolve()]
        found = next((path for path in tried if is_file(path)), None)
        if found is None:
            self.faults.append(
                f"{include.where}: include {include.file!r} is found neither in {folder} nor in the recipe root"
            )
        elif not any(found.resolve().is_relative_to(root.resolve()) for root in allowed):
            self.faults.append(f"{include.where}: include {include.file!r} lies outside {folder} and the recipe root")
        else:
            self.file(found)

    def _bind(self, binding: Binding, own: dict[Key, Binding]) -> None:
        try:
            full = replace(binding, name=find(binding.name).full_name if binding.name else "")
            full = replace(full, value=_with_full_names(full.value))
        except UserError as error:
            self.faults.append(f"{binding.where}: {error}")
            return
        if full.key in own:
            self.faults.append(
                f"{binding.where}: {binding.label} is bound a second time; the first is {own[full.key].where}"
            )
            return
        own[full.key] = full
        self.bindings[full.key].append(full)

    def settle(self) -> Config:
        settled: dict[Key, Binding] = {}
        given_up: list[tuple[Binding, Binding]] = []
        for key, candidates in self.bindings.items():
            top = [b for b in candidates if not any(self._above(other.where, b.where) for other in candidates)]
            if any(write(b.value) != write(top[0].value) for b in top):
                said = "; ".join(f"{b.where} says {write(b.value)}" for b in top)
                self.faults.append(
                    f"{top[0].where}: {top[0].label} is bound differently in files of equal rank: {said}"
                )
            settled[key] = top[0]
            given_up += [(b, top[0]) for b in candidates if b not in top]
        if self.faults:
            raise ConfigError(self.faults)
        return Config(self._without_orphans(settled, given_up), self.sources, given_up)

    def _without_orphans(
        self, settled: dict[Key, Binding], given_up: list[tuple[Binding, Binding]]
    ) -> dict[Key, Binding]:
        """Leave out what only overridden bindings mention, in files below their winners: one goes with the other."""
        while True:
            wanted = set().union(*(mentioned(b.value) for b in settled.values()))
            orphans = [
                (b, winner)
                for b in settled.values()
                for loser, winner in given_up
                if b.subject in mentioned(loser.value) - wanted and self._above(winner.where, b.where)
            ]
            if not orphans:
                return settled
            given_up += orphans
            settled = {key: b for key, b in settled.items() if all(b is not orphan for orphan, _ in orphans)}

    def _above(self, a: Where, b: Where) -> bool:
        return b.file in self.below[a.file]


def _with_full_names(value: Any) -> Any:
    match value:
        case Reference():
            return replace(value, name=find(value.name).full_name)
        case list() | tuple():
            return type(value)(_with_full_names(v) for v in value)
        case dict():
            return {_with_full_names(k): _with_full_names(v) for k, v in value.items()}
        case _:
            return value


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
    """Return the full names of every part that the config names."""
    subjects = {binding.subject for binding in config.bindings.values()}
    found = subjects.union(*(mentioned(binding.value) for binding in config.bindings.values()))
    return {name for name in found if not name.startswith("%")}


def mentioned(value: Any) -> set[str]:
    """Return the parts and macros that stand in a value, macros as ``%name``."""
    match value:
        case Reference(name):
            return {name}
        case Macro(name):
            return {f"%{name}"}
        case list() | tuple():
            return {name for v in value for name in mentioned(v)}
        case dict():
            return {name for item in value.items() for v in item for name in mentioned(v)}
        case _:
            return set()
