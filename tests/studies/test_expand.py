from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from acaikit.errors import RunError
from acaikit.studies.expand import check_run, expand, others, study, unfolded
from acaikit.studies.layout import Plan, Run, StudyDir


@pytest.fixture
def folder(tmp_path: Path) -> StudyDir:
    """A study of two recipes and a grid of two, by seed, of which nothing has begun."""
    found = StudyDir(tmp_path / "s")
    cells = [("b", (), ""), ("a", ("x = 1",), ",x=1"), ("a", ("x = 2",), ",x=2")]
    runs = [Run(f"{recipe}{tail}-s{seed}", recipe, given, seed) for seed in (1, 0) for recipe, given, tail in cells]
    found.write(Plan("s", "s.gin", tuple(runs), ()), {})
    return found


def begin(folder: StudyDir, *names: str) -> None:
    for name in names:
        folder.run(name).mkdir(parents=True)
        (folder.run(name) / "run.h5").touch()


def test_a_study_stands_for_its_runs_experiment_by_experiment(folder: StudyDir) -> None:
    begin(folder, "a,x=1-s0", "a,x=1-s1", "b-s0", "a,x=2-s0", "b-s1", "c-s0")
    (folder.path / "runs" / "a,x=2-s1").mkdir()  # holds nothing yet
    assert [path.name for path in expand(str(folder.path))] == ["b-s1", "b-s0", "a,x=1-s1", "a,x=1-s0", "a,x=2-s0"]


def test_a_study_of_which_nothing_has_begun(folder: StudyDir) -> None:
    with pytest.raises(RunError, match=rf"none of the 6 runs of {folder.path} has begun: .*acaikit status"):
        expand(str(folder.path))


def test_a_study_that_cannot_be_read(folder: StudyDir) -> None:
    folder.plan_file.write_text("{")
    with pytest.raises(RunError, match="is broken"):
        expand(str(folder.path))


def test_a_glob_of_studies_and_runs(folder: StudyDir) -> None:
    begin(folder, "b-s0")
    other = StudyDir(folder.path.parent / "t")
    other.write(folder.read(), {})
    begin(other, "b-s1")
    alone = StudyDir(folder.path.parent / "r")
    begin(alone, "x-s0")
    assert expand(f"{folder.path.parent}/[st]") == [folder.run("b-s0"), other.run("b-s1")]
    assert expand(f"{folder.path.parent}/[!r]*") == expand(f"{folder.path.parent}/[st]")
    shutil.move(alone.run("x-s0"), folder.path.parent / "x-s0")
    assert expand(f"{folder.path.parent}/[sx]*") == [folder.run("b-s0"), folder.path.parent / "x-s0"]


def test_run_directories_that_are_no_part_of_the_plan(folder: StudyDir) -> None:
    assert others(folder, folder.read()) == []
    begin(folder, "b-s0", "b-s7", "old-s0")
    (folder.path / "runs" / "empty").mkdir()
    assert others(folder, folder.read()) == [folder.run("b-s7"), folder.run("old-s0")]


def test_a_study_is_unfolded_and_nothing_else(folder: StudyDir) -> None:
    begin(folder, "b-s0", "b-s1")
    assert unfolded(folder.path) == [folder.run("b-s1"), folder.run("b-s0")]
    assert unfolded(folder.run("b")) == [folder.run("b")]


def test_what_is_taken_for_a_run(folder: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(folder, "b-s0")
    monkeypatch.chdir(folder.path.parent)
    for text, said in (
        ("s", r"s is a study, not a run: its runs are s/runs/\*; acaikit status s"),
        ("s/runs", r"s/runs holds no run itself, but others that do: 's/runs/\*'"),
        ("mine.gin", r"mine.gin is a gin file's name, not a run's: .* studies/mine .* runs/mine-s0"),
        ("table1", "table1 is a gin file's name, not a run's: .* studies/table1"),
    ):
        with pytest.raises(RunError, match=said):
            check_run(text)
    for text in ("s/runs", "mine.gin", "table1"):
        with pytest.raises(RunError, match=r"not a run's|no run itself"):
            expand(text)
    folder.plan_file.unlink()
    with pytest.raises(RunError, match=r"s holds no run itself, but others that do: 's/runs/\*'"):
        expand("s")
    begin(StudyDir(folder.path.parent), "table1-s0")
    for text in ("s/runs/b-s0", "s/runs/b", "nowhere", "x" * 5000, "a\0b"):
        check_run(text)


def test_what_is_no_study_names_runs_as_ever(folder: StudyDir) -> None:
    begin(folder, "b-s0", "b-s1")
    runs = folder.path / "runs"
    assert expand(str(runs / "b-s1")) == [runs / "b-s1"]
    assert expand(str(runs / "b")) == expand(f"{runs}/b-s*") == [runs / "b-s0", runs / "b-s1"]
    assert study(str(runs)) is None and study("x" * 5000) is None and study("a\0b") is None
    with pytest.raises(RunError, match="is no run"):
        expand("nowhere")
