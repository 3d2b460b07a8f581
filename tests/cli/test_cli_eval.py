from __future__ import annotations

import json
from pathlib import Path

import pytest

import acaikit as package

EVERYTHING = {"interpolation", "factor", "probe", "reconstruction"}


@pytest.mark.parametrize(
    ("flags", "evaluators"),
    [
        ([], EVERYTHING),
        (["--factor"], {"factor"}),
        (["--lines"], {"factor"}),
        (["--probe"], {"probe"}),
        (["--interpolate"], {"interpolation"}),
        (["--lines", "--probe"], {"factor", "probe"}),
    ],
)
def test_json_is_exactly_one_object_on_standard_output(
    acaikit, finished, flags: list[str], evaluators: set[str]
) -> None:
    ran = acaikit("eval", finished, *flags, "--json")
    assert ran.out.count("\n") == 1
    told = json.loads(ran.out, parse_constant=pytest.fail)  # NaN is no JSON
    assert (told["run"], told["step"], told["samples"]) == ("finished", 4, 256)
    assert set(told["scores"]) == evaluators
    assert all(Path(file).is_file() for file in told["files"])
    assert ran.err == ""


def test_scores_are_those_of_the_run_itself(acaikit, finished) -> None:
    scores = json.loads(acaikit("eval", finished, "--json").out)["scores"]
    last = {name: column[-1] for name, column in package.open_run(finished).metrics().items()}
    for name in ("reconstruction/mse", "factor/mean_distance", "probe/accuracy"):
        evaluator, score = name.split("/")
        assert scores[evaluator][score] == last[name]


def test_the_table_shows_every_score_and_file(acaikit, finished) -> None:
    out = acaikit("eval", finished, "--lines", "--interpolate").out
    assert "finished at step 4 (256 of 256 samples)" in out
    for said in ("mean_distance", "smoothness_paper", "smoothness_strict", "undefined_share", "endpoint_error_deg"):
        assert said in out
    assert "written: finished/eval/factor-000000004.h5" in out
    assert "written: finished/figures/interpolation.png" in out


def test_an_earlier_checkpoint(acaikit, finished) -> None:
    assert json.loads(acaikit("eval", finished, "--step", 2, "--probe", "--json").out)["samples"] == 128
    assert "no checkpoint of step 3; those kept: 2, 4" in acaikit("eval", finished, "--step", 3, code=2).err


def test_a_flag_that_does_not_fit(acaikit, tiny) -> None:
    acaikit("run", "quickstart", *tiny, "--set", "Experiment.probe=False", "--dir", "r", "--quiet")
    assert "the probe evaluator doesn't fit this run" in acaikit("eval", "r", "--probe", code=2).err
    assert "probe" not in json.loads(acaikit("eval", "r", "--json").out)["scores"]


def test_a_run_without_a_checkpoint(acaikit, finished) -> None:
    for file in (finished / "checkpoints").iterdir():
        file.unlink()
    assert "no checkpoint" in acaikit("eval", finished, code=2).err
