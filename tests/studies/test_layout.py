from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.errors import RunError
from acaikit.studies.layout import NAME, Plan, Run, StudyDir

PLAN = Plan("s", "s.gin", (Run("a-s0", "a", ("x = 'ü'",), 0), Run("a-s1", "a", (), 1)), ("--with", "KMeans"))
NAMES = st.from_regex(NAME, fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
RUNS = st.builds(Run, NAMES, NAMES, st.lists(TEXTS, max_size=3).map(tuple), st.integers(0, 2**31))

MANY = st.lists(RUNS, max_size=4, unique_by=lambda run: run.name).map(tuple)
PLANS = st.builds(Plan, TEXTS, TEXTS, MANY, st.lists(TEXTS, max_size=3).map(tuple))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    return StudyDir(tmp_path_factory.mktemp("study"))


@settings(deadline=None, max_examples=30)
@given(PLANS)
def test_a_plan_is_read_as_it_was_written(folder: StudyDir, plan: Plan) -> None:
    folder.write(plan, {"a": "x = 1\n"})
    assert folder.read() == plan
    assert folder.recipe("a").read_text() == "x = 1\n"


def test_where_there_is_no_study(tmp_path: Path) -> None:
    study = StudyDir(tmp_path / "none")
    assert not study.exists() and study.outcome("a-s0") is None
    with pytest.raises(RunError, match=r"holds no study: there is no study\.json in it"):
        study.read()


def test_a_run_by_its_name() -> None:
    assert PLAN.run("a-s1").seed == 1
    with pytest.raises(RunError, match="a-s2 is no run of the study s"):
        PLAN.run("a-s2")


def test_everything_lies_in_the_studys_folder(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    paths = [study.recipe("a"), study.jobs, study.lock_file, study.run("a-s0"), study.log("a-s0")]
    paths += [study.task_lock("a-s0"), study.outcome_file("a-s0"), study.plan_file]
    assert all(path.is_relative_to(tmp_path) for path in paths) and len(set(paths)) == len(paths)


def written(**changes: object) -> bytes:
    run = {"name": "a-s0", "recipe": "a", "overrides": [], "seed": 0}
    run |= {key: value for key, value in changes.items() if key in run}
    plan = {"version": 1, "study": "s", "source": "s.gin", "runs": [run], "evaluation": []}
    return json.dumps(plan | {key: value for key, value in changes.items() if key not in run}).encode()


def test_the_hostile_plans_are_sound_but_for_what_is_hostile(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    study.plan_file.write_bytes(written())
    assert study.read().runs == (Run("a-s0", "a", (), 0),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is broken"),
        (b"\xff\xfe{", "is broken"),
        (b'{"version": 1', "is broken"),
        (b"[]", "is broken"),
        (b"{}", "is broken"),
        (b"3", "is broken"),
        (written(version=2), "newer acaikit"),
        (written(version="1"), "is broken"),
        (b'{"version": 1, "study": "' + b"x" * 2**24, "is broken"),
        (written(runs=None), "is broken"),
        (written(runs=[[]]), "is broken"),
        (written(study=1), "is broken"),
        (written(seed="zero"), "is broken"),
        (written(overrides=[1]), "is broken"),
        (written(evaluation=3), "is broken"),
        *((written(name=name), "is no name") for name in ("../x", "..", "", "/x", "a/b", "-x", ".x", "x\n", "x" * 201)),
        (written(recipe="../../etc/passwd"), "is no name"),
        (written(name=["a"]), "is broken"),
    ],
)
def test_a_hostile_plan_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    study = StudyDir(tmp_path)
    study.plan_file.write_bytes(content)
    with pytest.raises(RunError) as caught:
        study.read()
    assert said in str(caught.value) and str(study.plan_file) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, written(seed=float("inf")), written(overrides="ab"), written(evaluation="ab"), written(seed=1.5)],
)
def test_odder_plans_are_refused_too(tmp_path: Path, content: bytes) -> None:
    study = StudyDir(tmp_path)
    study.plan_file.write_bytes(content)
    with pytest.raises(RunError):
        study.read()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", written(runs=[[]]), written(seed=True, name=3)])
def test_a_broken_plan_is_told_in_words(tmp_path: Path, content: bytes) -> None:
    study = StudyDir(tmp_path / "my study")
    study.path.mkdir()
    study.plan_file.write_bytes(content)
    with pytest.raises(RunError) as caught:
        study.read()
    why, hint = re.fullmatch(r".*study\.json is broken \((.*)\): .*: (.*)", str(caught.value)).groups()
    assert why == "it is cut off, or no JSON" or re.fullmatch(r"it has no '\w+' that makes sense", why)
    assert hint == f"acaikit sweep STUDY --dir '{study.path}'"


def test_a_plan_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    os.mkfifo(study.plan_file)
    with pytest.raises(RunError, match="is no file"):
        study.read()


def test_two_runs_of_one_name_are_refused(tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    run = {"name": "a-s0", "recipe": "a", "overrides": [], "seed": 0}
    study.plan_file.write_bytes(written(runs=[run, run]))
    with pytest.raises(RunError):
        study.read()
