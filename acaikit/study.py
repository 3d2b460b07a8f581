"""A study: which recipes to run, with which settings and seeds, as a plain dataclass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from acaikit import checks
from acaikit.errors import UserError
from acaikit.evaluators.base import Evaluator


@dataclass
class Study:
    """Every recipe with every combination of the grid's settings, once per seed.

    Parameters
    ----------
    recipes : sequence of str
        Names, or files beside the study's own. Their order is that of the tables.
    seeds : sequence of int
        The seeds of each experiment; 0 to 4, as many as the paper's, if left out.
    overrides : sequence of str
        Bindings that stand above each recipe's, as ``--set`` takes them: ``"Experiment.samples = 131072"``.
    grid : mapping of str to sequence
        Parameters or macros, and the values that each is to take: ``{"ACAI.weight": [0.1, 0.5]}``. A text stands for
        what it says in gin: ``"'crop'"`` is a text, ``"[@KL(), @ACAI()]"`` a list of parts.
    evaluators : sequence of Evaluator
        What is measured of each run at its end, beside what its recipe measures in training.

    Raises
    ------
    UserError
        If one of them is of the wrong kind, empty, or names something twice.
    """

    recipes: Sequence[str]
    seeds: Sequence[int] = (0, 1, 2, 3, 4)
    overrides: Sequence[str] = ()
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    evaluators: Sequence[Evaluator] = ()

    def __post_init__(self) -> None:
        _check_list("Study.recipes", self.recipes, str)
        _check_list("Study.seeds", self.seeds, int)
        _check_list("Study.overrides", self.overrides, str, empty=True)
        _check_list("Study.evaluators", self.evaluators, Evaluator, empty=True)
        for seed in self.seeds:
            checks.whole("each of Study.seeds", seed, at_least=0)
        if not isinstance(self.grid, Mapping):
            raise UserError(
                f"Study.grid must be a dict, not {checks.said(self.grid)}: write {{'ACAI.weight': [0.5, 1]}}"
            )
        for name, values in self.grid.items():
            checks.instance("each key of Study.grid", name, str)
            _check_list(f"Study.grid[{name!r}]", values, object)


def _check_list(name: str, values: Any, kind: type, *, empty: bool = False) -> None:
    if not isinstance(values, list | tuple):
        raise UserError(f"{name} must be a list, not {checks.said(values)}: write [...]")
    if not values and not empty:
        raise UserError(f"{name} must not be empty")
    for place, value in enumerate(values):
        checks.instance(f"each of {name}", value, kind)
        if value in values[:place]:
            raise UserError(f"{name} has {checks.said(value)} twice")
