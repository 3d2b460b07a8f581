"""Whether an evaluator can be made by name, and its numbers be told from those of others."""

from __future__ import annotations

import inspect
import json
import tempfile
from pathlib import Path
from typing import Any

from acaikit.artifacts.evaluations import write_evaluation
from acaikit.errors import UserError
from acaikit.evaluators.base import PROTOCOLS, Evaluator
from acaikit.registry import OURS, parts
from acaikit.testing.rules import NotConforming

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check_naming(evaluator: Evaluator) -> None:
    """Check the constructor, and key and protocol as it is and under every protocol."""
    kind = type(evaluator)
    try:
        kind()
    except (TypeError, UserError) as error:
        raise NotConforming(
            f"{kind.__name__}() can't be made ({error}): give every parameter a default; `acaikit eval` makes it so"
        ) from error
    protocols: dict[str, str] = {}
    for version in (evaluator, *(_under(evaluator, protocol) for protocol in PROTOCOLS)):
        _check_key(version)
        text = protocol_text(version)
        if protocols.setdefault(version.key, text) != text:
            raise NotConforming(
                f"{kind.__name__}.under() returns another way of measuring under the same key {version.key!r}: make it "
                f"a class with a key of its own"
            )


def _under(evaluator: Evaluator, protocol: str) -> Evaluator:
    version: Any = evaluator.under(protocol)
    if not isinstance(version, Evaluator):
        raise NotConforming(
            f"{type(evaluator).__name__}.under({protocol!r}) returns a {type(version).__name__}: return the evaluator "
            f"that measures under this protocol, which may be self"
        )
    return version


def _check_key(evaluator: Evaluator) -> None:
    kind, key = type(evaluator), getattr(evaluator, "key", None)
    if not isinstance(key, str):
        raise NotConforming(f"{kind.__name__} has no key: give the class a short name, such as key = 'norm'")
    with tempfile.TemporaryDirectory() as folder:
        try:
            write_evaluation(Path(folder), key, 0, "check", {}, {}, {})
        except ValueError as error:
            raise NotConforming(f"the key of {kind.__name__} can't be part of a file name: {error}") from error
    for part in parts():
        if part.kind == "evaluators" and part.distribution == OURS:
            ours = part.load()
            if ours.key == key and ours is not kind:
                raise NotConforming(f"{kind.__name__} has the key {key!r} of acaikit's own {part.name}: choose another")


def protocol_text(evaluator: Evaluator) -> str:
    """Return an evaluator's protocol as JSON, by which two are compared."""
    name, protocol = type(evaluator).__name__, evaluator.protocol
    try:
        text = json.dumps(protocol, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise NotConforming(
            f"{name}.protocol is not JSON ({error}): keep what is no parameter under a name that begins with '_', and "
            f"write a protocol that tells a parameter which is an object by name"
        ) from error
    for parameter in inspect.signature(type(evaluator)).parameters.values():
        if parameter.kind not in _VARIADIC and parameter.name not in protocol:
            raise NotConforming(
                f"{name}.protocol lacks the parameter {parameter.name!r}: keep it as self.{parameter.name}"
            )
    return text
