from __future__ import annotations

from pathlib import Path

import pytest

from acaikit.errors import RunError
from acaikit.studies.expand import expand, study
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
    with pytest.raises(RunError, match="can't be read"):
        expand(str(folder.path))


def test_what_is_no_study_names_runs_as_ever(folder: StudyDir) -> None:
    begin(folder, "b-s0", "b-s1")
    runs = folder.path / "runs"
    assert expand(str(runs / "b-s1")) == [runs / "b-s1"]
    assert expand(str(runs / "b")) == expand(f"{runs}/b-s*") == [runs / "b-s0", runs / "b-s1"]
    assert study(str(runs)) is None and study("x" * 5000) is None and study("a\0b") is None
    with pytest.raises(RunError, match="is no run"):
        expand("nowhere")
