"""Completion as the shells ask for it: words in the environment, offers on standard output."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from acaikit import recipes
from acaikit.registry import KINDS

Install = Callable[..., Path]
Offer = Callable[[str], list[str]]


@pytest.fixture(autouse=True)
def _called_acaikit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program's name, and so that of its environment variable, be no other under ``python -m pytest``."""
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None, raising=False)


@pytest.fixture
def offer(acaikit, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Return what bash is offered for the last word of a line; a line that ends with a space begins a new word."""

    def offer(line: str) -> list[str]:
        words = ["acaikit", *shlex.split(line)]
        monkeypatch.setenv("_ACAIKIT_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - (not line.endswith(" "))))
        return acaikit().out.split()

    return offer


@pytest.fixture
def plugin(install: Install) -> Path:
    """A distribution with parts of several kinds, none of which can be imported, and a recipe."""
    source = "1 / 0\nclass Odd:\n    key = 'oddity'\n    def __init__(self, speed=1): ...\n"
    points = {"evaluators": {"Odd": "odd:Odd"}, "regularizers": {"ACAI": "odd:Odd"}, "recipes": {"odd": "odd_recipes"}}
    return install(
        "acai-odd", "1.0", points, {"odd.py": source, "odd_recipes/oddly.gin": "", "odd_recipes/quickstart.gin": ""}
    )


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("list re", ["regularizers", "recipes"]),
        ("list ", [*KINDS, "recipes", "studies"]),
        ("list stu", ["studies"]),
        ("run quick", ["quickstart", "quickstart_baseline"]),
        ("run oddl", ["oddly"]),
        ("run acai_odd.", ["acai_odd.quickstart"]),
        ("show quickstart_", ["quickstart_baseline"]),
        ("config diff quickstart quickstart_", ["quickstart_baseline"]),
        ("run quickstart --set VQEMA.d", ["VQEMA.decay="]),
        (
            "run quickstart --set VQ",
            ["VQEMA.", *(f"VQEMA.{p}=" for p in ("weight", "entries", "vectors", "hidden", "decay"))],
        ),
        ("run quickstart --set big/KL.", ["big/KL.weight="]),
        ("run quickstart --set Experiment.se", ["Experiment.seed="]),
        ("run quickstart --set M", ["MLPEncoder.", "MLPDecoder.", "MSE.", "MNIST."]),
        ("run quickstart --set acai_odd.regularizers.ACAI.", ["acai_odd.regularizers.ACAI.speed="]),
        ("run quickstart --set Nowhere.", []),
        ("config explain quickstart K", ["KL", "KMNIST", "KMeans", "KNNProbe"]),
        ("config explain quickstart KL", ["KL", "KL.weight"]),
        ("config explain quickstart KL.w", ["KL.weight"]),
        ("eval --with kmeans", ["kmeans", "kmeans_strict"]),
        ("eval --with StrictKM", ["StrictKMeans"]),
        ("eval --with odd", ["oddity"]),
        ("eval --set Odd.", ["Odd.speed="]),
        ("data reference MNIST --with Od", ["Odd"]),
        ("data preview Li", ["Lines"]),
        ("data fetch Lines MN", ["MNIST"]),
        ("data check SVH", ["SVHN"]),
    ],
)
def test_what_is_offered(offer: Offer, plugin: Path, line: str, offers: list[str]) -> None:
    assert offer(line) == offers
    assert "odd" not in sys.modules


def test_parts_and_distributions(plugin: Path) -> None:
    from acaikit.cli.completion import complete_part

    assert complete_part("acai") == ["acai_odd.regularizers.ACAI", "acai-odd"]
    assert complete_part("A") == ["ACAI", "AdversarialPrior", "Arrays"]
    assert complete_part("nowhere") == []


def test_files_and_run_directories(offer: Offer) -> None:
    for folder in ("runs/a-s0", "runs/a-s1", "runs/.hidden", "runs/other/deep", "mine/deep", "quiet"):
        Path(folder).mkdir(parents=True)
    for file in (
        "runs/a-s0/run.h5",
        "runs/a-s1/run.h5",
        "runs/other/deep/run.h5",
        "mine/deep/r.gin",
        "mine/deep/t.txt",
    ):
        Path(file).touch()
    runs = ["runs/a-s0", "runs/a-s1", "runs/other/"]
    for line in (
        "resume ru",
        "resume runs/",
        "figure strips runs/",
        "table ru",
        "eval runs/",
        "compare x ru",
        "show ru",
    ):
        assert offer(line) == runs
    assert offer("eval runs/a-s0 runs/a-s1") == ["runs/a-s1"]
    assert offer("resume runs/o") == ["runs/other/deep"]  # a folder alone is opened
    assert offer("resume runs/.h") == ["runs/.hidden/"]
    assert offer("run mine") == ["mine/deep/r.gin"]
    assert offer("run qui") == ["quickstart", "quickstart_baseline", "quiet/"]
    assert offer("resume nowhere/") == []


def test_studies_and_their_folders(acaikit, offer: Offer, plugin: Path) -> None:
    from acaikit.cli.completion import complete_run_or_study_dir, complete_study, complete_study_dir

    assert complete_study("") == [*recipes.named(recipes.STUDY)]
    assert complete_study("tab") == ["table1", "table2", "table3"]
    for file in ("studies/a/study.json", "studies/a/runs/x-s0/run.h5", "studies/mine.gin", "runs/x-s0/run.h5"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    assert complete_study("studies/") == ["studies/a/", "studies/mine.gin"]
    assert complete_study_dir("stu") == ["studies/a"]
    assert complete_study_dir("ru") == ["runs/x-s0/"]
    assert complete_run_or_study_dir("studies/") == ["studies/a"]
    assert complete_run_or_study_dir("studies/a/runs/") == ["studies/a/runs/x-s0"]
    assert complete_run_or_study_dir("run") == ["runs/x-s0"]
    for command in ("table", "compare", "compare x", "figure strips", "eval"):
        assert offer(f"{command} studies/") == ["studies/a"]


def test_every_recipe_that_has_a_name_is_offered(offer: Offer, plugin: Path) -> None:
    assert offer("run ") == [*recipes.named()]


def test_what_acaikit_plugins_leaves_out_is_not_offered(
    offer: Offer, plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACAIKIT_PLUGINS", "")
    assert offer("eval --with od") == offer("run oddl") == []


@pytest.mark.parametrize(
    ("shell", "out"),
    [
        ("zsh", '_arguments \'*: :(("quickstart"\n"quickstart_baseline"))\''),
        ("fish", "quickstart\nquickstart_baseline"),
    ],
)
def test_other_shells(acaikit, monkeypatch: pytest.MonkeyPatch, shell: str, out: str) -> None:
    monkeypatch.setenv("_ACAIKIT_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "acaikit run quick")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert acaikit().out.strip() == out


def test_completion_imports_nothing_heavy(plugin: Path) -> None:
    script = """
import json, sys
from acaikit.cli import main
sys.argv = ["acaikit"]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    env = {"PYTHONPATH": os.pathsep.join([str(plugin), *filter(None, sys.path)]), "COMP_CWORD": "4"}
    env |= {"_ACAIKIT_COMPLETE": "complete_bash", "COMP_WORDS": "acaikit run oddly --set ACAI."}
    ran = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["ACAI.weight=", "ACAI.gamma=", "ACAI.critic="]
    modules = set(json.loads(ran.stderr.splitlines()[-1]))
    assert "acaikit.registry" in modules
    assert not {"odd", "torch", "sklearn", "matplotlib", "numpy", "scipy", "h5py", "gin"} & modules
