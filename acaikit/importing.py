"""Imports somebody else's parts and tells what they are: a program of its own, which an import may end or hang.

``python importing.py LIMIT MODULE:NAME...`` prints a JSON object for each, and ends where one takes over LIMIT seconds.
"""

from __future__ import annotations

import faulthandler
import importlib
import inspect
import json
import os
import sys
import traceback
from importlib.metadata import EntryPoint
from typing import Any

MACHINERY = ("<frozen ", os.path.dirname(importlib.__file__), __file__)  # noqa: PTH120 (as frames write it)


def main(limit: float, values: list[str]) -> None:
    """Tell of each entry point; each is given `limit` seconds."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the modules themselves print goes elsewhere
    for value in values:
        faulthandler.dump_traceback_later(limit, exit=True, file=2)
        print(json.dumps(tell(value)), file=told, flush=True)
    os._exit(0)  # threads that a module has started don't count


def tell(value: str) -> dict[str, Any]:
    """Import an entry point, and return what it is or why it can't be imported."""
    try:
        made = EntryPoint("part", value, "group").load()
    except BaseException as error:
        told = traceback.TracebackException.from_exception(error)
        _without_machinery(told)
        return {"broken": f"{type(error).__name__}: {error}", "traceback": "".join(told.format()).rstrip()}
    described = inspect.isclass(made) or inspect.isroutine(made)
    key = getattr(made, "key", None)
    return {
        "description": next(iter(inspect.cleandoc(made.__doc__ or "").splitlines()), "") if described else "",
        "parameters": _parameters(made),
        "key": key if isinstance(key, str) else None,
    }


def is_machinery(frame: str) -> bool:
    """Return whether a file, or a frame as it is printed, belongs to Python's import or to this program."""
    return any(mark in frame for mark in MACHINERY)


def _without_machinery(told: traceback.TracebackException) -> None:
    told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if not is_machinery(frame.filename)])
    for cause in (told.__cause__, told.__context__):
        if cause is not None:
            _without_machinery(cause)


def _parameters(made: Any) -> dict[str, str | None] | None:
    """Return each parameter with its default as text, None where there is none."""
    try:
        parameters = inspect.signature(made).parameters.values()
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        return {p.name: None if p.default is p.empty else repr(p.default) for p in named}
    except Exception:  # compiled, or a default that can't be shown
        return None


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
