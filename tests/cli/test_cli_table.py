from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import acaikit as package
from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.studies.layout import Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.plan import Draft, draft
from acaikit.studies.progress import newest


@pytest.fixture
def seeds(acaikit, finished, tiny) -> list[str]:
    """Two finished runs of one experiment, and one that has only begun."""
    acaikit("run", "quickstart", *tiny, "--seed", 1, "--dir", "second", "--quiet")
    acaikit("run", "quickstart", *tiny, "--seed", 2, "--dir", "third", "--quiet")
    for file in [*Path("third/checkpoints").iterdir()][1:]:
        file.unlink()
    return ["finished", "second"]


def test_json_beside_what_the_runs_say(acaikit, seeds: list[str]) -> None:
    ran = acaikit("table", *seeds, "--format", "json", "--score", "*")
    assert ran.out.count("\n") == 1 and ran.err == ""
    told = json.loads(ran.out, parse_constant=pytest.fail)
    (experiment,) = told["experiments"]
    assert experiment["recipe"] == "quickstart"
    assert experiment["name"].startswith("quickstart, ") and ", samples = 256" in experiment["name"]
    assert [run["path"] for run in experiment["runs"]] == seeds
    metrics = [package.open_run(path).metrics() for path in seeds]
    for score in experiment["scores"]:
        columns = [table[score["score"]] for table in metrics]
        values = [float(np.median(column[~np.isnan(column)])) for column in columns if not np.isnan(column).all()]
        assert (score["n"], score["undefined"]) == (len(values), 2 - len(values))
        assert score["mean"] == (pytest.approx(np.mean(values)) if values else None)
        assert score["std"] == (pytest.approx(np.std(values)) if len(values) > 1 else None)
        assert told["protocols"][score["protocol_sha256"]]["reported"] == "median of the last 20 evaluations"
    assert {"probe/accuracy", "factor/mean_distance"} <= {s["score"] for s in experiment["scores"] if s["n"] == 2}


@pytest.mark.parametrize("form", ["rich", "md", "latex", "csv"])
def test_every_form_holds_the_numbers(acaikit, finished, form: str) -> None:
    out = acaikit("table", finished, "--format", form, "--score", "probe/accuracy").out
    value = float(np.median(package.open_run(finished).metrics()["probe/accuracy"]))
    if form == "csv":
        (row,) = csv.DictReader(io.StringIO(out))
        assert float(row["mean"]) == value
    else:
        assert f"{value:.2f} (1)" in out
        assert "median of 2 of 20 values" in out and "protocol" in out


def test_a_recipe_that_is_not_in_the_paper_has_no_number_of_it(acaikit, finished) -> None:
    told = json.loads(acaikit("table", finished, "--paper", "--format", "json").out)
    assert all(score["paper"] is None for score in told["experiments"][0]["scores"])


def test_the_papers_number_is_marked_where_the_run_differs(acaikit, tiny) -> None:
    acaikit("run", "lines_acai_64", *tiny, "--dir", "r", "--quiet")
    told = json.loads(acaikit("table", "r", "--paper", "--format", "json").out)["experiments"][0]
    distance = next(score for score in told["scores"] if score["score"] == "factor/mean_distance")
    assert distance["paper"] == {"mean": pytest.approx(0.24e-3), "std": pytest.approx(0.01e-3), "n": 5}
    assert "Experiment.samples: 16777216 -> 256" in told["differences"]
    assert "not the paper's experiment: " in acaikit("table", "r", "--paper").out


def test_an_unfinished_run_is_shown_and_left_out(acaikit, seeds: list[str]) -> None:
    ran = acaikit("table", *seeds, "third", "--format", "json")
    assert "note: third is not finished (128 of 256 samples): left out of the means" in ran.err
    experiments = json.loads(ran.out)["experiments"]
    assert [(e["finished"], len(e["runs"])) for e in experiments] == [(True, 2), (False, 1)]
    assert experiments[1]["name"].endswith("(third: seed 2, at 128 of 256 samples)")


def test_measured_afterwards(acaikit, finished) -> None:
    acaikit("eval", finished, "--interpolate", "--out", "elsewhere", "--quiet")
    assert (
        "no run has a score 'interpolation/*'" in acaikit("table", finished, "--score", "interpolation/*", code=2).err
    )
    args = ("--results", "elsewhere", "--score", "interpolation/*", "--format", "json")
    told = json.loads(acaikit("table", finished, *args).out)["experiments"][0]["scores"]
    assert {s["score"] for s in told} == {"interpolation/endpoint_mse", "interpolation/step_ratio"}
    assert all(s["median_of"] is None for s in told)


def test_a_broken_run_is_an_error_before_anything(acaikit, finished) -> None:
    shutil.copytree(finished, "broken")
    Path("broken/run.h5").write_bytes(b"x")
    ran = acaikit("table", finished, "broken", code=2)
    assert ran.out == "" and "broken/run.h5" in ran.err


def test_mistakes(acaikit, finished) -> None:
    assert "did you mean probe/accuracy" in acaikit("table", finished, "--score", "probe/acuracy", code=2).err
    assert "nowhere is no run" in acaikit("table", "nowhere", code=2).err
    assert "holds no run" in acaikit("table", ".", code=2).err


def fabricate(folder: StudyDir, drafted: Draft, run: Run, share: float = 1.0) -> None:
    """Write what a run of a study leaves behind once a share of it is trained."""
    directory, config = RunDir(folder.run(run.name)), drafted.config(run)
    info = {"run_id": run.name, "seed": run.seed, "resolved": config.resolved, "data": {}, "fingerprint": {}}
    sources = {f"recipes/{run.recipe}.gin": drafted.recipes[run.recipe]}
    directory.write_run({**info, "sources": sources, "overrides": [*run.overrides, f"Experiment.seed = {run.seed}"]})
    scores = {"factor/mean_distance": 1e-3 * (1 + run.seed), "factor/smoothness_paper": 0.5}
    budget = drafted.experiments[run.recipe, run.overrides].samples
    samples = int(share * budget)
    Metrics(directory.metrics, run.name).append(1, {"samples": samples, **scores})
    state = {"model": {}, "samples": samples, "budget": budget, "precision": "tf32"}
    Checkpoints(directory.checkpoints, run.name).save(1, state)


@pytest.fixture
def drafted() -> Draft:
    """The plan of a study like the shipped one, of three models and two seeds."""
    return draft("quick", ["Study.recipes = ['lines_vae_64', 'lines_vqvae_64', 'lines_acai_64']"], range(2))


@pytest.fixture
def folder(drafted: Draft, acaikit) -> StudyDir:
    """Its folder, of which nothing has begun."""
    found = StudyDir(Path("studies/quick"))
    found.write(drafted.plan, drafted.recipes)
    return found


COMMON = {
    "scales": "3",
    "Lines.height": "16",
    "Lines.width": "16",
    "Experiment.evaluate_every": "4096",
    "Experiment.learning_rate": "0.001",
}


def test_a_study_has_a_row_for_each_experiment(acaikit, folder: StudyDir, drafted: Draft) -> None:
    for run in drafted.plan.runs:
        fabricate(folder, drafted, run)
    ran = acaikit("table", "studies/quick", "--paper", "--format", "md")
    assert ran.err == ""
    lines = ran.out.splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| lines")]
    assert rows == [r"lines\_vae\_64", r"lines\_vqvae\_64", r"lines\_acai\_64"]
    (common,) = [line for line in lines if line.startswith("- all: ")]
    for label, value in COMMON.items():
        assert f"{label.removeprefix('Experiment.')} = {value}".replace("_", r"\_") in common
    assert "1.50 ± 0.50 (2)" in ran.out
    assert "not the paper's experiment: what all have in common, see below" in ran.out
    assert not re.search("within|outside", ran.out)  # of the paper's deviation: its experiment was another
    told = json.loads(acaikit("table", "studies/quick", "--paper", "--format", "json").out)
    assert told["shared"].items() >= COMMON.items()
    for experiment in told["experiments"]:
        assert all(score["within"] is None for score in experiment["scores"])
        assert "learning_rate = 0.001" in experiment["name"] and experiment["differences"]
    names = {
        row["experiment"] for row in csv.DictReader(io.StringIO(acaikit("table", folder.path, "--format", "csv").out))
    }
    assert names == {experiment["name"] for experiment in told["experiments"]}


def test_of_a_studys_unfinished_runs_there_is_one_note(acaikit, folder: StudyDir, drafted: Draft) -> None:
    assert "none of the 6 runs of studies/quick has begun" in acaikit("table", "studies/quick", code=2).err
    fabricate(folder, drafted, drafted.plan.runs[0], 0.5)
    to_come = "6 of 6 runs of studies/quick are not finished: acaikit status studies/quick"
    assert to_come in acaikit("table", "studies/quick", code=2).err
    fabricate(folder, drafted, drafted.plan.runs[5])
    ran = acaikit("table", "studies/quick", "--format", "json")
    (experiment,) = json.loads(ran.out)["experiments"]
    assert experiment["recipe"] == "lines_acai_64" and [run["seed"] for run in experiment["runs"]] == [1]
    assert ran.err == f"note: {to_come.replace('6 of', '5 of')}\n"
    # A run that is named itself is shown.
    name = drafted.plan.runs[0].name
    ran = acaikit("table", f"studies/quick/runs/{name}", "--format", "json")
    assert json.loads(ran.out)["experiments"][0]["finished"] is False


def conclude(folder: StudyDir, run: Run) -> None:
    """Write that a run's turn went well."""
    folder.task(run.name).mkdir(parents=True)
    done = Outcome(
        State.DONE, Stage.TRAINING, "", evaluation=folder.read().evaluation, checkpoint=newest(folder.run(run.name))
    )
    done.store(folder.outcome_file(run.name))


def test_the_settings_of_one_experiment_stand_below_the_table(acaikit, folder: StudyDir, drafted: Draft) -> None:
    fabricate(folder, drafted, drafted.plan.runs[0])
    out = acaikit("table", "studies/quick", "--format", "md").out
    assert "| lines\\_vae\\_64 |" in out and out.count("learning\\_rate = 0.001") == 1


def test_runs_that_are_trained_and_not_measured_are_counted(acaikit, folder: StudyDir, drafted: Draft) -> None:
    plan = replace(drafted.plan, evaluation=("--with", "KMeans"))
    folder.write(plan, drafted.recipes)
    for run in plan.runs[:3]:
        fabricate(folder, drafted, run)
    for run in plan.runs[:2]:
        conclude(folder, run)
    told = json.loads(acaikit("table", "studies/quick", "--format", "json").out)
    assert told["notes"] == [
        "3 of 6 runs of studies/quick are not finished: acaikit status studies/quick",
        "1 of 6 runs of studies/quick is trained, still to be measured: acaikit status studies/quick",
    ]
    assert len(told["experiments"]) == 3


def test_a_study_by_other_names_and_its_copy(acaikit, folder: StudyDir, drafted: Draft) -> None:
    for run in drafted.plan.runs:
        fabricate(folder, drafted, run)
        conclude(folder, run)
    once = acaikit("table", "studies/quick", "--format", "csv")
    assert once.err == ""
    for names in (["studies/quick", folder.path.resolve()], ["studies/*"]):
        assert acaikit("table", *names, "--format", "csv") == once
    shutil.copytree(folder.path, "studies/again")
    ran = acaikit("table", "studies/quick", "studies/again", "--format", "csv")
    assert ran.out == once.out
    assert ran.err.count("and counts once") == ran.err.count("note: ") == 6


def test_runs_that_the_plan_lost_are_counted(acaikit, folder: StudyDir, drafted: Draft) -> None:
    for run in drafted.plan.runs:
        fabricate(folder, drafted, run)
    folder.write(replace(drafted.plan, runs=drafted.plan.runs[:3]), drafted.recipes)
    ran = acaikit("table", "studies/quick", "--format", "json")
    (note,) = json.loads(ran.out)["notes"]
    assert note.startswith("3 run directories in studies/quick/runs are no part of the study's plan, and left out: ")
    (everything,) = re.findall("'([^']*)' takes all", note)
    told = json.loads(acaikit("table", everything, "--format", "json").out)
    assert sum(len(one["runs"]) for one in told["experiments"]) == 6


def test_a_broken_run_takes_no_table_away(acaikit, folder: StudyDir, drafted: Draft) -> None:
    for run in drafted.plan.runs:
        fabricate(folder, drafted, run)
    broken = folder.run(drafted.plan.runs[0].name)
    (broken / "run.h5").write_bytes(b"x")
    ran = acaikit("table", "studies/quick", "--format", "json")
    assert sum(len(one["runs"]) for one in json.loads(ran.out)["experiments"]) == 5
    assert f"{broken}/run.h5" in ran.err and "it is left out" in ran.err
    assert acaikit("table", broken, code=2).out == ""


def test_nothing_of_the_papers(acaikit, finished) -> None:
    note = "--paper: the paper's tables have no number"
    assert note in acaikit("table", finished, "--paper").err
    assert note not in acaikit("table", finished).err


def test_a_study_is_compared_where_it_is_one_experiment(acaikit, folder: StudyDir, drafted: Draft) -> None:
    for run in drafted.plan.runs:
        fabricate(folder, drafted, run)
    err = acaikit("compare", "studies/quick", "studies/quick/runs/lines_acai_64", code=2).err
    assert "A must be one experiment, but its runs are of 3" in err
