"""What the source of a module says of a class or function, read without importing anything."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

PLAIN = ("ABC", "abc.ABC", "object")
"""Base classes that take nothing; Python holds the source of the module `abc` in itself, not in a file."""


class Definition(NamedTuple):
    """A class or function at the top of a module: the module's name, and what is written there."""

    module: str
    node: ast.ClassDef | ast.FunctionDef


def source_file(module: str) -> Path | None:
    """Return the file of a module, without importing it or any package above it; None if there is none."""
    package, *inner = module.split(".")
    spec = _spec(package)
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin and spec.has_location else None
    for folder in spec.submodule_search_locations or ():
        base = Path(folder).joinpath(*inner)
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return file
    return None


def package_folder(package: str) -> Path | None:
    """Return the folder of a package, with or without an ``__init__.py``, importing nothing; None if there is none."""
    outer, *inner = package.split(".")
    spec = _spec(outer)
    for folder in (spec and spec.submodule_search_locations) or ():
        found = Path(folder).joinpath(*inner)
        if found.is_dir():
            return found
    return None


def _spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):  # no name, or the finder that an editable install brought is broken
        return None


def definition(module: str, name: str) -> Definition | None:
    """Return what a module calls `name`, also where it has it from another; None where its source doesn't say."""
    seen = set()
    while (module, name) not in seen:
        seen.add((module, name))
        file = source_file(module)
        match _bound(file, module).get(name) if file else None:
            case ast.ClassDef() | ast.FunctionDef() as node:
                return Definition(module, node)
            case (str(module), str(name)):
                continue
            case _:
                return None
    return None


@cache
def _bound(file: Path, module: str) -> dict[str, ast.ClassDef | ast.FunctionDef | tuple[str, str] | None]:
    """Return what the names at the top of a module stand for: a definition, or a name of another module.

    A name that is bound twice, or in another way, stands for None; so does what ``import *`` may have bound again.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply
        return {}
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found: dict[str, ast.ClassDef | ast.FunctionDef | tuple[str, str] | None] = {}
    for node in tree.body:
        bound: dict[str, ast.ClassDef | ast.FunctionDef | tuple[str, str] | None]
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                bound = {node.name: node}
            case ast.ImportFrom():
                origin = _absolute("." * node.level + (node.module or ""), package)
                bound = {alias.asname or alias.name: (origin, alias.name) for alias in node.names}
            case _:
                bound = dict.fromkeys(_names(node))
        found |= {name: None if name in found else meant for name, meant in bound.items()}
        if "*" in bound:
            found = dict.fromkeys(found)
    return found


def _names(statement: ast.stmt) -> set[str]:
    """Return the names that anything in a statement binds or deletes, and perhaps more."""
    nodes = list(ast.walk(statement))
    named = {getattr(node, attribute, None) for node in nodes for attribute in ("name", "asname")}
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    return {name for name in named if isinstance(name, str)} | assigned


def _absolute(module: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(module, package)
    except ImportError:  # more dots than there are packages
        return ""


def signature(module: str, name: str) -> inspect.Signature | None:
    """Return the signature of a class or function as its source says it, and its base classes' do.

    Defaults and annotations are texts. None where only importing it could tell: what is decorated, has several base
    classes or such as aren't written in Python, or is made by other means than ``class`` and ``def``.
    """
    found = definition(module, name)
    try:
        return None if found is None else inspect.Signature(_parameters(found))
    except (_Unsaid, ValueError, RecursionError):  # ValueError: no Python takes these
        return None


class _Unsaid(Exception):
    """The source doesn't say for sure."""


def _parameters(found: Definition) -> list[inspect.Parameter]:
    node = found.node
    if isinstance(node, ast.FunctionDef):
        return _of_function(node)
    methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
    otherwise = {name for n in node.body if not isinstance(n, ast.FunctionDef) for name in _names(n)}
    if {"__new__", "__signature__"} & {*methods, *otherwise} or "__init__" in otherwise:
        raise _Unsaid
    if any(ast.unparse(made.value) != "ABCMeta" for made in node.keywords):
        raise _Unsaid
    if "__init__" in methods:
        if node.decorator_list:
            raise _Unsaid
        return _of_function(methods["__init__"])[1:]
    base = _base(found)
    inherited = [] if base is None else _parameters(base)
    return list(_fields(found).values()) if node.decorator_list else inherited


def _base(found: Definition) -> Definition | None:
    """Return the only base class that may take anything, None where there is none."""
    assert isinstance(found.node, ast.ClassDef)
    match [base for base in found.node.bases if ast.unparse(base) not in PLAIN]:
        case []:
            return None
        case [ast.Name(name)]:
            base = definition(found.module, name)
            # What the same module defines only further down is not what the name stood for.
            late = base is not None and base.module == found.module and base.node.lineno >= found.node.lineno
            if base is not None and isinstance(base.node, ast.ClassDef) and not late:
                return base
    raise _Unsaid


def _of_function(node: ast.FunctionDef) -> list[inspect.Parameter]:
    if node.decorator_list:
        raise _Unsaid
    args = node.args
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    only, free = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    kinds = [*[only for _ in args.posonlyargs], *[free for _ in args.args]]
    found = [_parameter(*each) for each in zip(positional, kinds, defaults, strict=True)]
    if args.vararg:
        found.append(_parameter(args.vararg, inspect.Parameter.VAR_POSITIONAL))
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        found.append(_parameter(arg, inspect.Parameter.KEYWORD_ONLY, default))
    if args.kwarg:
        found.append(_parameter(args.kwarg, inspect.Parameter.VAR_KEYWORD))
    return found


def _parameter(arg: ast.arg, kind: inspect._ParameterKind, default: ast.expr | None = None) -> inspect.Parameter:
    return inspect.Parameter(arg.arg, kind, default=_written(default), annotation=_written(arg.annotation))


def _fields(found: Definition) -> dict[str, inspect.Parameter]:
    """Return the fields of a dataclass by name, those of the dataclasses above it first."""
    node, base = found.node, _base(found)
    inherited = {} if base is None else _fields(base)
    if not node.decorator_list:
        return inherited
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    uncommon = ("init=", "kw_only=", "ClassVar", "InitVar", "KW_ONLY")
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    if len(decorators) != 1 or decorators[0].partition("(")[0].rpartition(".")[2] != "dataclass":
        raise _Unsaid
    if any(word in text for text in (*decorators, *map(ast.unparse, fields)) for word in uncommon):
        raise _Unsaid
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = {n.target.id: _parameter(ast.arg(n.target.id, n.annotation), kind, n.value) for n in fields}  # type: ignore[union-attr]
    return inherited | own


def _written(expression: ast.expr | None) -> object:
    return inspect.Parameter.empty if expression is None else ast.unparse(expression)
