"""The catalogue: what each part of the registry is, read from its source without importing it.

Only whether somebody else's part can be imported at all is found out by importing it, in a process of its own.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from acaikit.registry import OURS, Part

_IMPORT = """
import json, os, sys
from importlib.metadata import EntryPoint
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the modules themselves print goes elsewhere
for value in sys.argv[1:]:
    try:
        EntryPoint("part", value, "group").load()
        reason = None
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
    print(json.dumps(reason), file=told, flush=True)
"""


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
    """

    part: Part
    description: str = ""
    parameters: dict[str, str | None] | None = None
    broken: str | None = None


def catalogue(parts: Iterable[Part]) -> list[Entry]:
    """Describe `parts`, in their order."""
    entries = [_describe(part) for part in parts]
    foreign = [e.part.entry_point.value for e in entries if e.part.distribution != OURS and e.broken is None]
    reasons = _import_failures(tuple(foreign)) if foreign else {}
    return [
        Entry(e.part, e.description, e.parameters, e.broken or reasons.get(e.part.entry_point.value)) for e in entries
    ]


def _import_failures(values: tuple[str, ...]) -> dict[str, str]:
    failures: dict[str, str] = {}
    waiting = list(dict.fromkeys(values))
    while waiting:
        # -P and sys.path: what this process would import, and not a file of the same name in the working directory.
        command = [sys.executable, "-P", "-c", _IMPORT, *waiting]
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(folder or "." for folder in sys.path)}
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", env=path, check=False)
        reasons = [json.loads(line) for line in ran.stdout.splitlines()]
        failures |= {value: reason for value, reason in zip(waiting, reasons, strict=False) if reason}
        waiting = waiting[len(reasons) :]
        if waiting:
            # The first one without an answer took the process with it; those after it get another.
            last = (ran.stderr.strip().splitlines() or ["no word"])[-1]
            failures[waiting.pop(0)] = f"importing it ended the process: {last}"
    return failures


def _describe(part: Part) -> Entry:
    if part.entry_point.pattern.match(part.entry_point.value) is None:
        return Entry(part, broken=f"its entry point {part.entry_point.value!r} is not of the form module:name")
    try:
        file = source_file(part.entry_point.module)
        node = _definitions(file).get(part.entry_point.attr) if file else None
    except (OSError, SyntaxError, ValueError):
        node = None
    if node is None:
        # It may be compiled, or imported or made there: its source says nothing, but only importing it shows a fault.
        return Entry(part)
    lines = (ast.get_docstring(node) or "").strip().splitlines()
    return Entry(part, lines[0] if lines else "", _parameters(node))


def source_file(module: str) -> Path | None:
    """Return the file of a module, without importing it or any package above it; None if there is none."""
    package, *inner = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or ():
        base = Path(folder).joinpath(*inner)
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return file
    return None


def package_folder(package: str) -> Path | None:
    """Return the folder of a package, with or without an ``__init__.py``, importing nothing; None if there is none."""
    outer, *inner = package.split(".")
    spec = importlib.util.find_spec(outer)
    for folder in (spec and spec.submodule_search_locations) or ():
        found = Path(folder).joinpath(*inner)
        if found.is_dir():
            return found
    return None


@cache
def _definitions(file: Path) -> dict[str, ast.ClassDef | ast.FunctionDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def _parameters(node: ast.ClassDef | ast.FunctionDef) -> dict[str, str | None]:
    if isinstance(node, ast.ClassDef):
        inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        return _signature(inits[0].args, skip=1) if inits else _fields(node)
    return _signature(node.args, skip=0)


def _fields(node: ast.ClassDef) -> dict[str, str | None]:
    """Return the fields of a dataclass; a plain class without a constructor has no parameters."""
    if not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return {}
    return {
        n.target.id: ast.unparse(n.value) if n.value else None
        for n in node.body
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }


def _signature(args: ast.arguments, skip: int) -> dict[str, str | None]:
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    pairs = [*list(zip(positional, defaults, strict=True))[skip:], *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return {arg.arg: ast.unparse(default) if default else None for arg, default in pairs}
