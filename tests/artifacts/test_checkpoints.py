from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from acaikit.artifacts import h5file
from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.faults import BrokenFile, MissingFile, NewerFormat
from acaikit.artifacts.h5file import write_h5


def tree(step: int) -> dict[str, Any]:
    return {"step": step, "weight": torch.full((5,), float(step))}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", "run")


def spoil(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return bytes(data)


def test_save_and_load(checkpoints: Checkpoints) -> None:
    assert checkpoints.steps() == []
    checkpoints.save(4096, tree(4096))
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-000004096.h5"]
    back = checkpoints.load(4096)
    assert back["step"] == 4096
    assert torch.equal(back["weight"], torch.full((5,), 4096.0))


def test_steps_are_sorted_as_numbers(checkpoints: Checkpoints) -> None:
    for step in (1_000_000_000, 999_999_999, 2):
        checkpoints.save(step, tree(step))
    (checkpoints.folder / "step-7.h5.tmp").touch()
    (checkpoints.folder / ".step-000000007.h5.1.0123456789abcdef.tmp").touch()
    assert checkpoints.steps() == [2, 999_999_999, 1_000_000_000]


def test_the_newest_three_are_kept(checkpoints: Checkpoints) -> None:
    for step in range(10, 60, 10):
        checkpoints.save(step, tree(step))
    assert checkpoints.steps() == [30, 40, 50]


def test_keep_is_at_least_three(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 3"):
        Checkpoints(tmp_path, "run", keep=2)
    more = Checkpoints(tmp_path, "run", keep=4)
    for step in range(6):
        more.save(step, tree(step))
    assert more.steps() == [2, 3, 4, 5]


def test_a_save_below_later_steps_is_not_pruned(checkpoints: Checkpoints) -> None:
    for step in (10, 20, 30):
        checkpoints.save(step, tree(step))
    checkpoints.save(5, tree(5))
    assert checkpoints.steps() == [5, 10, 20, 30]


def test_a_failed_save_prunes_nothing(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2, 3):
        checkpoints.save(step, tree(step))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for call in ("write", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            with pytest.raises(OSError, match="No space left"):
                checkpoints.save(4, tree(4))
        assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
            f"step-{step:09d}.h5" for step in (1, 2, 3)
        ]
    with pytest.raises(TypeError, match=r"state\['bad'\]"):
        checkpoints.save(4, {"bad": {1}})
    assert checkpoints.steps() == [1, 2, 3]


def test_latest_of_nothing(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest(report=pytest.fail) is None


def test_latest_is_the_newest(checkpoints: Checkpoints) -> None:
    for step in (1, 2):
        checkpoints.save(step, tree(step))
    found = checkpoints.latest(report=pytest.fail)
    assert found is not None
    assert found[0] == found[1]["step"] == 2


def test_latest_falls_back_and_touches_nothing_without_a_quarantine(checkpoints: Checkpoints) -> None:
    for step in (1, 2, 3):
        checkpoints.save(step, tree(step))
    spoil(checkpoints.path(3))
    checkpoints.path(2).write_bytes(checkpoints.path(2).read_bytes()[:600])
    lines: list[str] = []
    found = checkpoints.latest(report=lines.append)
    assert found is not None
    assert found[0] == 1
    assert [line.split(" passed over")[0] for line in lines] == ["checkpoint of step 3", "checkpoint of step 2"]
    assert "step-000000003.h5" in lines[0]
    assert checkpoints.steps() == [1, 2, 3]


def test_latest_warns_where_nobody_takes_the_report(checkpoints: Checkpoints) -> None:
    for step in (1, 2):
        checkpoints.save(step, tree(step))
    spoil(checkpoints.path(2))
    with pytest.warns(UserWarning, match="checkpoint of step 2 passed over"):
        assert checkpoints.latest()[0] == 1


def test_quarantine_keeps_every_bad_file(checkpoints: Checkpoints, tmp_path: Path) -> None:
    quarantine = tmp_path / "quarantine"
    spoiled = []
    checkpoints.save(1, tree(1))
    for _ in range(2):
        checkpoints.save(2, tree(2))
        spoiled.append(spoil(checkpoints.path(2)))
        lines: list[str] = []
        found = checkpoints.latest(report=lines.append, quarantine=quarantine)
        assert found is not None
        assert found[0] == 1
        assert len(lines) == 1
        assert str(quarantine) in lines[0]
        assert checkpoints.steps() == [1]
        spoiled[-1] += b"!"
        newest = max(quarantine.iterdir(), key=lambda path: path.name)
        newest.write_bytes(spoiled[-1])
    assert [path.read_bytes() for path in sorted(quarantine.iterdir())] == spoiled


def test_a_newer_format_is_not_passed_over(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(1, tree(1))
    with monkeypatch.context() as patch:
        patch.setattr(h5file, "MIN_READER_VERSION", "9.0.0")
        checkpoints.save(2, tree(2))
    with pytest.raises(NewerFormat):
        checkpoints.latest(report=pytest.fail, quarantine=tmp_path / "quarantine")
    assert checkpoints.steps() == [1, 2]


def test_a_checkpoint_pruned_meanwhile_is_skipped_in_silence(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(1, tree(1))
    monkeypatch.setattr(checkpoints, "steps", lambda: [1, 2])
    found = checkpoints.latest(report=pytest.fail)
    assert found is not None
    assert found[0] == 1
    with pytest.raises(MissingFile):
        checkpoints.load(2)


def test_foreign_or_renamed_checkpoints_are_refused(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, tree(1))
    with pytest.raises(BrokenFile, match="belongs to run run, not to other"):
        Checkpoints(checkpoints.folder, "other").load(1)
    checkpoints.path(1).rename(checkpoints.path(2))
    with pytest.raises(BrokenFile, match="holds step 1"):
        checkpoints.load(2)


def test_a_sound_file_without_a_state_is_passed_over(checkpoints: Checkpoints) -> None:
    def fill(file: h5py.Group) -> None:
        file.create_group("state")["skeleton"] = 1

    checkpoints.save(1, tree(1))
    write_h5(checkpoints.path(2), fill, format="checkpoint", run_id="run", step=2)
    lines: list[str] = []
    found = checkpoints.latest(report=lines.append)
    assert found is not None
    assert found[0] == 1
    assert len(lines) == 1


def test_peeking_reads_the_plain_entries_alone(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "run")
    checkpoints.save(4, {"samples": 256, "name": "é", "model": {"w": torch.ones(3)}, "list": [1], "none": None})
    assert checkpoints.peek(4) == {"samples": 256, "name": "é", "none": None}
    with pytest.raises(MissingFile):
        checkpoints.peek(5)
    for content in (b"", b"no HDF5", checkpoints.path(4).read_bytes()[:700]):
        checkpoints.path(6).write_bytes(content)
        with pytest.raises(BrokenFile, match="step-000000006"):
            checkpoints.peek(6)


def test_a_checkpoint_of_another_run_is_never_moved(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(1, tree(1))
    lines: list[str] = []
    other = Checkpoints(checkpoints.folder, "other")
    assert other.latest(report=lines.append, quarantine=tmp_path / "quarantine") is None
    assert len(lines) == 1 and "belongs to run run" in lines[0]
    other.save(2, tree(2))
    other.move_damaged(tmp_path / "quarantine", pytest.fail, below=2)
    assert checkpoints.steps() == [1, 2] and not (tmp_path / "quarantine").exists()


def test_older_ones_that_are_damaged_are_moved(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoints.save(step, tree(step))
    for step in (1, 3):
        spoil(checkpoints.path(step))
    lines: list[str] = []
    checkpoints.move_damaged(tmp_path / "quarantine", lines.append, below=3)
    assert len(lines) == 1 and lines[0].startswith("checkpoint of step 1 is of no use")
    assert checkpoints.steps() == [2, 3]
    assert [file.name for file in (tmp_path / "quarantine").iterdir()] == ["step-000000001.h5"]
