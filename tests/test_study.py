from __future__ import annotations

import pytest

from acaikit.errors import UserError
from acaikit.evaluators.kmeans import KMeans
from acaikit.study import Study


def test_what_is_left_out() -> None:
    study = Study(["lines_acai_64"])
    assert (study.seeds, study.overrides, study.grid, study.evaluators) == ((0, 1, 2, 3, 4), (), {}, ())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recipes": []}, "Study.recipes must not be empty"),
        ({"recipes": "lines_acai_64"}, "Study.recipes must be a list"),
        ({"recipes": [1]}, "each of Study.recipes"),
        ({"recipes": ["a", "b", "a"]}, "Study.recipes has 'a' twice"),
        ({"seeds": []}, "Study.seeds must not be empty"),
        ({"seeds": 3}, "Study.seeds must be a list"),
        ({"seeds": [0, -1]}, "each of Study.seeds"),
        ({"seeds": [0, 1.0]}, "each of Study.seeds"),
        ({"seeds": [True]}, "each of Study.seeds"),
        ({"seeds": [1, 1]}, "Study.seeds has 1 twice"),
        ({"overrides": "a = 1"}, "Study.overrides must be a list"),
        ({"overrides": [("a", 1)]}, "each of Study.overrides"),
        ({"grid": [1]}, "Study.grid must be a dict"),
        ({"grid": {1: [2]}}, "each of the keys of Study.grid"),
        ({"grid": {"a": 2}}, "Study.grid['a'] must be a list"),
        ({"grid": {"a": []}}, "Study.grid['a'] must not be empty"),
        ({"grid": {"a": [0.5, 0.5]}}, "Study.grid['a'] has 0.5 twice"),
        ({"seeds": [0, 0, -1, "a"]}, "Study.seeds has 0 twice; each of Study.seeds must be"),
        ({"seeds": [0, 0, -1, "a"]}, "not 'a'"),
        ({"grid": {"a": [1, 1], "b": []}}, "Study.grid['a'] has 1 twice; Study.grid['b'] must not be empty"),
        ({"evaluators": KMeans()}, "Study.evaluators must be a list"),
        ({"evaluators": [KMeans]}, "each of Study.evaluators"),
    ],
)
def test_what_a_study_refuses(given: dict, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Study(**({"recipes": ["lines_acai_64"]} | given))
    assert said in str(caught.value)
