from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import acaikit as package
from acaikit import registry
from acaikit.experiment import Experiment
from acaikit.testing import check_regularizer

EXAMPLE = Path(__file__).parents[2] / "plugins" / "acaikit-example"
Install = Callable[..., Path]
RUN = ["run", "quickstart", "--set", "Experiment.regularizers = [@Sparse(), @ACAI()]", "--set", "Sparse.weight=0.01"]


@pytest.fixture
def sparse(install: Install) -> Path:
    """The plugin that the tutorial walks through, installed; returns the folder it is in."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    points = {group.removeprefix("acaikit."): made for group, made in project["entry-points"].items()}
    files = {str(file.relative_to(EXAMPLE)): file.read_bytes() for file in EXAMPLE.glob("acaikit_example/**/*.*")}
    return install(project["name"], "0.1", points, files)


def test_it_is_listed_with_its_version(acaikit, sparse) -> None:
    told = json.loads(acaikit("list", "regularizers", "--json").out)["parts"]
    assert told[-1] == {
        "kind": "regularizers",
        "name": "Sparse",
        "shortest_name": "Sparse",
        "distribution": "acaikit-example",
        "version": "0.1",
        "file": str(sparse / "acaikit_example" / "__init__.py"),
        "description": "An L1 penalty on the latent.",
        "parameters": {"weight": "0.001"},
        "broken": None,
    }
    assert "acaikit-example 0.1" in acaikit("list").out


def test_a_recipe_can_name_it_beside_others(acaikit, sparse, tiny) -> None:
    ran = acaikit(*RUN, *tiny, "--dir", "r")
    assert "Sparse " in ran.out
    told = json.loads(acaikit("show", "r", "--json").out)
    assert told["plugins"].keys() == {"acaikit", "acaikit-example"}
    assert told["plugins"]["acaikit-example"] == "0.1"
    assert "acaikit_example.regularizers.Sparse.weight = 0.01" in told["resolved"]
    assert {"name": "Sparse", "kind": "regularizers", "distribution": "acaikit-example", "version": "0.1"} in told[
        "parts"
    ]
    assert set(package.open_run("r").model.regularizers) == {"Sparse", "ACAI"}
    assert "acaikit_example" in sys.modules


def test_it_is_not_imported_where_it_is_not_named(acaikit, sparse, tiny) -> None:
    acaikit("run", "quickstart", *tiny, "--dry-run")
    assert "acaikit_example" not in sys.modules


def test_its_recipes_are_found_by_name(acaikit, sparse, tiny) -> None:
    told = json.loads(acaikit("run", "quickstart_sparse", "--dry-run", "--json").out)
    assert "Sparse" in {part["name"] for part in told["parts"]}


def test_it_is_a_plain_class_that_conforms(acaikit, sparse) -> None:
    made = importlib.import_module("acaikit_example").Sparse
    check_regularizer(made)
    from acaikit.data.lines import Lines
    from acaikit.nets import ConvDecoder, ConvEncoder

    experiment = Experiment(
        Lines(8, 8), ConvEncoder(depth=2, scales=2, latent=2), ConvDecoder(depth=2, scales=2), regularizers=[made(0.1)]
    )
    assert list(experiment.build()[0].regularizers) == ["Sparse"]


def test_another_process_finds_it(sparse: Path, tmp_path: Path) -> None:
    command = ["run", "quickstart_baseline", "--set", "Experiment.regularizers=[@Sparse()]", "--dry-run", "--json"]
    ran = subprocess.run(
        [sys.executable, "-m", "acaikit", *command],
        env={**os.environ, "PYTHONPATH": str(sparse)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "acaikit-example" in {part["distribution"] for part in json.loads(ran.stdout)["parts"]}


def test_a_run_whose_plugin_is_gone_says_which(acaikit, sparse, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    acaikit("run", "quickstart_baseline", *tiny, "--set", "Experiment.regularizers=[@Sparse()]", "--dir", "r", "-q")
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(sparse)])
    registry.installed.cache_clear()
    for command in ("show", "eval", "resume"):
        ran = acaikit(command, "r", code=2)
        assert "r began with acaikit-example 0.1, which is not installed: install it" in ran.err


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("class Other: ...", "AttributeError: module 'broken_part' has no attribute 'Broken'"),
        ("import os; os._exit(3)", "importing it ended the process"),
    ],
)
def test_a_broken_plugin_is_listed_with_the_reason_and_breaks_nothing_else(
    acaikit, install: Install, tiny, finished, source: str, reason: str
) -> None:
    install("acai-broken", "0.1", {"regularizers": {"Broken": "broken_part:Broken"}}, {"broken_part.py": source})
    told = {part["name"]: part["broken"] for part in json.loads(acaikit("list", "--json").out)["parts"]}
    assert told.pop("Broken").startswith(reason)
    assert set(told.values()) == {None}
    assert f"BROKEN: {reason}" in acaikit("list", "regularizers").out
    acaikit("run", "quickstart", *tiny, "--dry-run")
    acaikit("show", finished)
    acaikit("eval", finished, "--probe")
    if "os._exit" not in source:
        ran = acaikit("run", "quickstart_baseline", "--set", "Experiment.regularizers=[@Broken()]", code=2)
        assert "Broken (broken_part:Broken, from acai-broken 0.1) can't be imported" in ran.err
        assert reason in ran.err


def test_an_evaluator_is_found_by_its_key_without_importing_the_others(acaikit, install: Install, finished) -> None:
    source = "from pathlib import Path\nPath('imported').touch()\n1 / 0\n"
    install("acai-broken", "0.1", {"evaluators": {"Broken": "broken_part:Broken"}}, {"broken_part.py": source})
    acaikit("eval", finished, "--reconstruction", "--with", "probe")
    acaikit("eval", finished)
    assert not Path("imported").exists()
    assert (
        "no evaluator is called 'prob': did you mean probe" in acaikit("eval", finished, "--with", "prob", code=2).err
    )


def test_another_version_than_a_run_began_with_is_told(acaikit, install: Install, sparse, tiny) -> None:
    regularizers = ["--set", "Experiment.regularizers=[@Sparse()]"]
    command = ["run", "quickstart_baseline", *tiny, *regularizers, "--dir", "r"]
    assert "this run began with" not in acaikit(*command, "--max-time", "0").err
    (sparse / "acaikit_example-0.1.dist-info").rename(sparse / "acaikit_example-0.2.dist-info")
    metadata = sparse / "acaikit_example-0.2.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("0.1", "0.2"))
    registry.installed.cache_clear()
    said = (
        "this run began with acaikit-example 0.1, and 0.2 is installed: what changed between them changes its numbers; "
        "0.1 gives the old ones"
    )
    for again in (["resume", "r"], command):
        assert said in acaikit(*again, "--max-time", "0").err.splitlines()
    assert said in acaikit("resume", "r").err.splitlines()
    for look in (["show", "r"], ["eval", "r", "--probe"]):
        assert f"note: r: {said}" in acaikit(*look).err.splitlines()


def test_a_part_of_the_wrong_kind_is_refused(acaikit, install: Install) -> None:
    install("acai-odd", "0.1", {"regularizers": {"Odd": "odd_part:Odd"}}, {"odd_part.py": "class Odd: ..."})
    ran = acaikit("run", "quickstart_baseline", "--set", "Experiment.regularizers=[@Odd()]", code=2)
    assert "each of Experiment.regularizers must be a Regularizer, not an Odd" in ran.err


FAULTY = """
from acaikit.evaluators import Evaluator
from acaikit.regularizer import Regularizer

class Another: ...

class Faulty(Regularizer):
    def __init__(self, at):
        super().__init__()
        self.at, self.steps = at, 0
        self.fail("init")
    def fail(self, at):
        if self.at == at:
            raise KeyError("mu")
    def build(self, architecture):
        self.fail("build")
    def model_loss(self, step):
        self.fail("model_loss")
        return step.z.mean()
    def after_step(self, step):
        self.steps += 1
        self.fail(f"step {self.steps}")

class Keyless(Evaluator):
    def fits(self, trained):
        return True
    def evaluate(self, trained):
        return {}

class Hookless(Regularizer): ...

class NoSuper(Regularizer):
    def __init__(self):
        self.weight = 1.0

class Halfway(Regularizer):
    __init__ = Regularizer.__base__.__init__
"""


@pytest.fixture
def faulty(install: Install) -> Path:
    names = {"regularizers": ("Another", "Faulty", "Hookless", "NoSuper", "Halfway"), "evaluators": ("Keyless",)}
    points = {kind: {name: f"faulty_part:{name}" for name in made} for kind, made in names.items()}
    points["regularizers"]["Module"] = "faulty_part"
    return install("acai-faulty", "0.1", points, {"faulty_part.py": FAULTY})


def test_a_fault_of_a_plugin_is_one_message_and_what_was_saved_stays(
    acaikit, faulty, tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["quickstart_baseline", *tiny, "--set", "Experiment.regularizers=[@Faulty()]", "--set"]
    said = (
        f"error: Faulty (from acai-faulty 0.1) is faulty: KeyError: 'mu' ({faulty / 'faulty_part.py'}:14); "
        "acaikit plugin check Faulty tells more, and ACAIKIT_TRACEBACK=1 shows the traceback\n"
    )
    for at in ("init", "build", "model_loss"):
        assert acaikit("run", *command, f"Faulty.at='{at}'", "--dir", at, "-q", code=2).err.endswith(said)
    assert acaikit("run", *command, "Faulty.at='step 3'", "--dir", "r", "-q", code=2).err.endswith(said)
    assert json.loads(acaikit("show", "r", "--json").out)["samples"] == 128
    monkeypatch.setenv("ACAIKIT_TRACEBACK", "1")
    shown = acaikit("show", "--sizes", *command, "Faulty.at='build'", code=2).err
    assert "Traceback (most recent call last)" in shown and "in build" in shown


def test_what_is_no_proper_part_is_refused(acaikit, faulty, finished, tiny) -> None:
    command = ["run", "quickstart_baseline", *tiny, "--dry-run", "--set"]
    said = "Module (faulty_part, from acai-faulty 0.1) is no class or function: its entry point must be written module:"
    assert said in acaikit(*command, "Experiment.regularizers=[@Module()]", code=2).err
    for name in ("NoSuper", "Halfway"):
        ran = acaikit(*command, f"Experiment.regularizers=[@{name}()]", code=2)
        assert f"{name}.__init__ must begin with super().__init__()" in ran.err
    ran = acaikit("eval", finished, "--with", "Keyless", code=2)
    assert "Keyless has no key to store its scores by: give the class one" in ran.err


def test_a_plugin_that_lists_a_module_of_others_is_not_blamed_for_it(acaikit, install: Install) -> None:
    points = {"Mixed": "acaikit.regularizers.acai:ACAI", "Loss": "torch.nn:MSELoss"}
    install("acai-alias", "1.0", {"regularizers": points})
    assert "Usage: acaikit run" in acaikit("run", "--help").out
    assert "No such command 'chekc'" in acaikit("chekc", code=2).err


def test_a_regularizer_without_a_hook_is_told_where_it_is_bound(acaikit, faulty, tiny) -> None:
    Path("r.gin").write_text("include 'quickstart_baseline.gin'\nExperiment.regularizers = [@Hookless()]\n")
    told = acaikit("run", "r.gin", *tiny, code=2).err
    assert told.startswith("error: r.gin:2: Hookless writes none of the hooks corrupt, ")


def test_a_fault_of_our_own_stays_one(acaikit, faulty, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Experiment, "build", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        acaikit(
            "run", "quickstart_baseline", *tiny, "--set", "Experiment.regularizers=[@Faulty()]", "--set", "Faulty.at=''"
        )


def test_two_plugins_with_one_name(acaikit, install: Install) -> None:
    for name in ("acai-one", "acai-two"):
        install(name, "1.0", {"regularizers": {"Same": "same_part:Same"}})
    ran = acaikit("run", "quickstart_baseline", "--set", "Experiment.regularizers=[@Same()]", code=2)
    assert "acai_one.regularizers.Same (from acai-one 1.0) or acai_two.regularizers.Same (from acai-two 1.0)" in ran.err
