from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import acaikit as package
from acaikit.config import read_recipe
from acaikit.runs.session import open_session


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for recipe, seed in itertools.product(("quickstart", "quickstart_baseline"), (0, 1, 7)):
        if (recipe, seed) != ("quickstart_baseline", 7):
            config = read_recipe(recipe, [*tiny[1::2], f"Experiment.seed = {seed}"])
            with open_session(folder / f"{recipe}-s{seed}", config=config, say=pytest.fail) as session:
                session.train([], lambda: False)
    return folder


@pytest.fixture
def pairs(acaikit, trained: Path) -> None:
    shutil.copytree(trained, "runs")


def median(path: str, score: str) -> float:
    return float(np.median(package.open_run(path).metrics()[score]))


def test_prefixes_stand_for_seeds(acaikit, pairs) -> None:
    ran = acaikit("compare", "runs/quickstart", "runs/quickstart_baseline", "--json", "--score", "probe/accuracy")
    assert ran.out.count("\n") == 1 and ran.err == ""
    told = json.loads(ran.out, parse_constant=pytest.fail)
    (score,) = told["scores"]
    values = [
        [median(f"runs/{name}-s{seed}", "probe/accuracy") for seed in (0, 1)]
        for name in ("quickstart", "quickstart_baseline")
    ]
    paired = np.subtract(values[1], values[0])
    assert score["difference"] == pytest.approx(paired.mean())
    assert (score["mean_a"], score["mean_b"]) == (pytest.approx(np.mean(values[0])), pytest.approx(np.mean(values[1])))
    assert score["interval"] == pytest.approx([paired.min(), paired.max()])  # two pairs: a quarter of the means each
    assert told["notes"][0] == "only A has seed 7: left out"
    assert any(line.startswith("Experiment.regularizers: ") for line in told["settings"])
    assert [Path(path).name for path in told["b"]["runs"]] == ["quickstart_baseline-s0", "quickstart_baseline-s1"]


def test_as_text(acaikit, pairs) -> None:
    ran = acaikit("compare", "runs/quickstart-s[01]", "runs/quickstart_baseline-s*")
    for said in ("they differ in (A -> B):", "Experiment.regularizers", "probe/accuracy", "95 % interval", " to "):
        assert said in ran.out
    assert "2 pairs are few" in ran.err


def test_one_run_each(acaikit, pairs) -> None:
    ran = acaikit("compare", "runs/quickstart-s0", "runs/quickstart_baseline-s0", "--json")
    told = json.loads(ran.out)
    assert all(score["interval"] is None and score["n"] == 1 for score in told["scores"])
    assert "no interval" in told["notes"][-1]
    err = acaikit("compare", "runs/quickstart-s0", "runs/quickstart_baseline-s1", code=2).err
    assert "no seed in common" in err


def test_mistakes(acaikit, pairs) -> None:
    assert "nothing is no run" in acaikit("compare", "nothing", "runs/quickstart", code=2).err
    assert (
        "did you mean probe/accuracy"
        in acaikit("compare", "runs/quickstart-s0", "runs/quickstart-s0", "--score", "probe/acc", code=2).err
    )
    assert "A must be one experiment" in acaikit("compare", "runs/*", "runs/quickstart", code=2).err
