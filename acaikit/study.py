"""A study: which recipes to run, with which settings and seeds, as a plain dataclass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
        # What has no default comes last: a part is built again without a value that it refuses, if it can be.
        _refuse(_in_list("Study.seeds", self.seeds, partial(checks.whole, at_least=0)))
        _refuse(_in_list("Study.overrides", self.overrides, partial(checks.instance, kind=str), empty=True))
        _refuse(_in_grid(self.grid))
        _refuse(_in_list("Study.evaluators", self.evaluators, partial(checks.instance, kind=Evaluator), empty=True))
        _refuse(_in_list("Study.recipes", self.recipes, partial(checks.instance, kind=str)))


def _refuse(faults: Iterable[str]) -> None:
    found = list(dict.fromkeys(faults))
    if found:
        raise UserError("; ".join(found))


def _in_grid(grid: Any) -> Iterator[str]:
    """Yield what is wrong with a grid."""
    if not isinstance(grid, Mapping):
        yield f"Study.grid must be a dict, not {checks.said(grid)}: write {{'ACAI.weight': [0.5, 1]}}"
        return
    yield from _in_list("the keys of Study.grid", list(grid), partial(checks.instance, kind=str), empty=True)
    for name, values in grid.items():
        yield from _in_list(f"Study.grid[{name!r}]", values, partial(checks.instance, kind=object))


def _in_list(name: str, values: Any, check: Callable[[str, Any], None], *, empty: bool = False) -> Iterator[str]:
    """Yield what is wrong with a list, and with each value of it."""
    if not isinstance(values, list | tuple):
        yield f"{name} must be a list, not {checks.said(values)}: write [...]"
        return
    if not values and not empty:
        yield f"{name} must not be empty"
    for place, value in enumerate(values):
        try:
            check(f"each of {name}", value)
        except UserError as error:
            yield str(error)
        else:
            if value in values[:place]:
                yield f"{name} has {checks.said(value)} twice"
