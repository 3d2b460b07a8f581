from __future__ import annotations

from pathlib import Path

import pytest

from acaikit.artifacts import metrics

from . import month
from .disk import unsynchronised


def test_a_table_of_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SEAL_ROWS", 16)
    with unsynchronised():
        report = month.run(300, singly=60)
    assert report.faults == []
    assert report.found["computed: megabytes written by all appends"] == 0


def test_a_wrong_row_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    month.lay_out(tmp_path, 20)
    assert month.amiss(tmp_path, 20) == []
    assert month.amiss(tmp_path, 19) != []
    monkeypatch.setattr(month, "values", lambda steps: {f"loss/{number:02d}": steps * 1.0 for number in range(12)})
    assert len(month.amiss(tmp_path, 20)) == 12
