from __future__ import annotations

from acaikit.config.faults import Fault, Gaps, report
from acaikit.config.syntax import Where


def test_a_report_is_in_the_order_of_files_and_lines_and_says_each_fault_once() -> None:
    places = [("b", 2), ("a", 10), ("b", 1), ("a", 9), ("a", 10), ("elsewhere", 1)]
    told = report([Fault(Where(*place), "wrong") for place in places], ["a", "b"])
    assert told.faults == ["a:9: wrong", "a:10: wrong", "b:1: wrong", "b:2: wrong", "elsewhere:1: wrong"]
    assert str(told) == "\n".join(told.faults)


def test_what_a_gap_explains() -> None:
    gaps = Gaps(bound={"depth", "KL"})
    assert gaps.explains("depth") and gaps.explains("dpeth")
    assert gaps.explains("depth", ["depths"])
    assert not gaps.explains("dpeth", ["depths"])
    assert not gaps.explains("seed")
    assert Gaps(open=True).explains("seed", ["sede"])
