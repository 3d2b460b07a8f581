from __future__ import annotations

import pytest

from . import races

pytestmark = pytest.mark.slow


def test_one_of_four_wins_and_a_dead_winner_holds_nothing() -> None:
    report = races.run(16, whole=4)
    assert report.faults == []
    assert report.did == 16
    assert report.found["winner killed"] and report.found["winner ended"]
