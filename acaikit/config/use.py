"""What a build has used of a config, and the faults that this shows: what is missing, and what nothing reads."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from acaikit.config.faults import Fault, Gaps
from acaikit.config.resolve import Config, Key, mentions, write
from acaikit.config.syntax import OVERRIDE, Binding, Macro, Reference, Where
from acaikit.errors import UserError
from acaikit.registry import find, listed, nearest, unknown


class Missing(NamedTuple):
    """Parameters without a default that nothing sets, of a part that is referred to at `where`."""

    where: Where
    name: str
    parameters: tuple[str, ...]

    @property
    def fault(self) -> Fault:
        """The fault."""
        labels = [f"{self.name.rpartition('.')[2]}.{parameter}" for parameter in self.parameters]
        have, add = ("has", "a line") if len(labels) == 1 else ("have", "lines")
        said = f"nothing sets {', '.join(labels)}, which {have} no default: add {add} such as {labels[0]} = ..."
        return Fault(self.where, said)


@dataclass
class Use:
    """What a build has read and met.

    Attributes
    ----------
    read : set of Key
        Bindings that counted.
    scopes, parts : set of str
        What was built, and in which scopes.
    overridden : dict of Key to dict of Key to Binding
        Bindings that scoped ones stood above, and those.
    undefined : dict of str to dict of Where to None
        Macros that are not defined, and where they are used.
    missing : list of Missing
        What nothing sets.
    """

    read: set[Key] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)
    overridden: dict[Key, dict[Key, Binding]] = field(default_factory=lambda: defaultdict(dict))
    undefined: dict[str, dict[Where, None]] = field(default_factory=lambda: defaultdict(dict))
    missing: list[Missing] = field(default_factory=list)


def absences(config: Config, use: Use, gaps: Gaps) -> Iterator[Fault]:
    """Yield what is missing and what nothing reads, with likely reasons, unless it follows from another fault."""
    unread = [b for b in config.bindings.values() if b.key not in use.read]
    macros = [b.parameter for b in config.bindings.values() if not b.name]
    meant: set[str] = set()
    for name, places in use.undefined.items():
        near = nearest(name, macros)
        if gaps.explains(name, near):
            continue
        misspelt = next((b for b in unread if not b.name and b.parameter in near), None)
        if misspelt is not None and len(places) > 1:
            where = " and ".join(map(str, places))
            said = f"nothing reads the macro {misspelt.parameter!r}: did you mean {name}, which {where} read?"
            yield Fault(misspelt.where, said)
        else:
            first, *others = places
            yield Fault(first, _undefined(name, macros) + "".join(f"; so at {where}" for where in others))
        meant |= {*(near or macros)}
    for missing in use.missing:
        set_elsewhere = {b.parameter for b in unread if b.name == missing.name}
        left = tuple(p for p in missing.parameters if p not in set_elsewhere and not gaps.explains(p))
        if left:
            yield missing._replace(parameters=left).fault
    if not gaps.open:
        excused = gaps.guessed | {("", "", macro) for macro in meant}
        excused |= {b.key for b in unread if b.name and gaps.unknown_part}
        yield from _unread(unread, excused, config, use)


def _undefined(name: str, macros: list[str]) -> str:
    if nearest(name, macros):
        return unknown("no macro is called", name, macros)
    known = f"; defined are {listed(macros)}" if macros else ""
    return f"no macro is called {name!r}: define it in a line of its own, {name} = ...{known}"


def _unread(unread: list[Binding], excused: set[Key], config: Config, use: Use) -> Iterator[Fault]:
    """Yield a fault for each reason why bindings are not read, unless they are excused."""
    wanted: dict[str, set[str]] = defaultdict(set)  # parts and macros, and the scopes in which they are
    for binding in unread:
        for mention in mentions(binding.value):
            if isinstance(mention, Reference) and mention.name != binding.name:
                wanted[mention.name].add(mention.scope)
            elif isinstance(mention, Macro) and mention.name != binding.parameter:
                wanted[f"%{mention.name}"].add("")
    first = [b for b in unread if not any(_reaches(scope, b.scope) for scope in wanted[b.subject])]
    reasons: dict[tuple[str, str], list[Binding]] = defaultdict(list)
    for binding in first or unread:
        if binding.key not in excused:
            why = _of_part(binding, config, use) if binding.name else _of_macro(binding.parameter, use)
            reasons[why, "" if binding.name else binding.parameter].append(binding)
    for (why, macro), (binding, *others) in reasons.items():
        said = (
            f"the macro {macro!r}" if macro else ", ".join([binding.label, *(f"{b.label} ({b.where})" for b in others)])
        )
        yield Fault(binding.where, f"nothing reads {said}: {why}")


def _reaches(scope: str, binding: str) -> bool:
    """Return whether a reference's scope lets a binding's count; without one of its own it may inherit any."""
    return not scope or not binding or f"{scope}/".startswith(f"{binding}/")


def _of_macro(name: str, use: Use) -> str:
    with suppress(UserError):
        find(name)
        return f"{name} is a part, and no parameter of it is named: write {name}.parameter = ..."
    near = nearest(name, [key[2] for key in use.read if not key[1]])
    return f"did you mean {' or '.join(near)}?" if near else f"write %{name} where it is meant"


def _of_part(binding: Binding, config: Config, use: Use) -> str:
    scope, name, _ = binding.key
    short = name.rpartition(".")[2]
    if binding.key in use.overridden:
        winners = use.overridden[binding.key].values()
        above = " and ".join(f"{winner.label} ({winner.where})" for winner in winners)
        value = write(binding.value)
        instead = [f"{OVERRIDE}{shlex.quote(f'{winner.label}={value}')}" for winner in winners]
        given = binding.where.file.startswith(OVERRIDE)
        hint = f"write {' '.join(instead)}" if given else "leave one of them out"
        return f"wherever {short} is built, {above} stands above it: {hint}"
    if scope not in use.scopes:
        return unknown("no reference has the scope", scope, sorted(use.scopes - {""}))
    if scope and name in use.parts:
        return f"{short} is not built in the scope {scope!r}: write @{scope}/{short}() where it is meant"
    return f"{short} is not part of this experiment: write @{short}() where it is meant, or leave this out"
