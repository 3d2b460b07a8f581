"""Where a config binds what a message names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from acaikit.config.resolve import Config, mentioned
from acaikit.config.syntax import Binding
from acaikit.errors import ConfigError, UserError


@contextmanager
def telling_places(config: Config) -> Iterator[None]:
    """Turn a mistake of the user's that names parameters or parts into one that tells where `config` binds them.

    Raises
    ------
    ConfigError
        For a `UserError` of the block's whose message holds ``Part.parameter``, or just ``Part``.
    """
    try:
        yield
    except UserError as error:
        bound = [binding for name in _named(str(error)) for binding in _places(config, *name)]
        found = list({binding.key: binding for binding in bound}.values())  # a binding of a list has no hash
        if isinstance(error, ConfigError) or not found:
            raise
        first, *others = found
        more = ", ".join(f"{binding.label} is bound at {binding.where}" for binding in others)
        raise ConfigError([f"{first.where}: {error}" + (f" ({more})" if more else "")]) from error


def _named(message: str) -> list[tuple[str, str]]:
    """Return the parts that a message may name, each with the parameter of it that is named, if one is."""
    return re.findall(r"\b([^\W\d]\w*)(?:\.([^\W\d]\w*))?", message)


def _places(config: Config, part: str, parameter: str) -> Iterator[Binding]:
    """Yield the macros that a parameter comes from, then its bindings; if there are none, what refers to the part."""
    bindings = config.bindings.values()
    set_here = [b for b in bindings if b.parameter == parameter and b.name.rpartition(".")[2] == part]
    for binding in set_here:
        yield from _macros(config, binding)
        yield binding
    if not set_here:
        for binding in bindings:
            if any(subject.rpartition(".")[2] == part for subject in mentioned(binding.value)):
                yield binding


def _macros(config: Config, binding: Binding) -> Iterator[Binding]:
    for macro in sorted(mentioned(binding.value)):
        if ("", "", macro[1:]) in config.bindings:
            definition = config.bindings["", "", macro[1:]]
            yield from _macros(config, definition)
            yield definition
