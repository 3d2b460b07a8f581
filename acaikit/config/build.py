"""From bindings to objects, by gin's rules of scoping.

``@Part()`` is built with the bindings of ``Part``, overlaid by those of ``scope/Part`` for each prefix of the scope in
force. A reference's own scope (``@scope/Part()``) replaces the one in force while the part is built; a reference
without one inherits it. A part that is handed over unmade (``@Part``), without a scope of its own, is made in the scope
of the part that receives it, whenever that calls it.

A fault doesn't end the building: what is wrong is left out or replaced by what is likely to be meant, so that one
report names all faults. What such a guess leads to is no fault.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from acaikit.config.call import NAMED, Failed, call, parameters_of, required
from acaikit.config.faults import Fault, Gaps, report
from acaikit.config.resolve import Config, Key, write
from acaikit.config.syntax import Binding, Macro, Reference, Where
from acaikit.config.use import Missing, Use, absences
from acaikit.errors import UserError
from acaikit.registry import Part, find, nearest, shortest_name, unknown

REQUIRED = ("gin.REQUIRED", "REQUIRED")
MOST_VALUES = 5_000
"""Values that a recipe amounts to at most, once its macros and references are followed."""


def build(config: Config, root: str = "Experiment") -> Any:
    """Build the root part and, through its bindings, everything it refers to.

    Raises
    ------
    ConfigError
        With every fault found: unknown parameters, missing or refused values, undefined macros, and bindings and macros
        that nothing reads; each with its file and line.
    """
    builder = Builder(config, Gaps())
    built = builder.build(root)
    if builder.faults:
        raise report(builder.faults, config.sources)
    return built


class Builder:
    """Builds the bindings of one config, and collects what is wrong with them.

    Parameters
    ----------
    config : Config
        The bindings.
    gaps : Gaps
        What is known not to be as it is meant.
    load : callable, optional
        Returns a part's class or function; left out, by importing it.
    """

    def __init__(self, config: Config, gaps: Gaps, load: Callable[[Part], Any] | None = None) -> None:
        self.config, self.gaps, self.load = config, gaps, load or _load
        self.faults: list[Fault] = []
        self.use = Use()
        self.of: dict[tuple[str, str], list[Binding]] = defaultdict(list)
        for binding in config.bindings.values():
            self.of[binding.scope, binding.name].append(binding)
        self.macros = {binding.parameter: binding for binding in self.of["", ""]}
        self.doubts = 0
        self.values = 0
        self.visited: set[tuple[Reference | Macro, tuple[str, ...], tuple[str, ...]]] = set()
        self.open_parts: list[tuple[str, tuple[str, ...]]] = []
        self.open_macros: list[str] = []
        self.refused: set[Key] = set()
        self.finished = False

    def build(self, root: str) -> Any:
        """Build a part that nothing refers to, and note what it leaves unread."""
        top = Where(next(iter(self.config.sources), "recipe"), 1)
        built = None
        try:
            with self.faults_at(top):
                built = self.part(find(root).full_name, (), top)
            mentioned = [b for b in self.unread if (b.bare_name or b.parameter) in self.gaps.mentioned]
            self.faults += self.look_into(mentioned)
            self.faults += absences(self.config, self.use, self.gaps)
            told = {fault.where for fault in self.faults}
            found = self.look_into([b for b in self.unread if b.where not in told])
            self.faults += [fault for fault in found if fault.where not in told]
        except RecursionError:
            self.note(top, "its macros or references lead from one to the next too often")
        self.finished = True
        return built

    @property
    def unread(self) -> list[Binding]:
        """The bindings that nothing has read so far."""
        return [b for b in self.config.bindings.values() if b.key not in self.use.read]

    def look_into(self, bindings: Iterable[Binding]) -> list[Fault]:
        """Return what is wrong with bindings that nothing reads because of another fault."""
        faults, missing = len(self.faults), len(self.use.missing)
        for binding in bindings:
            with self.faults_at(binding.where):
                if not binding.name:
                    self.macro(binding.parameter, binding.where)
                elif binding.key not in self.use.read:
                    self.part(binding.name, tuple(filter(None, binding.scope.split("/"))), binding.where)
        del self.use.missing[missing:]  # what refers to these parts may have set the rest
        found = self.faults[faults:]
        del self.faults[faults:]
        return found

    def check_each(self) -> None:
        """Check every binding's parameter and what it refers to, as far as that goes without building."""
        for binding in self.config.bindings.values():
            with self.faults_at(binding.where):
                self.visit(
                    Reference(binding.name, binding.scope, call=True) if binding.name else binding.value,
                    (),
                    (),
                    binding.where,
                )
        self.faults += absences(self.config, self.use, self.gaps)

    @contextmanager
    def faults_at(self, where: Where) -> Iterator[None]:
        """Note the user's mistakes made inside the block, with the line at which they were made."""
        try:
            yield
        except UserError as error:
            self.note(where, str(error))

    def note(self, where: Where, fault: str) -> None:
        """Note a fault; what is made from here on is doubtful."""
        self.doubts += 1
        self.faults.append(Fault(where, fault))

    def part(self, name: str, scope: tuple[str, ...], where: Where, /, *args: Any, **kwargs: Any) -> Any:
        """Build the part called `name` in `scope`, which is referred to at `where`; what is given is not looked up."""
        if (name, scope) in self.open_parts and not (args or kwargs):
            chain = [n.rpartition(".")[2] for n, _ in self.open_parts[self.open_parts.index((name, scope)) :]]
            raise UserError(f"a circle of references: {' needs '.join([*chain, chain[0]])}")
        self.open_parts.append((name, scope))
        try:
            return self.make(name, scope, where, args, kwargs)
        finally:
            self.open_parts.pop()

    def part_later(self, name: str, scope: tuple[str, ...], where: Where, /, *args: Any, **kwargs: Any) -> Any:
        """Build a part that was handed over unmade, perhaps when everything else has long been built."""
        doubts, faults, missing = self.doubts, len(self.faults), len(self.use.missing)
        if self.finished:
            self.values = 0
        made = self.part(name, scope, where, *args, **kwargs)
        if not self.finished:
            if self.doubts > doubts:
                raise Failed
            return made
        found = [*self.faults[faults:], *(m.fault for m in self.use.missing[missing:])]
        if found:
            raise report(found, self.config.sources)
        return made

    def make(
        self, name: str, scope: tuple[str, ...], where: Where, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Build a part that is not being built already."""
        doubts_before = self.doubts
        chosen = self.applying(name, scope)
        try:
            target = self.load(find(name))
        except UserError:
            self.visit([binding.value for binding in chosen.values()], scope, scope, where)
            raise
        parameters = parameters_of(target)
        given = {*list(parameters)[: len(args)], *kwargs}
        meant = self.meant(name, {p: b for p, b in chosen.items() if p not in given}, parameters)
        arguments: dict[str, Any] = {}
        doubtful = set()
        for parameter, binding in meant.items():
            doubts = self.doubts
            with self.faults_at(binding.where):
                if isinstance(binding.value, Macro) and binding.value.name in REQUIRED:
                    said = f"{name.rpartition('.')[2]}.{parameter}"
                    raise UserError(f'{said} is yours to give: in a recipe, or with --set "{said} = ..."')
                arguments[parameter] = self.value(binding.value, scope, binding.where)
            if self.doubts > doubts or binding.key in self.gaps.guessed or parameter != binding.parameter:
                doubtful.add(parameter)
        absent = required(target) - {*meant, *given}
        if absent:
            self.doubts += 1
            if len(meant) == len({*chosen} - given):  # else one of those that are misspelled may be meant
                self.use.missing.append(Missing(where, name, tuple(p for p in parameters if p in absent)))
        arguments |= dict.fromkeys(absent)
        doubtful |= absent | {p for p in parameters if p not in meant and self.gaps.explains(p)}
        made, sound = call(partial(target, *args, **kwargs), arguments, meant, doubtful, self.refuse)
        # Whatever was left out, what has been made is of the kind that is meant.
        self.doubts = doubts_before if made is not None else self.doubts + (not sound)
        return made

    def meant(
        self, name: str, chosen: Mapping[str, Binding], parameters: Mapping[str, inspect.Parameter]
    ) -> dict[str, Binding]:
        """Return bindings by the parameter they set, a misspelled one by the nearest; note the misspelled ones."""
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return dict(chosen)
        known = [p.name for p in parameters.values() if p.kind in NAMED]
        meant = {p: b for p, b in chosen.items() if p in known}
        for parameter, binding in chosen.items():
            if parameter not in known:
                if binding.key not in self.gaps.guessed:
                    short = name.rpartition(".")[2]
                    self.note(binding.where, unknown(f"{short} has no parameter", parameter, known))
                guess = next((near for near in nearest(parameter, known) if near not in meant), None)
                if guess is not None:
                    meant[guess] = binding
                else:
                    self.visit(binding.value, (), (), binding.where)
        return meant

    def refuse(self, binding: Binding, said: str) -> None:
        """Note, once, that a part refuses a binding's value; if it is a macro's, where that is defined."""
        source = binding
        while isinstance(source.value, Macro) and source.value.name in self.macros:
            source = self.macros[source.value.name]
        if source is not binding:
            said += f" ({binding.label} is {write(binding.value)} at {binding.where})"
        if source.key in self.refused and not self.finished:
            self.doubts += 1
        else:
            self.refused.add(source.key)
            self.note(source.where, said)

    def applying(self, name: str, scope: tuple[str, ...]) -> dict[str, Binding]:
        """Return the bindings of a part in force in `scope`, the deepest scope's on top."""
        chosen: dict[str, Binding] = {}
        self.use.parts.add(name)
        for depth in range(len(scope) + 1):
            prefix = "/".join(scope[:depth])
            self.use.scopes.add(prefix)
            for binding in self.of.get((prefix, name), ()):
                if binding.parameter in chosen:
                    self.use.overridden[chosen[binding.parameter].key][binding.key] = binding
                chosen[binding.parameter] = binding
        self.use.read |= {binding.key for binding in chosen.values()}
        return chosen

    def value(self, value: Any, scope: tuple[str, ...], where: Where) -> Any:
        """Evaluate what stands on a binding's right-hand side."""
        self.values += 1
        if self.values > MOST_VALUES:
            if self.values == MOST_VALUES + 1:
                raise UserError(f"with all macros and references followed there are more than {MOST_VALUES:,} values")
            self.doubts += 1
            return None
        match value:
            case Reference(name, own, call):
                receiver = self.open_parts[-1][1] if self.open_parts else ()
                inner = tuple(own.split("/")) if own else scope if call else receiver
                if call:
                    return self.part(name, inner, where)
                self.visit(value, scope, receiver, where)
                return partial(self.part_later, name, inner, where)
            case Macro(name):
                return self.macro(name, where)
            case list() | tuple():
                return type(value)([self.value(v, scope, where) for v in value])
            case dict():
                try:
                    return {self.value(k, scope, where): self.value(v, scope, where) for k, v in value.items()}
                except TypeError as error:
                    raise UserError(f"a dict's key can't be used: {error}") from error
            case _:
                return value

    def macro(self, name: str, where: Where) -> Any:
        """Evaluate what a macro stands for, anew each time."""
        binding = self.definition(name, where)
        if binding is None:
            return None
        if binding.parameter in self.open_macros:
            raise UserError(f"the macro {binding.parameter!r} is defined by itself")
        self.open_macros.append(binding.parameter)
        try:
            with self.faults_at(binding.where):
                return self.value(binding.value, tuple(binding.parameter.split("/")), binding.where)
            return None
        finally:
            self.open_macros.pop()

    def definition(self, macro: str, where: Where) -> Binding | None:
        """Return the binding of a macro; where there is none, that of the nearest one."""
        if macro in REQUIRED:
            raise UserError("a value is required here: set it in your recipe or with --set")
        if macro in self.macros:
            binding = self.macros[macro]
            self.use.read.add(binding.key)
            if binding.key in self.gaps.guessed:
                self.doubts += 1
            return binding
        self.doubts += 1
        self.use.undefined[macro][where] = None
        return next((self.macros[near] for near in nearest(macro, self.macros)), None)

    def visit(self, value: Any, scope: tuple[str, ...], receiver: tuple[str, ...], where: Where) -> None:
        """Note as read what a part that is handed over unmade will read once it is made, and check its parameters."""
        if isinstance(value, Reference | Macro):
            if (value, scope, receiver) in self.visited:
                return
            self.visited.add((value, scope, receiver))
        match value:
            case Reference(name, own, call):
                inner = tuple(own.split("/")) if own else scope if call else receiver
                chosen = self.applying(name, inner)
                for binding in self.meant(name, chosen, parameters_of(self.load(find(name)))).values():
                    with self.faults_at(binding.where):
                        self.visit(binding.value, inner, inner, binding.where)
            case Macro(name):
                defined = self.definition(name, where)
                if defined is not None:
                    with self.faults_at(defined.where):
                        self.visit(defined.value, tuple(defined.parameter.split("/")), receiver, defined.where)
            case list() | tuple():
                for item in value:
                    self.visit(item, scope, receiver, where)
            case dict():
                self.visit([*value.keys(), *value.values()], scope, receiver, where)


def refuse_function(part: Part) -> None:
    """Raise `UserError` for a path that is a function."""
    if part.kind == "paths":
        raise UserError(f"a path is named by a text: write {shortest_name(part)!r} instead of @{part.name}")


def _load(part: Part) -> Any:
    target = part.load()
    if inspect.isfunction(target):
        refuse_function(part)
    return target
