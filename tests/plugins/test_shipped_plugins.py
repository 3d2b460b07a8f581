from __future__ import annotations

import inspect
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from acaikit import cli, registry
from acaikit.config import build, read_recipe
from acaikit.experiment import Experiment
from acaikit.recipes import locate, recipes

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


class Shipped(NamedTuple):
    distribution: str
    part: str
    recipes: set[str]

    @property
    def module(self) -> str:
        return self.distribution.replace("-", "_")

    @property
    def readme(self) -> str:
        return (ROOT / "plugins" / self.distribution / "README.md").read_text(encoding="utf-8")


SHIPPED = [
    Shipped("acaikit-aeai", "AEAI", {"quickstart_aeai", "lines_aeai_64", "mnist_aeai_256"}),
    Shipped("acaikit-example", "Sparse", {"quickstart_sparse", "lines_sparse_64", "mnist_sparse_256"}),
    Shipped("acaikit-mixup", "AMR", {"quickstart_amr", "lines_amr_64", "mnist_amr_256"}),
]
every_plugin = pytest.mark.parametrize("plugin", SHIPPED, ids=lambda plugin: plugin.distribution)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the plugins, as building and testing leave files behind."""
    leftovers = shutil.ignore_patterns("__pycache__", ".*", "build", "dist", "*.egg-info")
    return Path(shutil.copytree(ROOT / "plugins", tmp_path_factory.mktemp("plugins") / "src", ignore=leftovers))


@pytest.fixture(scope="module")
def site(sources: Path) -> Path:
    """A folder in which pip has installed all of them."""
    target = sources.with_name("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", str(target)]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    folders = sorted(str(folder) for folder in sources.iterdir() if folder.is_dir())
    ran = subprocess.run([*pip, *offline, *folders], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return target


@pytest.fixture(scope="module")
def installed(site: Path) -> Iterator[Path]:
    """The same folder, where this process finds what is in it."""
    modules = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        registry.installed.cache_clear()
        yield site
    registry.installed.cache_clear()
    for new in set(sys.modules) - modules:
        if new.partition(".")[0] in {plugin.module for plugin in SHIPPED}:
            del sys.modules[new]


def test_these_are_all() -> None:
    assert sorted(file.parent.name for file in (ROOT / "plugins").glob("*/pyproject.toml")) == [
        plugin.distribution for plugin in SHIPPED
    ]


def test_their_own_tests_pass_where_they_are_installed(sources: Path, site: Path) -> None:
    tests = sorted(map(str, sources.glob("*/tests")))
    assert len(tests) == len(SHIPPED)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *tests]
    path = {**os.environ, "PYTHONPATH": str(site)}
    ran = subprocess.run(command, cwd=sources, env=path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@every_plugin
def test_a_part_is_what_was_installed(installed: Path, plugin: Shipped) -> None:
    part = registry.find(plugin.part)
    assert part.full_name == f"{plugin.module}.regularizers.{plugin.part}"
    file = inspect.getsourcefile(part.load())
    assert file and Path(file) == installed / plugin.module / "__init__.py"


@every_plugin
def test_its_recipes_are_found_by_name(installed: Path, plugin: Shipped) -> None:
    found = {recipe.name: recipe for recipe in recipes() if recipe.distribution == plugin.distribution}
    assert found.keys() == plugin.recipes
    for name, recipe in found.items():
        assert locate(name) == recipe.file
        assert recipe.file.is_relative_to(installed / plugin.module)


@pytest.mark.parametrize(
    ("plugin", "recipe"), [pytest.param(p, recipe, id=recipe) for p in SHIPPED for recipe in sorted(p.recipes)]
)
def test_a_recipe_builds_and_its_sizes_fit(installed: Path, plugin: Shipped, recipe: str) -> None:
    experiment = build(read_recipe(recipe))
    assert isinstance(experiment, Experiment)
    model, probe = experiment.build()
    assert list(model.regularizers) == [plugin.part]
    data, size = (("Lines", 64), ("MNIST", 256))[recipe.startswith("mnist")]
    assert type(experiment.dataset).__name__ == data
    assert math.prod(model.latent_shape) == size
    assert probe is not None
    critic = model.regularizers[plugin.part].critic
    assert (critic is None) == (plugin.part == "Sparse")


@every_plugin
def test_its_recipes_say_the_defaults(installed: Path, plugin: Shipped) -> None:
    part = registry.find(plugin.part)
    defaults = {name: p.default for name, p in inspect.signature(part.load()).parameters.items() if name != "critic"}
    for recipe in plugin.recipes:
        said = {b.parameter: b.value for b in read_recipe(recipe).bindings.values() if b.name == part.full_name}
        assert said == defaults, recipe


@every_plugin
def test_its_readme_names_what_there_is(installed: Path, plugin: Shipped) -> None:
    readme = plugin.readme
    assert set(re.findall(r"`((?:quickstart|lines|mnist)_\w+)`", readme)) >= plugin.recipes
    parameters = inspect.signature(registry.find(plugin.part).load()).parameters
    assert {name for name in parameters if f"`{name}`" not in readme} == set()
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^acaikit .*$", readme, re.MULTILINE)]
    ran = [words for words in commands if words[1] == "run"]
    assert ran
    for words in ran:
        overrides = [value for option, value in pairwise(words) if option == "--set"]
        build(read_recipe(words[2], overrides))


def test_the_list_shows_them(
    installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["acaikit", "list", "regularizers", "--json"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert not exit_.value.code
    told = {part["name"]: part for part in json.loads(capsys.readouterr().out)["parts"]}
    for plugin in SHIPPED:
        part = told[plugin.part]
        assert (part["distribution"], part["version"], part["broken"]) == (plugin.distribution, "0.1.0", None)
        assert Path(part["file"]) == installed / plugin.module / "__init__.py"


def test_acaikit_knows_none_of_them() -> None:
    names = [name for plugin in SHIPPED for name in (plugin.distribution, plugin.module)]
    words = re.compile(r"\b(" + "|".join([*names, "AEAI", "AMR"]) + r")\b")
    files = [file for folder in ("acaikit", "gin") for file in (ROOT / folder).rglob("*") if file.is_file()]
    texts = {file: file.read_text(encoding="utf-8") for file in files if file.suffix != ".pyc"}
    assert len(texts) > 100
    assert [str(file) for file, text in texts.items() if words.search(text)] == []
