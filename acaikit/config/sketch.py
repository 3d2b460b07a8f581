"""Building a recipe from stand-ins for its parts, made from their sources: quick, as nothing is imported."""

from __future__ import annotations

import ast
import inspect
from types import NoneType, SimpleNamespace
from typing import Any

from acaikit.config.build import Builder, build, refuse_function
from acaikit.config.faults import Gaps
from acaikit.config.resolve import Config
from acaikit.errors import UserError
from acaikit.ranges import check_numbers
from acaikit.registry import OURS, ROOTS, Part
from acaikit.sources import definition, signature

PLAIN: dict[str, set[type]] = {"bool": {bool}, "float": {int, float}, "int": {int}, "str": {str}, "None": {NoneType}}
PLAIN["Sequence"] = {list, tuple}
"""Annotations, without what they hold, that say what a value must be."""


def sketch(config: Config, root: str = "Experiment") -> Any:
    """Check a recipe without importing its parts, and return a stand-in for the root part.

    What is checked are names, parameters, macros and scopes, the experiment's own numbers, and that no text stands
    where a number is meant and the like. What only a part itself says, such as a number out of its range, stays for
    `build`. Where there is a fault, the recipe is built after all, which tells all of them, and is right where a source
    is misleading.

    Returns
    -------
    object
        Has what is bound to the root part, and the other parameters' defaults as they are written.

    Raises
    ------
    ConfigError
        As `build` does.
    """
    builder = Builder(config, Gaps(), StandIn)
    built = builder.build(root)
    return build(config, root) if builder.faults else built


class StandIn:
    """Takes what a part takes, and keeps it; the part is imported only where its source doesn't say what that is.

    Parameters
    ----------
    part : Part
        The part.
    """

    def __init__(self, part: Part) -> None:
        module, name = part.entry_point.module, part.entry_point.attr
        found, written = definition(module, name), signature(module, name)
        if found is None or written is None:
            target = part.load()
            written, function = inspect.signature(target), inspect.isfunction(target)
        else:
            function = isinstance(found.node, ast.FunctionDef)
        if function:
            refuse_function(part)
        self.__name__, self.__signature__ = part.name, written
        self.own_root = (part.distribution, part.kind) == (OURS, ROOTS)

    def __call__(self, **given: Any) -> SimpleNamespace:
        """Return what is given, and what is not."""
        parameters = self.__signature__.parameters
        if self.own_root:
            check_numbers(given)
        for name, value in given.items():
            annotation = str(parameters[name].annotation) if name in parameters else ""
            kinds = [kind.partition("[")[0] for kind in annotation.split(" | ")]
            if all(kind in PLAIN for kind in kinds) and not any(type(value) in PLAIN[kind] for kind in kinds):
                raise UserError(f"{self.__name__}.{name} must be {annotation}")
        return SimpleNamespace(**{name: p.default for name, p in parameters.items()} | given)
