from __future__ import annotations

import fcntl
import json
from pathlib import Path

from acaikit.artifacts.lock import Holder, RunLock
from acaikit.studies.held import is_held


def test_looking_takes_the_lock_from_nobody_and_writes_nothing(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert not is_held(lock)
    assert not lock.exists()
    with RunLock(lock):
        before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
        assert is_held(lock)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert not is_held(lock)
    with RunLock(lock):  # it isn't held by whoever looked
        pass


def test_any_number_may_look_at_once(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    with lock.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_held(lock)


def test_where_a_lock_cannot_be_opened_its_holder_is_believed(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.symlink_to(tmp_path / "elsewhere")
    assert not is_held(lock)
    lock.with_name(".holder").write_text(json.dumps(vars(Holder(1, "node7", "me", "2026-01-01T00:00:00+00:00"))))
    assert is_held(lock)
