from __future__ import annotations

import time
from pathlib import Path

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.rundir import RunDir
from acaikit.studies.progress import saved


def test_what_checkpoints_say_the_newest_first(tmp_path: Path) -> None:
    before = time.time() - 1
    checkpoints = Checkpoints(RunDir(tmp_path).checkpoints, "id")
    for step in (1, 2, 3):
        checkpoints.save(step, {"model": {}, "samples": 64 * step, "budget": 192})
    found = saved(tmp_path, most=3)
    assert found[:1] == saved(tmp_path)
    assert [(one.samples, one.budget, one.finished) for one in found] == [
        (192, 192, True),
        (128, 192, False),
        (64, 192, False),
    ]
    assert all(before < one.at < time.time() + 1 for one in found)
    checkpoints.path(3).write_bytes(b"broken")
    checkpoints.path(2).unlink()
    assert [one.samples for one in saved(tmp_path)] == [64]


def test_where_nothing_was_saved(tmp_path: Path) -> None:
    assert saved(tmp_path) == saved(tmp_path / "none") == []
