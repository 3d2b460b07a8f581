from __future__ import annotations

from acaikit.health import Sign
from acaikit.runs.watch import Watch


def test_a_warning_is_said_once_it_lasts_and_again_once_it_is_gone() -> None:
    watch = Watch()
    rows = {"w": Sign(1.0, "wrong"), ".": Sign(0.0)}
    said = [watch.look({"KL/active": rows[row]}) for row in "w.www..www"]
    wrong, well = ["KL/active: wrong"], ["KL/active: well again"]
    assert said == [[], [], [], wrong, [], well, [], [], wrong, []]


def test_signs_are_watched_one_by_one() -> None:
    watch = Watch()
    watch.look({"a": Sign(1.0, "x"), "b": Sign(1.0)})
    assert watch.look({"a": Sign(1.0, "y"), "b": Sign(1.0, "z")}) == ["a: y"]
    assert watch.look({"b": Sign(1.0, "z")}) == ["b: z"]  # of "a" nothing was seen
    assert watch.look({"a": Sign(1.0), "b": Sign(1.0, "z")}) == ["a: well again"]
