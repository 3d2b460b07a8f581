from __future__ import annotations

from acaikit.words import counted, few


def test_one_and_many() -> None:
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_a_few_names_stand_in_full() -> None:
    assert [few("abcd"[:n], 2) for n in range(1, 5)] == ["a", "a, b", "a, b and 1 more", "a, b and 2 more"]
