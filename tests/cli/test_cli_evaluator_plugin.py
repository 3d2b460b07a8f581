from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import acaikit as package
from acaikit.artifacts.evaluations import read_evaluation
from acaikit.testing import check_evaluator

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


@pytest.fixture
def active_units(install: Callable[..., Path]) -> Path:
    """The documentation's own example of an evaluator, installed."""
    source = next(s for s in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class ActiveUnits" in s)
    points = {"evaluators": {"ActiveUnits": "active_units:ActiveUnits"}}
    return install("acaikit-active-units", "0.1", points, {"active_units.py": source})


def test_it_conforms(active_units: Path) -> None:
    made = importlib.import_module("active_units").ActiveUnits
    for data in ("images", "vectors"):
        check_evaluator(made, data)
    check_evaluator(made, labels=False)


def test_it_measures_a_run(acaikit, active_units: Path, finished: Path) -> None:
    acaikit("eval", finished, "--with", "ActiveUnits")
    (file,) = finished.glob("eval/active_units-*.h5")
    told = read_evaluation(file)
    assert told.protocol["threshold"] == 0.01
    run = package.open_run(finished)
    with torch.no_grad():
        z = run.model.encode(run.experiment.dataset.test().examples(slice(None))).flatten(1).numpy()
    variance = z.var(0, ddof=1)
    np.testing.assert_allclose(told.arrays["variance"], variance, rtol=1e-4)
    assert told.scores["share"] == np.mean(variance > 0.01)


def test_a_recipe_can_name_it(acaikit, active_units: Path, tiny: list[str]) -> None:
    evaluators = "Experiment.evaluators=[@ProbeAccuracy(), @ActiveUnits()]"
    acaikit("run", "quickstart_baseline", *tiny, "--set", evaluators, "--dir", "r", "-q")
    assert "active_units/share" in package.open_run("r").metrics()
    assert {"ActiveUnits", "ProbeAccuracy"} < {
        part["name"] for part in json.loads(acaikit("show", "r", "--json").out)["parts"]
    }
