from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from acaikit.testing.states import copied, difference

TREE: dict[str, Any] = {
    "tensor": torch.tensor([1.0, math.nan]),
    "array": np.array([[0.0, math.nan]]),
    "list": [1, (2.0, math.nan), None],
    "scalar": torch.tensor(3),
}


def test_a_copy_has_the_same_bits() -> None:
    before = copied(TREE)
    in_the_list = ["['list'][0]", "['list'][1][0]", "['list'][1][1]", "['list'][2]"]
    assert list(before) == ["['tensor']", "['array']", *in_the_list, "['scalar']"]
    assert difference(before, copied(TREE)) is None


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"tensor": torch.tensor([1.0, 2.0])}, "t['tensor']"),
        ({"tensor": torch.tensor([1.0, math.nan], dtype=torch.float64)}, "t['tensor']"),
        ({"tensor": torch.tensor([[1.0, math.nan]])}, "t['tensor']"),
        ({"tensor": None}, "t['tensor']"),
        ({"array": np.array([[-0.0, math.nan]])}, "t['array']"),
        ({"array": np.array([0.0, math.nan])}, "t['array']"),
        ({"list": [1, (2.0, 3.0), None]}, "t['list'][1][1]"),
        ({"list": [1, (2.0, math.nan)]}, "t['list'][2]"),
        ({"more": 1}, "t['more']"),
    ],
)
def test_the_first_difference_is_named(change: dict[str, Any], path: str) -> None:
    one, other = copied(TREE, "t"), copied(TREE | change, "t")
    assert difference(one, other) == path
    assert difference(other, one) == path


def test_a_copy_stays_as_it_was() -> None:
    tree = {"tensor": torch.zeros(2), "array": np.zeros(2)}
    before = copied(tree)
    tree["tensor"] += 1
    assert difference(before, copied(tree)) == "['tensor']"
    tree["tensor"] -= 1
    tree["array"] += 1
    assert difference(before, copied(tree)) == "['array']"
