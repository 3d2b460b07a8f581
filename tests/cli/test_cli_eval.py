from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

import acaikit as package
from acaikit.artifacts.evaluations import read_evaluations
from acaikit.cli import options
from acaikit.runs import evaluation
from acaikit.studies.layout import Plan, Run, StudyDir

OWN = {"factor", "probe", "reconstruction"}


def told(ran) -> dict:
    (run,) = json.loads(ran.out, parse_constant=pytest.fail)["runs"]  # NaN is no JSON
    return run


@pytest.mark.parametrize(
    ("flags", "evaluators"),
    [
        ([], OWN),
        (["--factor"], {"factor"}),
        (["--lines"], {"factor"}),
        (["--probe"], {"probe"}),
        (["--interpolate"], {"interpolation"}),
        (["--reconstruction"], {"reconstruction"}),
        (["--latents"], {"latents"}),
        (["--lines", "--probe"], {"factor", "probe"}),
        (["--with", "probe", "--with", "Reconstruction"], {"probe", "reconstruction"}),
    ],
)
def test_json_is_exactly_one_object_on_standard_output(
    acaikit, finished, flags: list[str], evaluators: set[str]
) -> None:
    ran = acaikit("eval", finished, *flags, "--json")
    assert ran.out.count("\n") == 1
    found = told(ran)
    assert (found["run"], found["step"], found["samples"], found["faults"]) == ("finished", 4, 256, {})
    assert set(found["scores"]) == set(found["protocols"]) == evaluators
    assert all(Path(file).is_file() for file in found["files"])
    hashes = {key: protocol["sha256"] for key, protocol in found["protocols"].items()}
    assert hashes == {e.name: e.protocol_sha256 for e in read_evaluations(finished / "eval", pytest.fail)}
    assert ran.err == ""


@pytest.mark.parametrize(
    ("flags", "key", "bindings"),
    [
        ("--linear-probe", "linear_probe", []),
        ("--knn-probe", "knn_probe", []),
        ("--kmeans", "kmeans", ["KMeans.restarts=2"]),
        ("--scorecard", "scorecard", ["Scorecard.paths=('lerp', 'slerp')", "Scorecard.pairs=4"]),
        ("--realism", "realism", []),
    ],
)
def test_every_evaluator_has_a_flag(acaikit, finished, flags: str, key: str, bindings: list[str]) -> None:
    settings = [word for binding in bindings for word in ("--set", binding)]
    ran = acaikit("eval", finished, flags, *settings, "--json")
    assert told(ran)["scores"].keys() == {key}


def test_scores_are_those_of_the_run_itself(acaikit, finished) -> None:
    scores = told(acaikit("eval", finished, "--json"))["scores"]
    last = {name: column[-1] for name, column in package.open_run(finished).metrics().items()}
    for name in ("reconstruction/mse", "factor/mean_distance", "probe/accuracy"):
        evaluator, score = name.split("/")
        assert scores[evaluator][score] == last[name]


def test_the_table_shows_every_score_its_protocol_and_the_file(acaikit, finished) -> None:
    out = acaikit("eval", finished, "--lines", "--interpolate").out
    assert "finished at step 4 (256 of 256 samples)" in out
    for said in ("mean_distance", "smoothness_paper", "smoothness_strict", "undefined_share", "endpoint_error_deg"):
        assert said in out
    (file,) = (finished / "eval").glob("factor-*")
    assert f"written: {file}" in out
    assert f"factor · protocol {file.stem[-8:]}" in out
    assert "in training, median of last 20" in out
    assert "written: finished/figures/interpolation.png" in out
    assert acaikit("eval", finished, "--probe", "--quiet").out == ""


def test_an_earlier_checkpoint(acaikit, finished) -> None:
    assert told(acaikit("eval", finished, "--step", 2, "--probe", "--json"))["samples"] == 128
    assert "no checkpoint of step 3; those kept: 2, 4" in acaikit("eval", finished, "--step", 3, code=2).err


def test_several_runs(acaikit, finished) -> None:
    shutil.copytree(finished, "other")
    ran = acaikit("eval", finished, "nowhere", "other", "--probe", "--json", code=2)
    runs = json.loads(ran.out)["runs"]
    assert [run["run"] for run in runs] == ["finished", "nowhere", "other"]
    assert runs[1].keys() == {"run", "faults"}
    assert "error: nowhere holds no run" in ran.err
    for run in ("finished", "other"):
        assert len(list(Path(run, "eval").glob("probe-*"))) == 1


def test_a_study_stands_for_its_runs(acaikit, finished) -> None:
    study = StudyDir(Path("studies/s"))
    study.write(Plan("s", "s.gin", tuple(Run(f"r-s{seed}", "r", (), seed) for seed in range(3)), ()), {})
    for seed in range(2):
        shutil.copytree(finished, study.run(f"r-s{seed}"))
    runs = json.loads(acaikit("eval", "studies/s", finished, "--probe", "--json").out)["runs"]
    assert [run["run"] for run in runs] == ["studies/s/runs/r-s0", "studies/s/runs/r-s1", "finished"]
    assert "studies/s/runs/*" in acaikit("eval", "studies/s/runs", "--probe", code=2).err
    assert "s.gin is a gin file's name, not a run's" in acaikit("eval", "s.gin", "--probe", code=2).err
    for command in ("show", "verify"):
        err = acaikit(command, "studies/s", code=2).err
        assert "studies/s is a study, not a run: its runs are studies/s/runs/*" in err


def test_settings_are_stored_with_the_protocol(acaikit, finished) -> None:
    for steps in (4, 5):
        ran = acaikit("eval", finished, "--lines", "--set", f"FactorBenchmark.steps={steps}", "--json")
        assert told(ran)["protocols"]["factor"]["steps"] == steps
    assert len(list((finished / "eval").glob("factor-*"))) == 2
    ran = acaikit("eval", finished, "--probe", "--set", "FactorBenchmark.steps=4", code=2)
    assert "FactorBenchmark.steps is read by none of what is measured" in ran.err


def test_protocols(acaikit, finished) -> None:
    assert told(acaikit("eval", finished, "--probe", "--protocol", "paper", "--json"))["scores"].keys() == {"probe"}
    strict = told(acaikit("eval", finished, "--probe", "--protocol", "strict", "--json"))
    assert strict["scores"].keys() == {"linear_probe"}


def test_results_in_another_folder(acaikit, finished) -> None:
    finished.chmod(0o555)
    try:
        refused = acaikit("eval", finished, "--probe", code=2)
        assert "finished/eval can't be written: give a folder for the results with --out" in refused.err
        found = told(acaikit("eval", finished, "--interpolate", "--out", "results", "--json"))
        assert all(Path(file).is_relative_to("results/finished") for file in found["files"])
        assert not (finished / "eval").exists()
    finally:
        finished.chmod(0o755)
    shutil.copytree(finished, "deeper/finished")
    ran = acaikit("eval", finished, "deeper/finished", "--probe", "--out", "results", code=2)
    assert "two runs are called finished" in ran.err


def test_what_cannot_be_measured_costs_nothing_else(acaikit, tiny) -> None:
    one_step = ("--set", "Experiment.batch_size=256", "--set", "Experiment.learning_rate=1e18")
    acaikit("run", "quickstart", *tiny, *one_step, "--dir", "r", "--quiet")
    ran = acaikit("eval", "r", "--linear-probe", "--reconstruction", "--json", code=2)
    assert "linear_probe can't be measured: the codes of" in ran.err
    assert told(ran)["scores"].keys() == {"reconstruction"}
    assert told(ran)["faults"].keys() == {"linear_probe"}


def test_a_flag_that_does_not_fit(acaikit, tiny) -> None:
    acaikit("run", "quickstart", *tiny, "--set", "Experiment.probe=False", "--dir", "r", "--quiet")
    ran = acaikit("eval", "r", "--probe", "--reconstruction", "--json", code=2)
    assert "probe can't be measured: it doesn't fit this run on Lines" in ran.err
    assert told(ran)["scores"].keys() == {"reconstruction"}
    assert "probe" not in told(acaikit("eval", "r", "--json"))["scores"]
    assert "no evaluator is called 'pobe': did you mean probe" in acaikit("eval", "r", "--with", "pobe", code=2).err


def test_a_run_without_a_checkpoint(acaikit, finished) -> None:
    for file in (finished / "checkpoints").iterdir():
        file.unlink()
    assert "no checkpoint" in acaikit("eval", finished, code=2).err


@pytest.mark.parametrize("at", [(options, "apply"), (evaluation, "measure")], ids=["the beginning", "measuring"])
def test_a_request_to_save_harms_nothing(acaikit, finished, monkeypatch, at: tuple[object, str]) -> None:
    """As a cluster sends it before its limit of time."""
    real = getattr(*at)

    def asked(*arguments: object, **more: object) -> object:
        os.kill(os.getpid(), signal.SIGUSR1)
        return real(*arguments, **more)

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt  # the usual end would be that of all tests

    monkeypatch.setattr(*at, asked)
    before = signal.signal(signal.SIGUSR1, end)
    try:
        found = told(acaikit("eval", finished, "--reconstruction", "--json"))
        assert signal.getsignal(signal.SIGUSR1) is end
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert set(found["scores"]) == {"reconstruction"}
