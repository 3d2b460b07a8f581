from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit import catalogue as module
from acaikit.catalogue import Entry, catalogue, describe
from acaikit.registry import KINDS, OURS, Part, find, parts

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
    assert count == len([part for part in parts() if part.distribution == OURS]) > len(OWN)
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
        "made": ("", {"y": "None"}),
    }


def test_what_the_source_of_others_does_not_say_importing_does(install: Install) -> None:
    base = """
import dataclasses

class Base:
    key = "inherited"
    def __init__(self, weight=2 ** 3, *rest, name="x") -> None: ...

@dataclasses.dataclass
class Fields:
    a: int
    b: int = 2
"""
    source = """
import dataclasses
from pkg.base import Base, Fields

class Inherits(Base):
    'Its own words.'

class Keyed(Base):
    key = "own"
    def __init__(self, weight=2 ** 4): ...

@dataclasses.dataclass
class More(Fields):
    c: int = 1 + 2

class Sized(int): ...
"""
    names = ("Inherits", "Keyed", "More", "Sized")
    files = {"pkg/base.py": base, "pkg/made.py": source}
    site = install("acai-made", "1", {"evaluators": {name: f"pkg.made:{name}" for name in names}}, files)
    assert {name: (entry.parameters, entry.key) for name, entry in foreign().items()} == {
        "Inherits": ({"weight": "2 ** 3", "name": "'x'"}, "inherited"),
        "Keyed": ({"weight": "2 ** 4"}, "own"),
        "More": ({"a": None, "b": "2", "c": "1 + 2"}, None),
        "Sized": (None, None),
    }
    assert {entry.file for entry in foreign().values()} == {site / "pkg" / "made.py"}


@pytest.mark.parametrize("name", ["ProbeAccuracy", "StrictKMeans", "FactorBenchmark"])
def test_the_key_of_an_evaluator_is_read_from_its_source(name: str) -> None:
    assert describe(find(name)).key == find(name).load().key


def test_a_module_that_takes_too_long_is_broken_and_holds_nobody_up(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one that leaves a process behind."""
    monkeypatch.setattr(module, "LIMIT", 0.6)
    files = {
        "part_hangs.py": "import time\ndef wait():\n    time.sleep(60)\nwait()",
        "part_process.py": "import subprocess\nmade = subprocess.Popen(['sleep', '60'])\n"
        "open(__file__.replace('part_process.py', 'pid'), 'w').write(str(made.pid))\nProcess = 1",
        "part_fine.py": "Fine = 1",
    }
    names = ("Hangs", "Process", "Fine")
    site = install("acai-slow", "1", {"paths": {name: f"part_{name.lower()}:{name}" for name in names}}, files)
    found = foreign()
    os.kill(int((site / "pid").read_text()), signal.SIGTERM)  # still there: it was not waited for
    assert {name: entry.broken for name, entry in found.items()} == {
        "Hangs": "importing it took more than 0.6 s",
        "Process": None,
        "Fine": None,
    }
    shown = (found["Hangs"].traceback or "").splitlines()
    assert [line.strip() for line in shown[2:]] == [
        f'File "{site}/part_hangs.py", line 3 in wait',
        f'File "{site}/part_hangs.py", line 4 in <module>',
    ]


def test_a_module_that_asks_gets_no_answer(install: Install) -> None:
    install("acai-asks", "1", {"paths": {"asks": "part_asks:asks"}}, {"part_asks.py": "input('password: ')"})
    terminal, typed = os.pipe()
    kept = os.dup(0)
    os.dup2(terminal, 0)
    os.write(typed, b"secret\n")
    try:
        assert foreign()["asks"].broken == "EOFError: EOF when reading a line"
    finally:
        os.dup2(kept, 0)
        for end in (terminal, typed, kept):
            os.close(end)


def test_a_traceback_is_of_the_plugin_alone(install: Install) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/inner.py": "def fail():\n    1 / 0\nfail()\n",
        "pkg/part.py": "from importlib import import_module\ntry:\n    import_module('pkg.inner')\n"
        "except ZeroDivisionError as e:\n    raise RuntimeError('no [red] luck') from e\n",
    }
    site = install("acai-broken", "1", {"paths": {"broken": "pkg.part:broken", "gone": "nowhere:gone"}}, files)
    found = foreign()
    shown = found["broken"].traceback or ""
    frames = [line.strip() for line in shown.splitlines() if line.strip().startswith("File ")]
    assert frames == [
        f'File "{site}/pkg/part.py", line 3, in <module>',
        f'File "{site}/pkg/inner.py", line 3, in <module>',
        f'File "{site}/pkg/inner.py", line 2, in fail',
        f'File "{site}/pkg/part.py", line 5, in <module>',
    ]
    assert shown.endswith("RuntimeError: no [red] luck")
    assert "File" not in str(found["gone"].traceback)


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


@pytest.mark.parametrize("value", ["math:sqrt", "_struct:Struct", "sys:exit", "functools:partial"])
def test_a_part_without_a_python_source_is_not_broken(install: Install, value: str) -> None:
    install("acai-compiled", "1", {"paths": {"part": value}})
    assert foreign()["part"].broken is None
