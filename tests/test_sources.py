from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit.registry import OURS, Part, parts
from acaikit.sources import definition, package_folder, signature, source_file

Install = Callable[..., Path]
OWN = [part for part in parts() if part.distribution == OURS]

BASE = """
from abc import ABC
from dataclasses import dataclass
import dataclasses as d

class Base(ABC):
    def __init__(self, weight: float = 2 ** 3, *rest, name="x", **more) -> None: ...

@d.dataclass(eq=False)
class Fields:
    a: int
    b: "int | None" = 2
    c = 3

class NewBase:
    def __new__(cls, x): ...

class Meta(metaclass=type): ...

class Signed:
    __signature__ = None

class Late: ...

class Starred: ...

def function(x, /, y=None, *, z): ...
"""
MODULE = """
from functools import cache
from .base import *
from . import base
from .base import Base, Fields, NewBase, Meta, Signed, function as renamed
from .nowhere import Lost
import dataclasses
from dataclasses import dataclass, field, KW_ONLY

class Plain:
    limit: int = 3
class Inherits(Base): ...
class Deeper(Inherits):
    def method(self, x): ...
class Own(Base, Fields):
    def __init__(self, only): ...
class Two(Base, Fields): ...
class Attribute(base.Base): ...
class Builtin(int): ...
class Orphan(Lost): ...
class New(NewBase): ...
class OfMeta(Meta): ...
@dataclass
class More(Fields):
    b: int = 4
    d: list = field(default_factory=list)
@dataclass
class Uncommon:
    _: KW_ONLY
    a: int = 1
class Wrapped:
    @cache
    def __init__(self, a): ...
@cache
def decorated(x): ...
@cache
class Decorated:
    def __init__(self, a): ...
made = cache(lambda x: x)
class Twice:
    def __init__(self, a): ...
class Twice:
    def __init__(self, b): ...
class Rebound:
    def __init__(self, a): ...
Rebound = cache(Rebound)
if True:
    class Inside: ...
    class Beside: ...
    import ast as Imported
class Beside:
    def __init__(self, a): ...
class Imported: ...
class OfBeside(Beside): ...
class Early(Late): ...
class Late:
    def __init__(self, a): ...
class Starred(Starred):
    def method(self): ...
@dataclass
class OverPlain(Base):
    x: int = 0
class Between(Fields): ...
@dataclass
class OverBetween(Between):
    e: int = 5
@dataclass
class Fixed(Base):
    def __init__(self, a): ...
@dataclass
class OverFixed(Fixed):
    x: int = 0
class OfSigned(Signed): ...
class Assigned:
    __init__ = Base.__init__
class Conditional:
    if True:
        def __init__(self, a): ...
class Deleted: ...
del Deleted
class Both(Base):
    def __init__(self, a): ...
    def __init__(self, b): ...
"""
KNOWN = ("Plain", "Inherits", "Deeper", "Own", "More", "renamed", "Base", "Fields", "OverPlain", "OverBetween", "Both")
UNKNOWN = ("Beside", "Imported", "OfBeside", "Early", "Starred", "OverFixed", "OfSigned", "Assigned", "Conditional")
UNKNOWN += ("Deleted",)
UNKNOWN += ("Two", "Attribute", "Builtin", "Orphan", "New", "OfMeta", "Uncommon", "Wrapped", "decorated", "Decorated")


def shape(found: inspect.Signature) -> list[tuple[str, object, bool]]:
    return [(p.name, p.kind, p.default is p.empty) for p in found.parameters.values()]


@pytest.mark.parametrize("part", OWN, ids=lambda part: part.name)
def test_the_signature_of_every_part_is_in_its_source(part: Part) -> None:
    written, loaded = signature(part.entry_point.module, part.entry_point.attr), inspect.signature(part.load())
    assert written is not None
    assert shape(written) == shape(loaded)
    for name, parameter in written.parameters.items():
        default = loaded.parameters[name].default
        if parameter.default is not parameter.empty and isinstance(default, bool | int | float | str | None):
            assert eval(parameter.default) == default


def test_what_the_source_says_is_what_importing_says(install: Install) -> None:
    install(
        "acai-kinds",
        "1",
        {},
        {
            "kinds/base.py": BASE,
            "kinds/made.py": MODULE.replace("from .nowhere", "#").replace("class Orphan(Lost): ...", ""),
        },
    )
    import kinds.made  # type: ignore[import-not-found]

    for name in KNOWN:
        written = signature("kinds.made", name)
        assert written is not None, name
        assert shape(written) == shape(inspect.signature(getattr(kinds.made, name))), name
    more = signature("kinds.made", "More")
    assert more is not None
    assert {name: (p.default, p.annotation) for name, p in more.parameters.items()} == {
        "a": (inspect.Parameter.empty, "int"),
        "b": ("4", "int"),
        "d": ("field(default_factory=list)", "list"),
    }


@pytest.mark.parametrize("name", [*UNKNOWN, "made", "Twice", "Rebound", "Inside", "Lost", "base", "nothing"])
def test_what_the_source_does_not_say_for_sure_is_left_open(install: Install, name: str) -> None:
    install("acai-kinds", "1", {}, {"kinds/base.py": BASE, "kinds/made.py": MODULE})
    assert signature("kinds.made", name) is None


CIRCLES = {
    "round/own.py": "from round.base import *\nclass KL(KL): ...\nclass A(B): ...\nclass B(A): ...",
    "round/base.py": "class KL:\n    def __init__(self, weight=1.0): ...",
    "round/one.py": "from round.other import Other\nclass One(Other): ...",
    "round/other.py": "from round.one import One\nclass Other(One): ...",
    "round/tried.py": "try:\n    from round.base import KL\nexcept ImportError:\n    KL = object\nclass KL(KL): ...",
    "round/long.py": f"class Long: ...\nx = {'+'.join('1' * 20_000)}",
    "round/deep.py": f"class Deep:\n    def __init__(self, x={'+'.join('1' * 1_500)}): ...",
    "round/star.py": "class KL: ...\nfrom round.base import *",
    "round/inner.py": "class KL: ...\nif True:\n    from round.base import *",
}


@pytest.mark.parametrize(
    "name",
    ["own.KL", "own.A", "own.B", "one.One", "other.Other", "tried.KL", "long.Long", "deep.Deep", "star.KL", "inner.KL"],
)
def test_a_class_of_its_own_bases_name_and_circles_are_left_open(install: Install, name: str) -> None:
    install("acai-round", "1", {}, CIRCLES)
    module, _, found = name.partition(".")
    assert signature(f"round.{module}", found) is None


def test_names_are_followed_from_module_to_module_and_round_no_circle(install: Install) -> None:
    files = {
        "pkg/__init__.py": "1 / 0\nfrom .inner import Part as Thing\nfrom .circle import Round\nfrom ... import Far",
        "pkg/inner/__init__.py": "from ..deep import Part",
        "pkg/deep.py": "class Part:\n    def __init__(self, x): ...",
        "pkg/circle.py": "from pkg import Round",
        "pkg/wrong.py": "class Wrong(:",
    }
    install("acai-names", "1", {}, files)
    found = definition("pkg", "Thing")
    assert found is not None
    assert (found.module, found.node.name) == ("pkg.deep", "Part")
    assert definition("pkg", "Round") is definition("pkg", "Far") is definition("pkg.wrong", "Wrong") is None
    assert definition("nowhere", "Part") is definition("math", "sqrt") is None


def test_source_files_are_found_without_importing_packages(install: Install) -> None:
    site = install(
        "a", "1", {}, {"loud/__init__.py": "1 / 0", "loud/inner/deep.py": "1 / 0", "loud/inner/__init__.py": ""}
    )
    assert source_file("loud.inner.deep") == site / "loud" / "inner" / "deep.py"
    assert source_file("loud.inner") == site / "loud" / "inner" / "__init__.py"
    assert source_file("loud") == site / "loud" / "__init__.py"
    assert package_folder("loud.inner") == site / "loud" / "inner"
    assert source_file("loud.nowhere") is package_folder("loud.nowhere") is source_file("nowhere.at.all") is None
