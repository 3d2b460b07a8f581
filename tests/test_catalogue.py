from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit.catalogue import Entry, catalogue, source_file
from acaikit.registry import KINDS, OURS, Part, parts

Install = Callable[..., Path]
OWN = [part for part in parts() if part.distribution == OURS and part.kind in KINDS]


def foreign() -> dict[str, Entry]:
    return {entry.part.name: entry for entry in catalogue(part for part in parts() if part.distribution != OURS)}


@pytest.mark.parametrize("part", OWN, ids=lambda part: part.name)
def test_the_source_says_what_importing_would_say(part: Part) -> None:
    (entry,) = catalogue([part])
    loaded = part.load()
    assert entry.broken is None
    assert entry.description == (inspect.getdoc(loaded) or "").splitlines()[0]
    has_init = not inspect.isclass(loaded) or "__init__" in vars(loaded)
    expected = inspect.signature(loaded).parameters if has_init else {}
    assert entry.parameters is not None
    assert list(entry.parameters) == list(expected)
    for name, written in entry.parameters.items():
        default = expected[name].default
        assert (default is inspect.Parameter.empty) if written is None else eval(written) == default


def test_describing_our_own_parts_imports_none_of_them() -> None:
    script = """
import json, sys
from acaikit.catalogue import catalogue
from acaikit.registry import parts
made = catalogue(part for part in parts() if part.distribution == "acaikit")
print(json.dumps([len(made), sorted(sys.modules)]))
"""
    count, modules = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    assert count == len(OWN) + 1
    assert not {"torch", "numpy", "gin", "h5py", "matplotlib", "acaikit.regularizers", "acaikit.nets"} & set(modules)


def test_kinds_of_definitions(install: Install) -> None:
    source = '''
import dataclasses
from functools import partial

class Plain:
    """One line.

    And more.
    """
    limit: int = 3

class Init(Plain):
    def __init__(self, a, /, b: int = 2 ** 3, *rest, c, d=[1], **more) -> None:
        """Not the description."""

@dataclasses.dataclass(frozen=True)
class Data:
    """Fields."""
    a: int
    b: str = "x"

def function(x, y=None):
    """Do."""

made = partial(function, 1)
'''
    names = ("Plain", "Init", "Data", "function", "made")
    install("acai-kinds", "1", {"paths": {name: f"pkg.kinds:{name}" for name in names}}, {"pkg/kinds.py": source})
    found = foreign()
    assert {name: entry.broken for name, entry in found.items()} == dict.fromkeys(names)
    assert {name: (entry.description, entry.parameters) for name, entry in found.items()} == {
        "Plain": ("One line.", {}),
        "Init": ("", {"a": None, "b": "2 ** 3", "c": None, "d": "[1]"}),
        "Data": ("Fields.", {"a": None, "b": "'x'"}),
        "function": ("Do.", {"x": None, "y": "None"}),
        "made": ("", None),
    }


def test_every_broken_part_gets_its_own_reason(install: Install) -> None:
    """One that ends the whole process, or prints what looks like an answer, costs no other its good name."""
    parts = {
        "Missing": ("", "ModuleNotFoundError: No module named 'part_missing'"),
        "Needs": ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        "Raises": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        "Attribute": ("class Other: ...", "AttributeError: module 'part_attribute' has no attribute 'Attribute'"),
        "Exits": ("import sys; sys.exit('bye')", "SystemExit: bye"),
        "Dies": ("import os, sys; print('oh', file=sys.stderr); os._exit(0)", "importing it ended the process: oh"),
        "Aborts": ("import os; os._exit(3)", "importing it ended the process: no word"),
        "Wrong": ("class Wrong(:", "SyntaxError: invalid syntax (part_wrong.py, line 1)"),
        "Bytes": (b"x = '\xff'", "SyntaxError: "),
        "Prints": ("print('null\\n\"a\"\\n\\0', flush=True)\nclass Prints:\n    'Prints [red].'", None),
        "Fine": ("class Fine:\n    '''Works.'''", None),
    }
    files = {f"part_{name.lower()}.py": text for name, (text, _) in parts.items() if name != "Missing"}
    points = {name: f"part_{name.lower()}:{name}" for name in parts}
    install("acai-many", "1", {"paths": {**points, "Point": "no entry point"}}, files)
    found = foreign()
    assert (found["Point"].broken or "").startswith("its entry point 'no entry point' is not of the form")
    for name, (_, reason) in parts.items():
        assert str(found[name].broken).startswith(str(reason))
    assert found["Fine"].description == "Works."
    assert found["Prints"].description == "Prints [red]."


def test_the_working_directory_shadows_nothing(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acai-fine", "1", {"paths": {"fine": "acai_fine:fine"}}, {"acai_fine.py": "import json\ndef fine(): ..."})
    (tmp_path / "json.py").write_text("1 / 0")
    (tmp_path / "acai_fine.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    assert foreign()["fine"].broken is None


def test_source_files_are_found_without_importing_packages(install: Install) -> None:
    site = install(
        "a", "1", {}, {"loud/__init__.py": "1 / 0", "loud/inner/deep.py": "1 / 0", "loud/inner/__init__.py": ""}
    )
    assert source_file("loud.inner.deep") == site / "loud" / "inner" / "deep.py"
    assert source_file("loud.inner") == site / "loud" / "inner" / "__init__.py"
    assert source_file("loud") == site / "loud" / "__init__.py"
    assert source_file("loud.nowhere") is None
    assert source_file("nowhere.at.all") is None


@pytest.mark.parametrize("value", ["math:sqrt", "_struct:Struct", "sys:exit", "functools:partial"])
def test_a_part_without_a_python_source_is_not_broken(install: Install, value: str) -> None:
    install("acai-compiled", "1", {"paths": {"part": value}})
    assert foreign()["part"].broken is None
