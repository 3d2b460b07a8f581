"""How two recipes differ in what they amount to, however they say it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from acaikit.config.resolve import Config, Difference, differences, names, write
from acaikit.config.syntax import Binding, Macro, Reference
from acaikit.errors import ConfigError
from acaikit.registry import find, shortest_name, unknown

ABSENT = "–"
"""Stands for the value of a parameter of a part that a config doesn't name."""


def differ(a: Config, b: Config) -> list[Difference]:
    """Return what two configs set differently: macros count as what they amount to, unbound parameters as defaults.

    What only one of them names is `ABSENT` in the other.

    Raises
    ------
    ConfigError
        If a binding is of a parameter that its part doesn't have.
    """
    faults = [fault for config in (a, b) for fault in _misnamed(config.bindings.values())]
    if faults:
        raise ConfigError(faults)
    one, two = _without_macros(a), _without_macros(b)
    both = names(a) & names(b)
    found = list(differences(_only(one, both), _only(two, both)))
    for key in sorted({*one.bindings, *two.bindings}):
        if key[1] not in both:
            before, after = (write(c.bindings[key].value) if key in c.bindings else ABSENT for c in (one, two))
            found.append(Difference((one.bindings.get(key) or two.bindings[key]).label, before, after))
    return found


def amount(value: Any, config: Config, inside: tuple[str, ...] = ()) -> Any:
    """Return a value with macros replaced and parts under their shortest names; what is not defined stays.

    `inside` are the macros that led to it.

    Raises
    ------
    ConfigError
        If a macro is defined by itself.
    """
    match value:
        case Macro(name) if (definition := config.bindings.get(("", "", name))) is not None:
            if name in inside:
                raise ConfigError([f"{definition.where}: the macro {name!r} is defined by itself"])
            return amount(definition.value, config, (*inside, name))
        case Reference(name, scope, _):
            # A macro's value is made in the scope of the macro's name, which matters where something is bound in it.
            made_in = [macro for macro in inside[-1:] if any(key[0].split("/")[0] == macro for key in config.bindings)]
            return replace(value, name=shortest_name(find(name)), scope=scope or "".join(made_in))
        case list() | tuple():
            return type(value)(amount(item, config, inside) for item in value)
        case dict():
            return {amount(k, config, inside): amount(v, config, inside) for k, v in value.items()}
        case _:
            return value


def signature(part: str) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the parameters of a part that can be bound by name, and whether it takes any other name too."""
    parameters = inspect.signature(find(part).load()).parameters
    named = {name: p for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _misnamed(bindings: Iterable[Binding]) -> list[str]:
    faults = []
    for binding in bindings:
        named, any_name = signature(binding.name) if binding.name else ({}, True)
        if binding.parameter not in named and not any_name:
            what = f"{binding.name.rpartition('.')[2]} has no parameter"
            faults.append(f"{binding.where}: {unknown(what, binding.parameter, named)}")
    return faults


def _without_macros(config: Config) -> Config:
    amounts = {key: replace(b, value=amount(b.value, config)) for key, b in config.bindings.items() if b.name}
    return replace(config, bindings=amounts)


def _only(config: Config, parts: set[str]) -> Config:
    return replace(config, bindings={key: b for key, b in config.bindings.items() if b.name in parts})
