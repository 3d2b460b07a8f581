from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acaikit.artifacts.metrics import Metrics, read_metrics
from acaikit.artifacts.parts import part_path, write_part
from acaikit.artifacts.quarantine import move_aside, move_damaged_parts


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "metrics"
    folder.mkdir()
    for part in range(4):
        write_part(part_path(folder, part), np.array([part]), {"loss": np.array([0.5])}, run_id="run")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "a.h5").write_text(str(number))
        move_aside(tmp_path / "a.h5", tmp_path / "aside")
    assert {path.name: path.read_text() for path in (tmp_path / "aside").iterdir()} == {
        "a.h5": "0",
        "a.h5.1": "1",
        "a.h5.2": "2",
    }


def test_a_whole_table_is_left_alone(table: Path, tmp_path: Path) -> None:
    copies = ["part-000000 (copy).h5", "part-0000001.h5", "part-1.h5", ".part-000009.h5.1.0123456789abcdef.tmp"]
    for name in copies:
        (table / name).touch()
    assert move_damaged_parts(table, tmp_path / "aside", pytest.fail).tolist() == [0, 1, 2, 3]
    assert move_damaged_parts(tmp_path / "none", tmp_path / "aside", pytest.fail).tolist() == []
    assert len(names(table)) == 4 + len(copies) and not (tmp_path / "aside").exists()
    assert read_metrics(table)["step"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("fault", ["missing", "damaged"])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_parts_before_a_fault_are_kept(table: Path, tmp_path: Path, fault: str, part: int) -> None:
    path = part_path(table, part)
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    lines: list[str] = []
    left = move_damaged_parts(table, tmp_path / "aside", lines.append)
    assert left.tolist() == list(range(part))
    assert len(lines) == 1 and path.name in lines[0]
    moved = [f"part-{number:06d}.h5" for number in range(part + (fault == "missing"), 4)]
    assert names(tmp_path / "aside") == moved
    assert all(name in lines[0] for name in moved)
    assert read_metrics(table)["step"].tolist() == list(range(part))
    Metrics(table, "run").append(9, {"loss": 1.0})
