from __future__ import annotations

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from acaikit.artifacts import metrics as metrics_module
from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.metrics import Metrics, read_metrics

NAN = float("nan")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "SEAL_ROWS", 4)


def fill(folder: Path, count: int) -> Metrics:
    table = Metrics(folder, "run")
    for step in range(count):
        table.append(step * 10, {"loss": step / 3})
    return table


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_table(found: dict[str, np.ndarray], **expected: list[float]) -> None:
    assert list(found) == list(expected)
    for title, values in expected.items():
        np.testing.assert_array_equal(found[title], values)
    assert found["step"].dtype == np.int64
    assert all(column.dtype == np.float64 for title, column in found.items() if title != "step")


def test_empty_table(tmp_path: Path) -> None:
    assert_table(Metrics(tmp_path / "metrics", "run").read(), step=[])
    assert not (tmp_path / "metrics").exists()


def test_rows_survive_at_once(tmp_path: Path) -> None:
    table = Metrics(tmp_path, "run")
    table.append(0, {"loss": 0.1})
    assert_table(read_metrics(tmp_path), step=[0], loss=[0.1])
    table.append(0, {"loss": 0.2})
    assert_table(read_metrics(tmp_path), step=[0, 0], loss=[0.1, 0.2])


def test_parts_are_sealed(tmp_path: Path) -> None:
    table = fill(tmp_path, 4)
    sealed = (tmp_path / "part-000000.h5").read_bytes()
    assert names(tmp_path) == ["part-000000.h5"]
    for step in range(4, 9):
        table.append(step * 10, {"loss": step / 3})
    assert names(tmp_path) == [f"part-{part:06d}.h5" for part in range(3)]
    assert (tmp_path / "part-000000.h5").read_bytes() == sealed
    assert_table(table.read(), step=[step * 10 for step in range(9)], loss=[step / 3 for step in range(9)])


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_going_on_gives_the_same_files_as_never_stopping(tmp_path: Path, count: int) -> None:
    fill(tmp_path / "once", 7)
    fill(tmp_path / "twice", count)
    again = Metrics(tmp_path / "twice", "run")
    for step in range(count, 7):
        again.append(step * 10, {"loss": step / 3})
    for name in names(tmp_path / "once"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def test_columns_come_and_go(tmp_path: Path) -> None:
    table = Metrics(tmp_path, "run")
    table.append(0, {"loss": 1})
    table.append(1, {"loss/train": 2.0, "../x": 3.0})
    for step in range(2, 6):
        table.append(step, {"late, dB": float("inf")})
    found = table.read()
    assert list(found) == ["step", "../x", "late, dB", "loss", "loss/train"]
    np.testing.assert_array_equal(found["loss"], [1] + [NAN] * 5)
    np.testing.assert_array_equal(found["loss/train"], [NAN, 2] + [NAN] * 4)
    np.testing.assert_array_equal(found["late, dB"], [NAN, NAN] + [np.inf] * 4)


def test_bare_h5py_reads_a_part(tmp_path: Path) -> None:
    Metrics(tmp_path, "run").append(3, {"loss/train": 0.5})
    with h5py.File(tmp_path / "part-000000.h5", "r") as file:
        assert file["step"][:].tolist() == [3]
        assert file["columns/loss%2Ftrain"][:].tolist() == [0.5]


@pytest.mark.parametrize(("rows", "chunk"), [(1, 64), (100, 100), (5000, 1024)])
def test_chunks(tmp_path: Path, rows: int, chunk: int) -> None:
    path = tmp_path / "part-000000.h5"
    metrics_module.write_part(path, np.arange(rows), {"loss": np.zeros(rows)}, run_id="run")
    with h5py.File(path, "r") as file:
        assert file["step"].chunks == file["columns/loss"].chunks == (chunk,)


@pytest.mark.parametrize("after", [-1, 0, 25, 30, 39, 40, 79, 80, 1000])
def test_truncate(tmp_path: Path, after: int) -> None:
    table = fill(tmp_path, 9)
    table.truncate(after)
    kept = [step for step in range(9) if step * 10 <= after]
    found = read_metrics(tmp_path)
    assert found["step"].tolist() == [step * 10 for step in kept]
    assert len(names(tmp_path)) == -(-len(kept) // 4)
    table.append(after + 1, {"loss": 7.0})
    assert table.read()["loss"].tolist() == [*(step / 3 for step in kept), 7.0]


def test_a_step_cannot_go_back(tmp_path: Path) -> None:
    table = fill(tmp_path, 5)
    with pytest.raises(ValueError, match="step 39 can't follow one of step 40"):
        table.append(39, {"loss": 1.0})
    with pytest.raises(ValueError, match="truncate first"):
        Metrics(tmp_path, "run").append(0, {"loss": 1.0})
    assert len(table.read()["step"]) == 5


@pytest.mark.parametrize("title", ["step", ""])
def test_unusable_names(tmp_path: Path, title: str) -> None:
    with pytest.raises(ValueError, match="can't be"):
        Metrics(tmp_path, "run").append(0, {title: 1.0})


@pytest.mark.parametrize("count", [2, 4])
def test_a_failed_append_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    table = fill(tmp_path, count)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            table.append(100, {"loss": 9.0})
    assert len(table.read()["step"]) == count
    assert names(tmp_path) == ["part-000000.h5"]
    table.append(200, {})
    found = table.read()
    assert found["step"][-1] == 200
    assert len(found["step"]) == count + 1
    assert np.isnan(found["loss"][-1])
    table.truncate(10)
    assert table.read()["step"].tolist() == [0, 10]


def test_truncate_after_a_failed_append_keeps_the_sealed_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = fill(tmp_path, 4)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            table.append(100, {"loss": 9.0})
    table.truncate(20)
    assert table.read()["step"].tolist() == [0, 10, 20]


def test_damage_is_named(tmp_path: Path) -> None:
    fill(tmp_path, 9)
    middle = tmp_path / "part-000001.h5"
    data = middle.read_bytes()
    middle.write_bytes(data[:-1])
    with pytest.raises(BrokenFile, match=r"part-000001\.h5 is broken"):
        read_metrics(tmp_path)
    middle.unlink()
    with pytest.raises(BrokenFile, match=r"part-000001\.h5 is missing"):
        read_metrics(tmp_path)


def test_a_part_of_many_columns_is_sealed_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "SEAL_ROWS", 1000)
    monkeypatch.setattr(metrics_module, "SEAL_BYTES", 8 * 3 * 70)  # 70 rows of a step and two metrics
    table = Metrics(tmp_path, "abc")
    for step in range(150):
        table.append(step, {"a": step, "b": -step})
    sizes = [len(metrics_module.read_part(path)[0]) for path in metrics_module.list_parts(tmp_path)]
    assert sizes == [70, 70, 10]
    read = Metrics(tmp_path, "abc").read()
    assert read["step"].tolist() == read["a"].tolist() == list(range(150))
