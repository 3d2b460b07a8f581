from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acaikit.artifacts.evaluations import protocol_hash, read_evaluation
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config
from acaikit.errors import EvaluationError, RunError, UserError
from acaikit.evaluators import FactorBenchmark, Interpolation, ProbeAccuracy, Reconstruction
from acaikit.registry import load
from acaikit.runs.evaluation import destination, measure
from acaikit.runs.opened import open_run
from acaikit.runs.session import Session

Recipe = Callable[..., Config]
Train = Callable[..., Session]
DATA = {"data": {"dataset": "Lines", "height": 8, "width": 8, "test_size": 12}}


def test_scores_are_stored_with_their_protocol(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    train(path, recipe())
    run = open_run(path)
    benchmark = FactorBenchmark(pairs=3, steps=4)
    measured = measure(run, benchmark, destination(path, None), pytest.fail)
    protocol = {"evaluator": "FactorBenchmark", "version": 1, "pairs": 3, "steps": 4, "path": "lerp"} | DATA
    assert (measured.key, measured.protocol) == ("factor", protocol)
    assert measured.protocol_sha256 == protocol_hash(protocol)
    file = path / "eval" / f"factor-000000012-{protocol_hash(protocol)[:8]}.h5"
    assert measured.files == [file]
    found = read_evaluation(file)
    assert (found.name, found.step, found.run_id) == ("factor", 12, run.info["run_id"])
    assert (found.protocol, found.protocol_sha256) == (protocol, protocol_hash(protocol))
    np.testing.assert_equal(found.scores, measured.scores)
    np.testing.assert_equal(found.arrays, benchmark.evaluate(run.trained).arrays)


def test_another_protocol_replaces_nothing(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    run, place = open_run(tmp_path / "run"), destination(tmp_path / "run", None)
    for limit in (None, 5, None):
        measure(run, Reconstruction(limit=limit), place, pytest.fail)
    kept = [read_evaluation(file) for file in sorted(place.eval.iterdir())]
    assert sorted(str(found.protocol["limit"]) for found in kept) == ["5", "None"]


def test_scores_are_those_of_training(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe("vae"))
    for step, row in ((8, 1), (12, 2)):
        run = open_run(tmp_path / "run", step=step)
        for evaluator in run.experiment.evaluators:
            measured = measure(run, evaluator, destination(run.path, None), pytest.fail)
            assert measured.files[0].name.startswith(f"{evaluator.key}-{step:09d}-")
            for name, value in measured.scores.items():
                np.testing.assert_equal(value, run.metrics()[f"{evaluator.key}/{name}"][row])


def test_pictures_come_with_the_paths_alone(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    run, place = open_run(tmp_path / "run"), destination(tmp_path / "run", None)
    assert len(measure(run, ProbeAccuracy(), place, pytest.fail).files) == 1
    assert not (tmp_path / "run" / "figures").exists()
    names = [file.name for file in measure(run, Interpolation(), place, pytest.fail).files[1:]]
    assert names == ["interpolation.png"]


def test_what_is_measured_must_fit(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe("baseline", "Experiment.probe = False"))
    run = open_run(tmp_path / "run")
    with pytest.raises(EvaluationError, match="it doesn't fit this run on Lines: it needs labels"):
        measure(run, ProbeAccuracy(), destination(run.path, None), pytest.fail)


PLUGIN = """
from acaikit.evaluators import Evaluator, Result

class Faulty(Evaluator):
    key = "faulty"
    def __init__(self, how="raise"):
        self.how = how
    def fits(self, trained):
        return True
    def evaluate(self, trained):
        if self.how == "raise":
            raise ValueError("oops")
        return {"dict": {}, "text": Result({"share": "much"}), "array": Result({}, {"z": object()})}[self.how]
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", r"Faulty \(from acai-faulty 1\) is faulty: ValueError: oops \(.*faulty_one\.py:12\); acaikit plugin"),
        ("array", r"Faulty \(from acai-faulty 1\) is faulty: .*faulty_one\.py:10\)"),
        ("dict", "what Faulty.evaluate returns must be a Result, not a dict"),
        ("text", "Faulty.evaluate returns 'much' as the score 'share': return a number"),
    ],
)
def test_a_plugin_that_fails_is_told_of_in_a_line(
    tmp_path: Path, recipe: Recipe, train: Train, install: Callable[..., Path], how: str, said: str
) -> None:
    install("acai-faulty", "1", {"evaluators": {"Faulty": "faulty_one:Faulty"}}, {"faulty_one.py": PLUGIN})
    train(tmp_path / "run", recipe())
    run = open_run(tmp_path / "run")
    with pytest.raises(UserError, match=said):
        measure(run, load("evaluators", "Faulty")(how), destination(run.path, None), pytest.fail)


def test_results_elsewhere(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    before = sorted(tmp_path.joinpath("run").rglob("*"))
    place = destination(tmp_path / "run", tmp_path / "results")
    measured = measure(open_run(tmp_path / "run"), Interpolation(), place, pytest.fail)
    assert all(file.is_file() and file.is_relative_to(tmp_path / "results" / "run") for file in measured.files)
    assert sorted(tmp_path.joinpath("run").rglob("*")) == before


def test_a_run_that_cannot_be_written_says_so_first(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    (tmp_path / "run").chmod(0o555)  # counts for root too
    try:
        with pytest.raises(RunError, match=r"run/eval can't be written: give a folder for the results with --out"):
            destination(tmp_path / "run", None)
        assert destination(tmp_path / "run", tmp_path / "out").path == tmp_path / "out" / "run"
        (tmp_path / "out").mkdir(mode=0o555)
        with pytest.raises(RunError, match="choose another --out"):
            destination(tmp_path / "run", tmp_path / "out")
    finally:
        (tmp_path / "run").chmod(0o755)


def test_a_disk_that_fails_costs_the_files_alone(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    run = open_run(tmp_path / "run")
    for name in ("eval", "figures"):
        (tmp_path / "run" / name).touch()  # a file in the place of a folder stops root as well
    lines: list[str] = []
    measured = measure(run, Interpolation(), RunDir(tmp_path / "run"), lines.append)
    np.testing.assert_equal(measured.scores, Interpolation().evaluate(run.trained).scores)
    assert measured.files == []
    assert measured.fault is not None and measured.fault.startswith("the result could not be written: ")
    assert [line.split(" could not be written")[0] for line in lines] == ["the pictures"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    with pytest.raises(RunError, match="can't be written"):
        destination(tmp_path / "run", Path("/"))


def test_nothing_to_measure_is_told(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    class Never(Reconstruction):
        def evaluate(self, trained: object) -> object:
            raise EvaluationError("nothing there")

    train(tmp_path / "run", recipe())
    run = open_run(tmp_path / "run")
    with pytest.raises(EvaluationError, match="nothing there"):
        measure(run, Never(), destination(run.path, None), pytest.fail)
    assert not (run.path / "eval").exists()
