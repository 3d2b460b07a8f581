"""Why a recipe says what it says: what sets a parameter, and which of several bindings counts."""

from __future__ import annotations

from dataclasses import dataclass

from acaikit.catalogue import describe
from acaikit.config.differ import amount, signature
from acaikit.config.resolve import Config, Key, mentioned, mentions, names, write
from acaikit.config.syntax import OVERRIDE, Binding, Reference, label
from acaikit.errors import UserError
from acaikit.registry import find, nearest, unknown


@dataclass(frozen=True)
class Place:
    """One binding, and what becomes of it.

    Attributes
    ----------
    where, binding : str
        The file and line, and what is written there.
    counts : bool
        Whether it is the one that counts.
    why : str
        The reason.
    """

    where: str
    binding: str
    counts: bool
    why: str


@dataclass(frozen=True)
class Explained:
    """What a parameter or macro amounts to, and why.

    Attributes
    ----------
    name : str
        As it is written: ``ACAI.weight``, ``big/ACAI.weight``, ``depth``.
    value : str or None
        What it amounts to, as gin writes it; None where nothing gives it a value.
    default : str or None
        The class's own; None where it has none, and for a macro.
    used : bool
        Whether the recipe names the part at all, or mentions the macro.
    places : list of Place
        Every binding of it, the highest first.
    macros : list of Explained
        The macros that its value goes through.
    """

    name: str
    value: str | None
    default: str | None
    used: bool
    places: list[Place]
    macros: list[Explained]


def explain(config: Config, name: str) -> list[Explained]:
    """Explain ``Part.parameter``, ``scope/Part.parameter``, a part (all its parameters) or a macro.

    Without a scope, what the scopes of the recipe make of the parameter follows.

    Raises
    ------
    UserError
        If there is no such part, parameter, scope or macro; the nearest are named.
    """
    every = _Every(config)
    if ("", "", name) in config.every:
        return [every.macro(name)]
    scope, part, parameter = _parsed(config, name)
    if scope and scope not in (known := every.scopes()):
        raise UserError(unknown("no reference or binding has the scope", scope, sorted(known)))
    found = []
    for wanted in [parameter] if parameter else signature(part)[0]:
        inner = sorted({s for s, of, p in config.every if (of, p) == (part, wanted) and s})
        found += [every.parameter(s, part, wanted) for s in ([scope] if scope else ["", *inner])]
    return found


class _Every:
    """Every binding that the files of a recipe hold, and what it does there."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.overridden = {(binding.where, binding.key): winner for binding, winner in config.given_up}

    def scopes(self) -> set[str]:
        """Return every scope that a binding, a reference or a macro makes, and those around it."""
        found = {scope for scope, _, _ in self.config.bindings}
        for binding in self.config.bindings.values():
            around = "" if binding.name else binding.parameter  # a macro's value is made in the scope of its name
            found |= {named.scope or around for named in mentions(binding.value) if isinstance(named, Reference)}
        return {"/".join(scope.split("/")[: i + 1]) for scope in found - {""} for i in range(len(scope.split("/")))}

    def macro(self, name: str) -> Explained:
        """Explain a macro."""
        used = any(f"%{name}" in mentioned(binding.value) for binding in self.config.bindings.values())
        return self._explained(name, [("", "", name)], None, used)

    def parameter(self, scope: str, part: str, parameter: str) -> Explained:
        """Explain a parameter of a part in a scope: of the scopes around it, the deepest that binds it counts."""
        parts = scope.split("/") if scope else []
        keys = [("/".join(parts[:depth]), part, parameter) for depth in range(len(parts), -1, -1)]
        name = label(scope, part.rpartition(".")[2], parameter)
        return self._explained(name, keys, _default(part, parameter), part in names(self.config))

    def _explained(self, name: str, keys: list[Key], default: str | None, used: bool) -> Explained:
        chosen = next((self.config.bindings[key] for key in keys if key in self.config.bindings), None)
        every = [binding for key in keys for binding in self.config.every.get(key, ())]
        places = [self._place(binding, chosen, every) for binding in every]
        if chosen is None:
            return Explained(name, default, default, used, places, [])
        macros = sorted(m[1:] for m in mentioned(chosen.value) if m.startswith("%"))
        inner = [self.macro(macro) for macro in macros if ("", "", macro) in self.config.bindings]
        return Explained(name, write(amount(chosen.value, self.config)), default, used, places, inner)

    def _place(self, binding: Binding, chosen: Binding | None, every: list[Binding]) -> Place:
        winner = self.overridden.get((binding.where, binding.key))
        counts = chosen is not None and (binding.where, binding.key) == (chosen.where, chosen.key)
        if counts:
            why = self._why(binding, every)
        elif winner is not None and winner.key != binding.key:
            about = binding.subject.rpartition(".")[2]
            why = f"nothing mentions {about} any more: {winner.label} is overridden at {winner.where}"
        elif winner is not None:
            why = f"{winner.where} stands above it"
        elif chosen is not None and chosen.key != binding.key:
            why = f"{chosen.label} has the deeper scope"
        else:
            why = "says the same"
        return Place(str(binding.where), f"{binding.label} = {write(binding.value)}", counts, why)

    def _why(self, binding: Binding, every: list[Binding]) -> str:
        """Return why a binding counts, of `every` binding that might."""
        if _is_set(binding):
            return "--set stands above every file"
        if len(every) == 1:
            return "nothing else sets it"
        if any(other.key != binding.key for other in every):
            return "the deepest scope counts"
        if any((other.where, other.key) in self.overridden for other in every):
            return "a file stands above those that it includes"
        return "another file says the same"


def _is_set(binding: Binding) -> bool:
    return binding.where.file.startswith(OVERRIDE)


def _parsed(config: Config, text: str) -> tuple[str, str, str]:
    """Return scope, full name of the part, and parameter ("" for all) that `text` names."""
    scope, _, rest = text.rpartition("/")
    try:
        return scope, find(rest, home=config.home).full_name, ""
    except UserError:
        name, _, parameter = rest.rpartition(".")
        if not name:
            bindings = [binding.label for binding in config.bindings.values()]
            known = [*bindings, *(full.rpartition(".")[2] for full in names(config))]
            if rest in known or not nearest(text, known):
                raise
            raise UserError(unknown("no part, parameter or macro is called", text, known)) from None
    part = find(name, home=config.home)
    named, any_name = signature(part.full_name)
    if parameter not in named and not any_name:
        raise UserError(unknown(f"{part.name} has no parameter", parameter, named))
    return scope, part.full_name, parameter


def _default(part: str, parameter: str) -> str | None:
    """Return a parameter's default as gin or, where it is no plain value, the source writes it."""
    known = signature(part)[0].get(parameter)
    if known is None or known.default is known.empty:
        return None
    if isinstance(known.default, int | float | str | tuple | None):
        return write(known.default)
    return (describe(find(part)).parameters or {}).get(parameter) or repr(known.default)
