from __future__ import annotations

import inspect
import platform
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config, read_bindings
from acaikit.data import Arrays, Disc
from acaikit.errors import Note, RunError
from acaikit.registry import parts
from acaikit.runs import provenance
from acaikit.runs.opened import open_run
from acaikit.runs.provenance import (
    began_with,
    changed_versions,
    data_protocol,
    describe,
    fingerprint,
    plugins,
    run_info,
)

Recipe = Callable[..., Config]
CPU = torch.device("cpu")


def test_what_a_run_remembers(recipe: Recipe, tmp_path: Path) -> None:
    config = recipe("acai", "Experiment.seed = 3")
    info = describe(config, ["Experiment.seed = 3"], 3, CPU, {"train": "its hash"})
    assert info["resolved"] == config.resolved
    assert info["overrides"] == ["Experiment.seed = 3"]
    assert info["seed"] == 3
    assert (tmp_path / "tiny.gin").read_text() in info["sources"].values()
    assert abs(datetime.fromisoformat(info["created"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert info["python"] == platform.python_version()
    assert info["libraries"] == {name: version(name) for name in ("acaikit", "torch", "numpy", "h5py", "gin-config")}
    assert info["plugins"] == {"acaikit": version("acaikit")}
    assert info["fingerprint"] == fingerprint(CPU)
    directory = RunDir(tmp_path / "run")
    directory.write_run(info)
    assert directory.read_run() == info


@pytest.mark.parametrize("name", ["resolved", "fingerprint", "plugins"])
def test_what_a_run_must_say(recipe: Recipe, tmp_path: Path, name: str) -> None:
    info = describe(recipe(), [], 0, CPU, {})
    for number, odd in enumerate(({}, {name: 7})):
        directory = RunDir(tmp_path / str(number))
        directory.write_run({key: value for key, value in info.items() if key != name} | odd)
        with pytest.raises(RunError, match=rf"run\.h5 is broken: it doesn't say the run's {name}; .*Still there"):
            run_info(directory)


def test_every_run_has_an_id_of_its_own(recipe: Recipe) -> None:
    ids = {describe(recipe(), [], 0, CPU, {})["run_id"] for _ in range(5)}
    assert len(ids) == 5


def test_plugins_are_those_that_the_recipe_names(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = SimpleNamespace(distribution="others-kit", version="1.2")
    find = provenance.registry.find
    monkeypatch.setattr(
        provenance.registry, "find", lambda name: foreign if name.endswith((".ACAI", ".Lines")) else find(name)
    )
    assert any(part.name == "ACAI" for part in parts())
    assert list(plugins(recipe("acai")).items()) == [("acaikit", version("acaikit")), ("others-kit", "1.2")]


def test_a_plugins_path_that_a_text_names_counts(install: Callable[..., Path], recipe: Recipe) -> None:
    install("acai-bow", "1.5", {"paths": {"bow": "bow:bow", "low": "bow:low"}})
    config = recipe("baseline")
    assert "acai-bow" not in plugins(config)
    for text in ("bow", "paths.bow", "acai_bow.paths.bow"):
        named = read_bindings(["Interpolation.path = 'lerp'", f"x = [1, {{'a': {text!r}}}]"])
        assert plugins(named) == {"acaikit": version("acaikit"), "acai-bow": "1.5"}
    assert "acai-bow" not in plugins(read_bindings(["Interpolation.path = 'ow'"]))


def test_versions_that_differ_are_told_one_line_each(install: Callable[..., Path]) -> None:
    install("acai-new", "2.0", {"paths": {"new": "new:new"}})
    install("Acai.Same", "1.0", {"paths": {"same": "same:same"}})
    ours = {"acaikit": version("acaikit")}
    assert changed_versions({"plugins": {**ours, "acai-same": "1.0"}}) == []
    assert changed_versions({"plugins": {"acaikit": "0.0.1", "acai-new": "1.0"}}) == [
        f"this run began with acaikit 0.0.1, and {version('acaikit')} is installed: what changed between them changes "
        "its numbers; 0.0.1 gives the old ones",
        "this run began with acai-new 1.0, and 2.0 is installed: what changed between them changes its numbers; "
        "1.0 gives the old ones",
    ]


def test_a_run_of_another_version_is_opened_and_continued_with_a_word(
    recipe: Recipe, tmp_path: Path, train: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    train(path, recipe(), steps=3)
    open_run(path)  # a warning would be an error
    installed = provenance.registry.version
    monkeypatch.setattr(provenance.registry, "version", lambda name: "99" if name == "acaikit" else installed(name))
    with pytest.warns(Note, match=rf"^{path}: this run began with acaikit .*, and 99 is installed"):
        open_run(path)
    said: list[str] = []
    train(path, steps=3, say=said.append)
    assert [line.partition(",")[0] for line in said] == [f"this run began with acaikit {version('acaikit')}"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_checkout_acaikit_is_tracked_in(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*command: str) -> str:
        said = subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=t", "-c", "user.email=t@example.org", *command],
            capture_output=True,
            text=True,
            check=True,
        )
        return said.stdout.strip()

    def commit() -> str | None:
        return describe(config, [], 0, CPU, {})["git_commit"]

    config = recipe()
    module = tmp_path / "provenance.py"
    module.touch()
    monkeypatch.setattr(provenance, "__file__", str(module))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() is None  # no checkout
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "a")
    assert commit() is None  # a checkout of something else, with acaikit installed inside it
    git("add", "provenance.py")
    git("commit", "--quiet", "-m", "b")
    assert commit() == git("rev-parse", "HEAD")
    monkeypatch.setenv("PATH", "")
    assert commit() is None  # no git


def test_data_are_named_by_their_hashes_or_else_by_what_they_are_drawn_from(tmp_path: Path) -> None:
    assert data_protocol(Disc(radius=3), {}) == {"dataset": "Disc", **vars_of(Disc(radius=3))}
    assert data_protocol(Disc(radius=3), {}) != data_protocol(Disc(radius=4), {})
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", x=np.zeros((20, 3), np.float32))
    told = [data_protocol(made, made.digests) for made in (Arrays(tmp_path / "a.npz"), Arrays(tmp_path / "b.npz"))]
    assert told[0] == told[1] and told[0].keys() == {"dataset", "digests"}


def vars_of(disc: Disc) -> dict[str, object]:
    return {name: getattr(disc, name) for name in inspect.signature(Disc).parameters}


def test_a_run_whose_plugin_is_gone_says_so_and_nothing_else(
    install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = {"resolved": "acai_gone.regularizers.Own.weight = 1\n", "plugins": {"acaikit": "0", "acai-gone": "1.0"}}
    with pytest.raises(RunError) as caught:
        began_with(tmp_path, info)
    assert str(caught.value) == (
        f"{tmp_path} began with acai-gone 1.0, which is not installed: install it from where you had it "
        "(pip install acai-gone==1.0, if it is published)"
    )
    install("acai-gone", "2.0", {"regularizers": {"Own": "own:Own"}})
    assert began_with(tmp_path, info).resolved == info["resolved"]
    monkeypatch.setenv("ACAIKIT_PLUGINS", "")
    with pytest.raises(RunError, match=r"began with acai-gone 1\.0, which ACAIKIT_PLUGINS='' leaves out"):
        began_with(tmp_path, info)
