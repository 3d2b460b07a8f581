"""From bindings to objects, by gin's rules of scoping.

``@Part()`` is built with the bindings of ``Part``, overlaid by those of ``scope/Part`` for each prefix of the scope in
force. A reference's own scope (``@scope/Part()``) replaces the one in force while the part is built; a reference
without one inherits it. A part that is handed over unmade (``@Part``), without a scope of its own, is made in the scope
of the part that receives it, whenever that calls it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from acaikit.config.resolve import Config, Key
from acaikit.config.syntax import Binding, Macro, Reference, Where
from acaikit.errors import ConfigError, UserError
from acaikit.registry import find, nearest, unknown

REQUIRED = ("gin.REQUIRED", "REQUIRED")


def build(config: Config, root: str = "Experiment") -> Any:
    """Build the root part and, through its bindings, everything it refers to.

    Raises
    ------
    ConfigError
        With every fault found: unknown parameters, missing or refused values, undefined macros, and bindings and macros
        that nothing reads; each with its file and line.
    """
    builder = _Builder(config)
    top = Where(next(iter(config.sources), "recipe"), 1)
    with builder.faults_at(top):
        try:
            built = builder.part(find(root).full_name, (), top)
        except RecursionError:
            raise UserError("its macros or references lead from one to the next too often") from None
    builder.report_unread()
    builder.finished = True
    if builder.faults:
        raise ConfigError(builder.faults)
    return built


class _Failed(Exception):
    """A fault has been noted; what depends on it can't be built."""


class _Builder:
    def __init__(self, config: Config) -> None:
        self.bindings = config.bindings
        self.read: set[Key] = set()
        self.scopes: set[str] = set()
        self.parts: set[str] = set()
        self.visited: set[tuple[Reference | Macro, tuple[str, ...], tuple[str, ...]]] = set()
        self.open_parts: list[tuple[str, tuple[str, ...]]] = []
        self.overridden: dict[Key, Binding] = {}
        self.faults: list[str] = []
        self.finished = False
        self.open_macros: list[str] = []

    @contextmanager
    def faults_at(self, where: Where) -> Iterator[None]:
        """Note the user's mistakes made inside the block, with the line at which they were made."""
        try:
            yield
        except _Failed:
            pass
        except UserError as error:
            self.note(f"{where}: {error}")

    def note(self, fault: str) -> None:
        if fault not in self.faults:
            self.faults.append(fault)

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
        known = len(self.faults)
        try:
            return self.part(name, scope, where, *args, **kwargs)
        except _Failed:
            if not self.finished:
                raise
            raise ConfigError(self.faults[known:]) from None

    def make(
        self, name: str, scope: tuple[str, ...], where: Where, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        target = find(name).load()
        parameters = inspect.signature(target).parameters
        given = {*list(parameters)[: len(args)], *kwargs}
        chosen = {p: binding for p, binding in self.applying(name, scope).items() if p not in given}
        wrong = self.misnamed(name, chosen, parameters)
        arguments = {}
        for parameter, binding in chosen.items():
            if parameter not in wrong:
                with self.faults_at(binding.where):
                    if isinstance(binding.value, Macro) and binding.value.name in REQUIRED:
                        named = f"{name.rpartition('.')[2]}.{parameter}"
                        raise UserError(f'{named} is yours to give: in a recipe, or with --set "{named} = ..."')
                    arguments[parameter] = self.value(binding.value, scope, binding.where)
        missing = [
            p.name
            for p in parameters.values()
            if p.default is p.empty and p.name not in {*chosen, *given} and p.kind in _NAMED_KINDS
        ]
        if missing:
            short = name.rpartition(".")[2]
            said = ", ".join(f"{short}.{parameter}" for parameter in missing)
            self.note(f"{where}: nothing sets {said}, which ha{'s' if len(missing) == 1 else 've'} no default")
        if missing or len(arguments) < len(chosen):
            raise _Failed
        return self.call(partial(target, *args, **arguments, **kwargs), chosen)

    def misnamed(self, name: str, chosen: dict[str, Binding], parameters: Mapping[str, inspect.Parameter]) -> list[str]:
        """Note the parameters that the part called `name` doesn't have; return them."""
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return []
        wrong = [parameter for parameter in chosen if parameter not in parameters]
        for parameter in wrong:
            what = f"{name.rpartition('.')[2]} has no parameter"
            self.note(f"{chosen[parameter].where}: {unknown(what, parameter, parameters)}")
        return wrong

    def call(self, target: partial[Any], chosen: dict[str, Binding]) -> Any:
        try:
            return target()
        except UserError as error:
            # The message names the parameter; its binding is the line to mend.
            guilty = next((b for p, b in chosen.items() if f".{p}" in str(error)), None)
            if guilty is None:
                raise
            self.note(f"{guilty.where}: {error}")
            raise _Failed from None
        except (TypeError, ValueError) as error:
            said = ", ".join(f"{p} = {b.where}" for p, b in chosen.items())
            raise UserError(f"{target.func.__name__} refuses its values ({said or 'all defaults'}): {error}") from error

    def applying(self, name: str, scope: tuple[str, ...]) -> dict[str, Binding]:
        """Return the bindings of a part in force in `scope`, the deepest scope's on top."""
        chosen: dict[str, Binding] = {}
        self.parts.add(name)
        for depth in range(len(scope) + 1):
            prefix = "/".join(scope[:depth])
            self.scopes.add(prefix)
            for (at, of, parameter), binding in self.bindings.items():
                if (at, of) == (prefix, name):
                    if parameter in chosen:
                        self.overridden[chosen[parameter].key] = binding
                    chosen[parameter] = binding
        self.read |= {binding.key for binding in chosen.values()}
        return chosen

    def value(self, value: Any, scope: tuple[str, ...], where: Where) -> Any:
        """Evaluate what stands on a binding's right-hand side."""
        match value:
            case Reference(name, own, call):
                receiver = self.open_parts[-1][1]
                inner = tuple(own.split("/")) if own else scope if call else receiver
                if call:
                    return self.part(name, inner, where)
                self.visit(value, scope, receiver)
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
        binding = self.definition(name)
        if name in self.open_macros:
            raise UserError(f"the macro {name!r} is defined by itself")
        self.open_macros.append(name)
        try:
            with self.faults_at(binding.where):
                return self.value(binding.value, tuple(name.split("/")), binding.where)
            raise _Failed
        finally:
            self.open_macros.pop()

    def definition(self, macro: str) -> Binding:
        if macro in REQUIRED:
            raise UserError("a value is required here: set it in your recipe or with --set")
        binding = self.bindings.get(("", "", macro))
        if binding is None:
            raise UserError(unknown("no macro is called", macro, [k[2] for k in self.bindings if not k[1]]))
        self.read.add(binding.key)
        return binding

    def visit(self, value: Any, scope: tuple[str, ...], receiver: tuple[str, ...]) -> None:
        """Note as read what a part that is handed over unmade will read once it is made, and check its parameters."""
        if isinstance(value, Reference | Macro):
            if (value, scope, receiver) in self.visited:
                return
            self.visited.add((value, scope, receiver))
        match value:
            case Reference(name, own, call):
                inner = tuple(own.split("/")) if own else scope if call else receiver
                chosen = self.applying(name, inner)
                wrong = self.misnamed(name, chosen, inspect.signature(find(name).load()).parameters)
                for parameter, binding in chosen.items():
                    if parameter not in wrong:
                        with self.faults_at(binding.where):
                            self.visit(binding.value, inner, inner)
            case Macro(name):
                binding = self.definition(name)
                with self.faults_at(binding.where):
                    self.visit(binding.value, tuple(name.split("/")), receiver)
            case list() | tuple():
                for item in value:
                    self.visit(item, scope, receiver)
            case dict():
                self.visit([*value.keys(), *value.values()], scope, receiver)

    def report_unread(self) -> None:
        """Note every binding that nothing read, with the likeliest reason."""
        if self.faults:
            # A part that couldn't be built leaves its bindings unread: saying so would hide the cause.
            return
        for key, binding in self.bindings.items():
            if key not in self.read:
                self.note(f"{binding.where}: {self.why_unread(binding)}")

    def why_unread(self, binding: Binding) -> str:
        scope, name, parameter = binding.key
        said = binding.label
        if not name:
            with suppress(UserError):
                find(parameter)
                return f"{parameter} is a part, and no parameter of it is named: write {parameter}.parameter = ..."
            near = nearest(parameter, [key[2] for key in self.read if not key[1]])
            hint = f"did you mean {' or '.join(near)}?" if near else f"write %{parameter} where it is meant"
            return f"nothing reads the macro {parameter!r}: {hint}"
        if binding.key in self.overridden:
            winner = self.overridden[binding.key]
            return f"nothing reads {said}: {winner.label} overrides it at {winner.where}"
        if scope not in self.scopes:
            return unknown(f"nothing reads {said}: no reference has the scope", scope, sorted(self.scopes - {""}))
        if scope and name in self.parts:
            return f"nothing reads {said}: {name.rpartition('.')[2]} is not built in the scope {scope!r}"
        return f"nothing reads {said}: {name.rpartition('.')[2]} is not part of this experiment"


_NAMED_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
