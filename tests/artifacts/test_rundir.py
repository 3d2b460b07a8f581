from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.rundir import RunDir
from acaikit.errors import RunError

INFO: dict[str, Any] = {
    "run_id": "0123abcd",
    "config": "train.steps = 10\n" * 10_000,
    "": None,
    "empty": "",
    "a/b": "slash",
    "overrides": ["a = 1"],
    "included": {"base.gin": "x = 1\n", "/abs/é.gin": ""},
    "versions": {"torch": "2.13", "plugins": None},
    "seed": 3,
    "deterministic": True,
    "rate": 1e-3,
}


def test_round_trip(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "one")
    assert not run.exists()
    run.write_run(INFO)
    assert run.exists()
    assert run.read_run() == INFO
    assert [path.name for path in run.path.iterdir()] == ["run.h5"]


def test_long_texts_are_readable_with_h5py_alone(tmp_path: Path) -> None:
    RunDir(tmp_path).write_run(INFO)
    with h5py.File(tmp_path / "run.h5", "r") as file:
        assert bytes(file["text/config"][:]).decode() == INFO["config"]
        assert sorted(file["text"]) == ["a%2Fb", "config", "empty", "run_id"]
        assert file.attrs["run_id"] == b"0123abcd"
        assert b"train.steps" not in bytes(file["info/skeleton"][:])


def test_layout(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    paths = [run.run_file, run.checkpoints, run.metrics, run.eval, run.figures, run.quarantine, run.lock_file]
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        *("run.h5", "checkpoints", "metrics", "eval", "figures", "quarantine", ".lock")
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_written_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.write_run(INFO)
    with pytest.raises(RunError, match="holds a run already"):
        run.write_run({"run_id": "other"})
    assert run.read_run() == INFO


def test_no_run_and_a_broken_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with pytest.raises(RunError, match="holds no run"):
        run.read_run()
    run.write_run(INFO)
    run.run_file.write_bytes(run.run_file.read_bytes()[:-1])
    with pytest.raises(BrokenFile, match=r"run\.h5"):
        run.read_run()


def test_what_can_not_be_stored_is_named(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with pytest.raises(TypeError, match=r"info\['versions'\]\['x'\]: a set"):
        run.write_run({"run_id": "a", "versions": {"x": {1}}})
    with pytest.raises(KeyError, match="run_id"):
        run.write_run({})
    assert not run.exists()


def test_its_folders_are_no_links_but_it_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run = RunDir(tmp_path / "link")
    run.write_run(INFO)
    assert run.read_run() == INFO
    for name in ("checkpoints", "metrics", "eval", "figures", "quarantine"):
        (run.path / name).symlink_to(tmp_path / "nowhere")
        with pytest.raises(RunError, match=f"{name} is a symbolic link"):
            getattr(run, name)
        with pytest.raises(RunError, match=f"{name} is a symbolic link"):
            run.read_run()
        (run.path / name).unlink()
        (run.path / name).mkdir()
        assert getattr(run, name) == run.path / name


@pytest.mark.parametrize("what", ["folder", "run.h5"])
def test_a_path_that_comes_to_mean_another_run_is_noticed(tmp_path: Path, what: str) -> None:
    run = RunDir(tmp_path / "run")
    run.write_run(INFO)
    assert not run.moved
    run.settle(INFO["run_id"])
    (run.path / "log.txt").touch()
    run.check_place()
    place = run.path if what == "folder" else run.run_file
    place.rename(tmp_path / "away")
    for here in (False, True):
        if here:
            RunDir(run.path).write_run(INFO | {"run_id": "another"})
        assert run.moved
        with pytest.raises(OSError, match="moved, removed or replaced"):
            run.check_place()
    if what == "folder":
        run.run_file.unlink()
        run.path.rmdir()
    (tmp_path / "away").rename(place)
    run.check_place()


def test_a_copy_that_was_put_back_is_the_same_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.write_run(INFO)
    run.settle(INFO["run_id"])
    run.run_file.rename(tmp_path / "away.h5")
    assert run.moved
    shutil.copy(tmp_path / "away.h5", run.run_file)
    assert not run.moved
