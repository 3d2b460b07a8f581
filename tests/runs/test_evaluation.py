from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acaikit.artifacts.evaluations import read_evaluation
from acaikit.config import Config
from acaikit.errors import UserError
from acaikit.evaluators import Interpolation
from acaikit.runs.evaluation import evaluate_run
from acaikit.runs.opened import open_run
from acaikit.runs.session import Session

Recipe = Callable[..., Config]
Train = Callable[..., Session]


def test_everything_that_fits(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    path = tmp_path / "run"
    train(path, recipe())
    run = open_run(path)
    scores, files = evaluate_run(run, [], pytest.fail)
    assert list(scores) == ["factor", "probe", "reconstruction", "interpolation"]
    assert [str(file.relative_to(path)) for file in files] == [
        *(f"eval/{key}-000000012.h5" for key in scores),
        "figures/interpolation.png",
        "figures/reconstruction.png",
    ]
    assert all(file.is_file() for file in files)
    for key, file in zip(scores, files, strict=False):
        found = read_evaluation(file)
        assert (found.name, found.step, found.run_id) == (key, 12, run.info["run_id"])
        np.testing.assert_equal(found.scores, scores[key])
    # The recipe's own settings where it has them, the defaults else.
    protocols = {key: read_evaluation(file).protocol for key, file in zip(scores, files, strict=False)}
    data = {"dataset": "Lines", "shape": [1, 8, 8], "test_examples": 12}
    assert protocols["factor"] == {"evaluator": "FactorBenchmark", "pairs": 3, "steps": 3, "path": "lerp"} | data
    assert protocols["interpolation"] == {"evaluator": "Interpolation", "pairs": 8, "steps": 16, "path": "lerp"} | data
    paths = read_evaluation(files[3]).arrays["paths"]
    np.testing.assert_array_equal(paths, Interpolation().evaluate(run.trained).arrays["paths"])


def test_scores_are_those_of_training(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe("vae"))
    for step, row in ((8, 1), (12, 2)):
        run = open_run(tmp_path / "run", step=step)
        scores, files = evaluate_run(run, ["probe", "factor"], pytest.fail)
        assert [file.name for file in files] == [f"{key}-{step:09d}.h5" for key in scores]
        for key, found in scores.items():
            for name, value in found.items():
                np.testing.assert_equal(value, run.metrics()[f"{key}/{name}"][row])


def test_pictures_come_with_the_paths_alone(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    run = open_run(tmp_path / "run")
    assert [file.name for file in evaluate_run(run, ["probe"], pytest.fail)[1]] == ["probe-000000012.h5"]
    assert not (tmp_path / "run" / "figures").exists()
    assert len(evaluate_run(run, ["interpolation"], pytest.fail)[1]) == 3


def test_what_was_asked_for_must_fit(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe("baseline", "Experiment.probe = False"))
    run = open_run(tmp_path / "run")
    assert "probe" not in evaluate_run(run, [], pytest.fail)[0]
    with pytest.raises(UserError, match="the probe evaluator doesn't fit this run on Lines: it needs labels"):
        evaluate_run(run, ["probe"], pytest.fail)


def test_a_folder_that_cannot_be_written_costs_the_files_alone(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    expected, _ = evaluate_run(open_run(tmp_path / "run"), ["factor", "interpolation"], pytest.fail)
    read_only = tmp_path / "read_only"
    train(read_only, recipe())
    for name in ("eval", "figures"):
        (read_only / name).touch()  # a file in the place of a folder stops root as well
    check(read_only, expected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_run(tmp_path: Path, recipe: Recipe, train: Train) -> None:
    train(tmp_path / "run", recipe())
    expected, _ = evaluate_run(open_run(tmp_path / "run"), ["factor", "interpolation"], pytest.fail)
    read_only = tmp_path / "read_only"
    train(read_only, recipe())
    read_only.chmod(0o555)
    try:
        check(read_only, expected)
    finally:
        read_only.chmod(0o755)


def check(path: Path, expected: object) -> None:
    lines: list[str] = []
    scores, files = evaluate_run(open_run(path), ["factor", "interpolation"], lines.append)
    np.testing.assert_equal(scores, expected)
    assert files == []
    assert [line.split(" could not be written")[0] for line in lines] == [
        "the result of factor",
        "the result of interpolation",
        "the pictures",
    ]
