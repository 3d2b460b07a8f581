"""What a table lacks, and the commands that measure it."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from acaikit.config import build, read_bindings
from acaikit.config.resolve import write
from acaikit.errors import UserError
from acaikit.registry import MANY, Part, find
from acaikit.report.measured import MEASURED_ON, REPORTED
from acaikit.report.paper import parameters
from acaikit.report.results import Missing, Results


def command(missing: Missing) -> str | None:
    """Return the command that measures what is missing as the others were; None where none can.

    None can where the evaluator is not installed or has another version now, or its parameters can't be written as
    bindings.
    """
    words = _command(missing)
    return None if words is None else shlex.join([*words, *(str(run.path) for run in missing.runs)])


def _command(missing: Missing) -> tuple[str, ...] | None:
    """Return the words of the command, without the runs."""
    protocol = missing.protocol or parameters(missing.column.score)
    wanted = json.loads(
        json.dumps({key: value for key, value in protocol.items() if key not in (*MEASURED_ON, *REPORTED)})
    )
    try:
        part = find(wanted.get("evaluator", ""), "evaluators")
    except UserError:
        return None
    usual = _protocol(part, []) or {}
    # A run's own setting stands above the default, so it has to be said even where the default is wanted.
    own = {parameter for run in missing.runs for _, name, parameter in run.config.bindings if name == part.full_name}
    settings = [
        f"{part.name}.{key}={write(value)}" for key, value in wanted.items() if key in own or usual.get(key) != value
    ]
    if _protocol(part, settings) != wanted:
        return None
    options = [word for setting in settings for word in ("--set", setting)]
    return ("acaikit", "eval", "--with", part.name, *options)


def _protocol(part: Part, settings: Sequence[str]) -> dict[str, Any] | None:
    """Return the protocol of an evaluator with these settings, as JSON values; None where they don't make one."""
    try:
        protocol: dict[str, Any] = json.loads(json.dumps(build(read_bindings(settings), part.full_name).protocol))
    except UserError:
        return None
    return protocol


def lines(results: Results) -> list[str]:
    """Return a line for each way of measuring: what is missing, of which experiments, and what measures it."""
    ways: dict[Any, list[Missing]] = defaultdict(list)
    for one in results.missing:
        ways[one.column.score.partition("/")[0], _command(one)].append(one)
    said = []
    for (_, words), some in ways.items():
        runs = list(dict.fromkeys(str(run.path) for one in some for run in one.runs))
        which = runs if len(runs) <= MANY else ["RUN_DIR", "..."]
        scores = [one.column.score + one.column.tag for one in some]
        names = [results.called(one.group) for one in some]
        how = f"; to measure it: {shlex.join([*words, *which])}" if words else ""
        said.append(f"missing: {_several(scores)} of {_several(names)}{how}")
    return said


def _several(texts: Sequence[str]) -> str:
    first, *more = dict.fromkeys(texts)
    return f"{first}{f' and {len(more)} more' if more else ''}"
