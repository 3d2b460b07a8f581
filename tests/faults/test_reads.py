from __future__ import annotations

import pytest

from . import reads

pytestmark = pytest.mark.slow


def test_a_run_in_training_is_read_without_a_fault() -> None:
    report = reads.run(30)
    assert report.faults == []
    assert report.did == sum(report.found.values()) == 30
    assert report.found.keys() == {"opened", "table", "checkpoint", "evaluations", "plain"}
