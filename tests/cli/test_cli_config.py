from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

OWN = """include 'quickstart.gin'
Experiment.samples = %samples
samples = 1024  # [red]
"""


@pytest.fixture
def own(acaikit) -> str:
    """A recipe of one's own, in the working directory."""
    Path("own.gin").write_text(OWN)
    return "own.gin"


def test_diff_of_recipes(acaikit, own) -> None:
    told = json.loads(acaikit("config", "diff", own, "quickstart_baseline", "--json").out)
    assert (told["a"], told["b"]) == (own, "quickstart_baseline")
    found = {row["parameter"]: (row["a"], row["b"]) for row in told["differences"]}
    assert found["Experiment.regularizers"] == ("[@ACAI()]", "[]")
    assert found["ACAI.weight"] == ("0.5", "–")
    assert found["Experiment.samples"][0] == "1024"
    out = acaikit("config", "diff", own, "quickstart_baseline").out
    assert "own.gin" in out and "[@ACAI()]" in out


def test_a_recipe_and_its_run_are_the_same(acaikit, finished, tiny) -> None:
    """A run directory that holds no more than run.h5 is enough."""
    Path("bare").mkdir()
    shutil.copy(finished / "run.h5", "bare")
    overrides = [word.replace("=", " = ") for word in tiny if word != "--set"]
    Path("tiny.gin").write_text("\n".join(["include 'quickstart.gin'", *overrides]))
    for a, b in (("bare", finished), ("tiny.gin", "bare"), (finished, "tiny.gin")):
        assert acaikit("config", "diff", a, b).out == "they are the same\n"
    assert json.loads(acaikit("config", "diff", "bare", "bare", "--json").out)["differences"] == []
    found = json.loads(acaikit("config", "explain", "bare", "Experiment.samples", "--json").out)["explained"]
    assert [one["value"] for one in found] == ["256"]
    assert found[0]["places"][0]["where"].startswith("bare/run.h5:")
    assert (
        "bare is a run, whose bindings stand" in acaikit("config", "explain", "bare", "KL", "--set", "x=1", code=2).err
    )


def test_explain(acaikit, own) -> None:
    ran = acaikit("config", "explain", own, "Experiment.samples", "--set", "samples=64")
    lines = ran.out.splitlines()
    assert lines[:2] == [
        "Experiment.samples = 64  (default 16777216)",
        "  counts: own.gin:2: Experiment.samples = %samples  (a file stands above those that it includes)",
    ]
    assert lines[-3:] == [
        "  samples = 64",
        "    counts: --set 'samples=64': samples = 64  (--set stands above every file)",
        "    passed over: own.gin:3: samples = 1024  (--set 'samples=64' stands above it)",
    ]


def test_explain_says_what_is_a_default_and_what_is_not_there(acaikit) -> None:
    assert acaikit("config", "explain", "quickstart_baseline", "KL").out == (
        "KL.weight = 1.0  (nothing here refers to it)\n  counts: the default\n"
    )
    found = json.loads(acaikit("config", "explain", "quickstart_baseline", "KL", "--json").out)
    assert found == {
        "recipe": "quickstart_baseline",
        "explained": [
            {"name": "KL.weight", "value": "1.0", "default": "1.0", "used": False, "places": [], "macros": []}
        ],
        "notes": [],
    }


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["explain", "quickstart", "ACAI.wieght"], "error: ACAI has no parameter 'wieght': did you mean weight?"),
        (["explain", "quickstart", "[red]"], "error: no part is called '[red]'"),
        (["explain", "quikstart", "ACAI"], "did you mean quickstart"),
        (["explain", "quickstart", "ACAI", "--set", "KL.weight=1"], "nothing reads KL.weight"),
        (["explain", ".", "ACAI"], "holds no run"),
        (["diff", "quickstart", "quikstart"], "did you mean quickstart"),
        (["diff", "quickstart", "."], "holds no run"),
        (["diff", "quickstart", "faulty.gin"], "faulty.gin:1: ACAI has no parameter 'wieght': did you mean weight?"),
    ],
)
def test_mistakes(acaikit, args: list[str], said: str) -> None:
    Path("faulty.gin").write_text("ACAI.wieght = 1\n")
    assert said in acaikit("config", *args, code=2).err


def test_explain_of_a_run_tells_of_a_raised_budget(acaikit, finished) -> None:
    assert acaikit("config", "explain", finished, "Experiment.samples").err == ""
    acaikit("resume", finished, "--samples", "384", "--quiet")
    ran = acaikit("config", "explain", finished, "Experiment.samples")
    assert ran.out.startswith("Experiment.samples = 256")
    assert ran.err == ("note: finished began with a budget of 256 samples; it was raised, and 384 is what counts\n")
    assert acaikit("config", "explain", finished, "Experiment.seed").err == ""
