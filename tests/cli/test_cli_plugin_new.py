from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from acaikit import registry
from acaikit.scaffold import Kind, Names, begin

NAMES = {kind: Names.of(f"my-{kind}", kind) for kind in Kind}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin of every kind as it is generated, installed from its wheel; the sources are in the folder beside."""
    folder = tmp_path_factory.mktemp("plugins")
    sources = [begin(NAMES[kind], kind, folder / "sources")[0].parent for kind in Kind]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "site")]
    subprocess.run([*pip, *offline, *map(str, sources)], check=True)
    return folder / "site"


@pytest.fixture
def plugins(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plugins in this process, for the length of a test."""
    monkeypatch.syspath_prepend(site)
    registry.installed.cache_clear()
    yield
    registry.installed.cache_clear()
    for module in [name for name in sys.modules if name.startswith("acaikit_my_")]:
        del sys.modules[module]


def test_it_says_what_it_wrote_and_what_to_type_next(acaikit) -> None:
    written, _, then = acaikit("plugin", "new", "MyIdea", "--kind", "path", "-o", "my own").out.partition("next:\n")
    assert written.splitlines() == [
        "written:",
        "  my own/acaikit-my-idea/pyproject.toml",
        "  my own/acaikit-my-idea/README.md",
        "  my own/acaikit-my-idea/acaikit_my_idea/__init__.py",
        "  my own/acaikit-my-idea/acaikit_my_idea/recipes/quickstart_my_idea.gin",
        "  my own/acaikit-my-idea/tests/test_my_idea.py",
    ]
    assert all(Path(line.strip()).is_file() for line in written.splitlines()[1:])
    commands = [shlex.split(line) for line in then.splitlines()]
    assert commands == [
        ["cd", "my own/acaikit-my-idea"],
        ["pip", "install", "-e", ".[test]"],
        ["pytest"],
        ["acaikit", "plugin", "check", "my_idea"],
        ["acaikit", "run", "quickstart_my_idea"],
    ]


def test_it_writes_here(acaikit) -> None:
    assert "\n  cd acaikit-sparse\n" in acaikit("plugin", "new", "sparse", "--kind", "regularizer").out
    assert Path("acaikit-sparse", "tests", "test_sparse.py").is_file()
    ran = acaikit("plugin", "new", "sparse", "--kind", "encoder", code=2)
    assert ran.err == (
        "error: acaikit-sparse is there already, and nothing is overwritten: choose another name or another -o\n"
    )
    assert ran.out == ""


def test_a_kind_must_be_said(acaikit) -> None:
    for ran in (
        acaikit("plugin", "new", "sparse", code=2),
        acaikit("plugin", "new", "sparse", "--kind", "model", code=2),
    ):
        assert "--kind" in ran.err
        assert all(kind in ran.err for kind in Kind)
    ran = acaikit("plugin", "new", "sparse", "--kind", "regularisor", code=2)
    assert ran.err == "error: there is no --kind 'regularisor': did you mean regularizer?\n"
    assert list(Path().iterdir()) == []


def test_a_file_is_no_folder_to_write_to(acaikit) -> None:
    Path("notes").touch()
    assert "'notes' is a file" in acaikit("plugin", "new", "sparse", "--kind", "path", "-o", "notes", code=2).err


@pytest.mark.slow
def test_each_passes_its_own_tests(site: Path) -> None:
    folders = sorted((site.parent / "sources").glob("*/tests"))
    assert len(folders) == len(Kind)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *map(str, folders)],
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.slow
def test_all_are_listed(acaikit, plugins: None) -> None:
    told = {part["name"]: part for part in json.loads(acaikit("list", "--json").out)["parts"]}
    for kind, names in NAMES.items():
        part = told[names.part]
        assert (part["kind"], part["distribution"], part["version"]) == (f"{kind}s", names.distribution, "0.1.0")
        assert part["description"]
        assert part["broken"] is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", Kind)
def test_each_recipe_trains(acaikit, plugins: None, tiny: list[str], kind: Kind) -> None:
    bindings = [word for word in tiny if word != "--set"]
    if kind is Kind.dataset:
        bindings = [binding for binding in bindings if not binding.startswith("Lines.")]
        bindings += ["MyDataset.size=8", "MyDataset.test_size=16"]
    small = [word for binding in bindings for word in ("--set", binding)]
    acaikit("run", NAMES[kind].recipe, *small, "--dir", "r", "--quiet")
    told = json.loads(acaikit("show", "r", "--json").out)
    assert told["finished"]
    assert NAMES[kind].part in told["resolved"]
