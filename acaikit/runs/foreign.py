"""Somebody else's parts: what their code raises becomes one message that says whose it is."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import packages_distributions
from pathlib import Path
from types import CodeType
from typing import Any

from acaikit.errors import UserError
from acaikit.registry import OURS, Part, parts, shortest_name
from acaikit.sources import source_file

TRACEBACK = "ACAIKIT_TRACEBACK"
"""The environment variable that adds the traceback to the message."""


@contextmanager
def telling_of_parts(suspect: Callable[..., Any] | None = None) -> Iterator[None]:
    """Turn what a part of another distribution raises into a message; a fault of acaikit's own stays what it is.

    The part is found by the innermost line of its distribution's files that the error came by.

    Parameters
    ----------
    suspect : callable, optional
        The method whose part is to blame where the error came by no such line, but by what the method returned.

    Raises
    ------
    UserError
        With the part, its distribution and version, the error, and that line's file and number.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if type(error).__module__.partition(".")[0] in ("typer", "click") or type(error).__name__ == "OutOfMemoryError":
            raise
        passed = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        blamed = getattr(suspect and inspect.unwrap(suspect), "__code__", None)
        found = _origin([*([(blamed, blamed.co_firstlineno)] if blamed else []), *passed])
        if found is None:
            raise
        part, where = found
        more = f"acaikit plugin check {shortest_name(part)} tells more"
        if os.environ.get(TRACEBACK):
            more += "\n" + "".join(traceback.format_exception(error)).rstrip()
        else:
            more += f", and {TRACEBACK}=1 shows the traceback"
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise UserError(
            f"{part.name} (from {part.distribution} {part.version}) is faulty: {said} ({where}); {more}"
        ) from error


def _origin(frames: Sequence[tuple[CodeType, int]]) -> tuple[Part, str] | None:
    """Return the part that the innermost of the frames, each code and line, is in, and its file and line."""
    owners: Mapping[str, Sequence[str]] = {}
    with suppress(Exception):  # whatever reading a broken distribution raises
        owners = packages_distributions()
    foreign = [(part, home) for part in parts() if _is_foreign(part, owners) and (home := _home(part)) is not None]
    for code, line in reversed(frames):
        listed = [part for part, home in foreign if Path(code.co_filename).is_relative_to(home)]
        if listed:
            # Several parts may share a file: the class whose method was called tells them apart.
            called = [other.co_qualname.partition(".")[0] for other, _ in reversed(frames)]
            named = [part for name in called for part in listed if part.entry_point.attr == name]
            return (named or listed)[0], f"{code.co_filename}:{line}"
    return None


def _is_foreign(part: Part, owners: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a part and its module are another distribution's; `owners` are the distributions of a package."""
    package = part.entry_point.value.partition(":")[0].partition(".")[0].strip()
    return part.distribution != OURS != package and part.distribution in owners.get(package, [part.distribution])


def _home(part: Part) -> Path | None:
    """Return the folder of the package that a part is in, or its file where it is in none."""
    if part.entry_point.pattern.match(part.entry_point.value) is None:
        return None
    module = part.entry_point.module
    file = source_file(module.partition(".")[0]) or source_file(module)
    return file.parent if file is not None and file.name == "__init__.py" else file
