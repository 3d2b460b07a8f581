"""The catalogue: what each part of the registry is, read from its source without importing it.

Only parts of others are imported too, in a process of their own, which says whether that can be done at all, and what
their source doesn't say.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from acaikit import importing
from acaikit.registry import OURS, Part
from acaikit.sources import definition, signature, source_file

LIMIT = 30.0
"""Seconds that importing somebody else's module may take."""


@dataclass(frozen=True)
class Entry:
    """What the catalogue says of one part.

    Attributes
    ----------
    part : Part
        The part.
    description : str
        The first line of its docstring.
    parameters : dict of str to str or None
        Each parameter's default as it is written, None where there is none.
    broken : str or None
        Why the part can't be used.
    traceback : str or None
        How that came about, where it raised an error or took too long: without the frames of Python's import.
    file : Path or None
        The module's file.
    key : str or None
        An evaluator's key.
    """

    part: Part
    description: str = ""
    parameters: dict[str, str | None] | None = None
    broken: str | None = None
    traceback: str | None = None
    file: Path | None = None
    key: str | None = None


def catalogue(parts: Iterable[Part]) -> list[Entry]:
    """Describe `parts`, in their order; parts of others are imported, in another process."""
    entries = [describe(part) for part in parts]
    foreign = [e.part.entry_point.value for e in entries if e.part.distribution != OURS and e.broken is None]
    told = _import(list(dict.fromkeys(foreign)))
    return [_joined(entry, told.get(entry.part.entry_point.value, {})) for entry in entries]


def _joined(entry: Entry, told: dict[str, Any]) -> Entry:
    """Return what the source says, and what importing tells beside it."""
    if told.get("broken"):
        return replace(entry, broken=told["broken"], traceback=told["traceback"])
    parameters, written = told.get("parameters"), entry.parameters or {}
    if parameters is not None:
        parameters = {name: written.get(name) or default for name, default in parameters.items()}
    return replace(
        entry,
        description=entry.description or told.get("description", ""),
        parameters=entry.parameters if parameters is None else parameters,
        key=entry.key or told.get("key"),
    )


def _import(values: list[str]) -> dict[str, dict[str, Any]]:
    """Return what `importing` tells of each entry point."""
    told: dict[str, dict[str, Any]] = {}
    while waiting := values[len(told) :]:
        # -P and sys.path: what this process would import, and not a file of the same name in the working directory.
        command = [sys.executable, "-P", importing.__file__, str(LIMIT), *waiting]
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(folder or "." for folder in sys.path)}
        # Into a file, as a process that a module starts may hold a pipe open for ever.
        with TemporaryFile("w+", encoding="utf-8", errors="replace") as written:
            ran = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=written, env=path, check=False
            )
            written.seek(0)
            said = written.read()
        told |= dict(zip(waiting, map(json.loads, ran.stdout.splitlines()), strict=False))
        if len(told) < len(values):
            # The first one without an answer took the process with it; those after it get another.
            told[values[len(told)]] = _ended(said)
    return told


def _ended(said: str) -> dict[str, Any]:
    """Return why importing something ended the process that said this before."""
    timeout = re.search(r"Timeout \([\d:.]+\)!\n.*", said, re.DOTALL)  # as faulthandler writes it
    if timeout:
        frames = [line for line in timeout[0].splitlines() if not importing.is_machinery(line)]
        return {"broken": f"importing it took more than {LIMIT:g} s", "traceback": "\n".join(frames)}
    last = (said.strip().splitlines() or ["no word"])[-1]
    return {"broken": f"importing it ended the process: {last}", "traceback": None}


def describe(part: Part) -> Entry:
    """Describe a part by its source alone; nothing is imported."""
    if part.entry_point.pattern.match(part.entry_point.value) is None:
        return Entry(part, broken=f"its entry point {part.entry_point.value!r} is not of the form module:name")
    module, name = part.entry_point.module, part.entry_point.attr
    file, found = source_file(module), definition(module, name)
    if found is None:
        # It may be compiled, or imported or made there: its source says nothing, but only importing it shows a fault.
        return Entry(part, file=file)
    lines = (ast.get_docstring(found.node) or "").strip().splitlines()
    parameters = _parameters(module, name)
    return Entry(part, lines[0] if lines else "", parameters, file=file, key=_key(found.node))


def _parameters(module: str, name: str) -> dict[str, str | None] | None:
    written = signature(module, name)
    if written is None:
        return None
    named = [p for p in written.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {p.name: None if p.default is p.empty else p.default for p in named}


def _key(node: ast.ClassDef | ast.FunctionDef) -> str | None:
    """Return the text that a class gives its attribute ``key``."""
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name("key")], value=ast.Constant(str(key))):
                return key
            case ast.AnnAssign(target=ast.Name("key"), value=ast.Constant(str(key))):
                return key
    return None
