"""Results of many runs: reported values, gathered by experiment over seeds, beside the paper's."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acaikit.artifacts.evaluations import protocol_hash
from acaikit.config import Config
from acaikit.errors import RunError, UserError
from acaikit.registry import unknown
from acaikit.report.paper import SCORES, Published, published

MEASURED_ON = ("dataset", "shape", "test_examples", "data")
"""What a protocol says of the data. The rest is how it was measured: that is what a column of a table shares."""


@dataclass(frozen=True)
class Value:
    """One run's reported value of one score.

    Attributes
    ----------
    value : float
        NaN where the score was undefined.
    protocol : dict
        How it was measured, as JSON values.
    of : int or None
        How many values it is the median of; None for a single evaluation.
    """

    value: float
    protocol: Mapping[str, Any]
    of: int | None = None

    @property
    def sha256(self) -> str:
        """The protocol's hash."""
        return protocol_hash(self.protocol)

    @property
    def method(self) -> str:
        """The hash of the protocol without what it was measured on."""
        return protocol_hash({k: v for k, v in self.protocol.items() if k not in MEASURED_ON})


@dataclass(frozen=True, eq=False)
class RunResults:
    """What a table needs to know of one run.

    Attributes
    ----------
    path : Path
        The run directory.
    run_id : str
        The run's own id.
    seed : int
        Its seed.
    config : Config
        What was run, without the seed, and with the budget that the run has now.
    sources, overrides : list of str
        The names of the files that the config came from, the recipe first; and the bindings above them.
    data : dict of str to str
        The digest of each split.
    samples, budget : int
        Training examples shown, and to be shown in all.
    values : dict of str to list of Value
        By score, one for each protocol that it was measured under.
    """

    path: Path
    run_id: str
    seed: int
    config: Config
    sources: Sequence[str]
    overrides: Sequence[str]
    data: Mapping[str, str]
    samples: int
    budget: int
    values: Mapping[str, Sequence[Value]]

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.samples >= self.budget

    @property
    def progress(self) -> str:
        """How far the run has come."""
        return f"{self.samples:,} of {self.budget:,} samples"


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of one experiment that differ in their seed alone.

    Attributes
    ----------
    name : str
        A shipped recipe's, with the bindings that differ from it; or that of the user's own recipe.
    recipe : str or None
        The shipped recipe.
    differences : list of str
        ``binding: the recipe's value -> the experiment's``.
    runs : list of RunResults
        By seed; of one that is not finished, itself alone.
    """

    name: str
    recipe: str | None
    differences: Sequence[str]
    runs: Sequence[RunResults]

    @property
    def finished(self) -> bool:
        """Whether the runs are at their budget's end."""
        return all(run.finished for run in self.runs)

    @property
    def data(self) -> str:
        """What the experiment is measured on, as its config writes it."""
        return next(str(b.value) for k, b in self.runs[0].config.bindings.items() if k[2] == "dataset")


def check_seeds(group: Group) -> None:
    """Raise `RunError` if two of a group's runs have the same seed: the second is no second sample."""
    known: dict[int, RunResults] = {}
    for run in group.runs:
        other = known.setdefault(run.seed, run)
        if other is not run:
            raise RunError(
                f"{other.path} and {run.path} are both runs of {group.name} with seed {run.seed}: as a sample they "
                f"count once, so leave one of them out"
            )


@dataclass(frozen=True)
class Cell:
    """A score of an experiment: mean and population standard deviation over its runs.

    Attributes
    ----------
    values : dict of int to float
        By seed; those of runs in which the score was undefined are left out.
    undefined : int
        In how many runs it was undefined.
    of : int or None
        The fewest values that a run's median was taken of; None if it wasn't a median.
    protocol : dict
        How it was measured.
    paper : Published or None
        The paper's.
    """

    values: Mapping[int, float]
    undefined: int
    of: int | None
    protocol: Mapping[str, Any]
    paper: Published | None

    @property
    def mean(self) -> float:
        """The mean over the runs, NaN where there is none."""
        return float(np.mean(list(self.values.values()))) if self.values else float("nan")

    @property
    def std(self) -> float | None:
        """The population standard deviation over the runs; None for a single one, which has no spread."""
        if len(self.values) < 2:
            return None
        with np.errstate(invalid="ignore"):  # infinite values have none
            return float(np.std(list(self.values.values())))

    @property
    def difference(self) -> float | None:
        """How far the mean lies above the paper's."""
        return self.mean - self.paper.mean if self.paper is not None and self.values else None

    @property
    def within(self) -> bool | None:
        """Whether the mean lies within the paper's standard deviation; None where the paper gives none."""
        if self.difference is None or self.paper is None or self.paper.std is None:
            return None
        return abs(self.difference) <= self.paper.std


@dataclass(frozen=True)
class Column:
    """A score under one protocol; `tag` is the protocol's hash where the score was measured under several."""

    score: str
    tag: str = ""


@dataclass(frozen=True)
class Missing:
    """A cell without all of its values: these runs of the experiment were not measured."""

    group: Group
    column: Column
    runs: Sequence[RunResults]


@dataclass(frozen=True)
class Results:
    """A table of experiments by scores.

    Attributes
    ----------
    groups, columns : list
        The rows and the columns.
    cells : dict
        By position of row and of column; those that nothing was measured of are left out.
    published : dict
        The paper's numbers, by position of row and of column.
    missing : list of Missing
        What could have been measured and was not.
    """

    groups: Sequence[Group]
    columns: Sequence[Column]
    cells: Mapping[tuple[int, int], Cell]
    published: Mapping[tuple[int, int], Published]
    missing: Sequence[Missing]

    @property
    def protocols(self) -> dict[str, Mapping[str, Any]]:
        """Every protocol by its hash, in the order of the columns."""
        ordered = sorted(self.cells.items(), key=lambda item: item[0][1])
        return {protocol_hash(cell.protocol): cell.protocol for _, cell in ordered}


def tabulate(groups: Sequence[Group], patterns: Sequence[str] = (), paper: bool = False) -> Results:
    """Gather the scores of experiments.

    Parameters
    ----------
    groups : sequence of Group
        The experiments.
    patterns : sequence of str
        Which scores, such as ``kmeans/*``. Left out: the four of the paper's tables that there are, else those of
        `plain`.
    paper : bool
        Whether to put the paper's numbers beside them.

    Raises
    ------
    UserError
        If a pattern fits no score.
    """
    known = {score for group in groups for run in group.runs for score in run.values}
    if paper:
        known |= {score for group in groups if group.recipe for score in SCORES if published(group.recipe, score)}
    columns = [column for score in _chosen(known, patterns) for column in _columns(score, groups)]
    cells, theirs, missing = {}, {}, []
    for i, group in enumerate(groups):
        for j, column in enumerate(columns):
            there = published(group.recipe, column.score) if paper and group.recipe else None
            if there is not None:
                theirs[i, j] = there
            found = {run: value for run in group.runs if (value := _value(run, column)) is not None}
            if found:
                cells[i, j] = _cell(found, there)
            lacking = [run for run in group.runs if run not in found]
            if lacking and (found or there or _measurable(group, column, groups)):
                missing.append(Missing(group, column, lacking))
    return Results(groups, columns, cells, theirs, missing)


def plain(known: Iterable[str]) -> list[str]:
    """Return the scores that are single numbers, sorted; those of a table, ``evaluator/ROW/COLUMN``, if there are none.

    A scorecard alone has a hundred numbers: nobody wants them all unasked.
    """
    return sorted(score for score in known if score.count("/") == 1) or sorted(known)


def _chosen(known: set[str], patterns: Sequence[str]) -> list[str]:
    if not patterns:
        return [score for score in SCORES if score in known] or plain(known)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        fitting = sorted(fnmatch.filter(known, pattern))
        if not fitting:
            raise UserError(unknown("no run has a score", pattern, sorted(known)))
        chosen |= dict.fromkeys(fitting)
    return list(chosen)


def _columns(score: str, groups: Sequence[Group]) -> list[Column]:
    """Return a column for each way of measuring: values under different protocols are never averaged."""
    values = [[v for run in group.runs for v in run.values.get(score, ())] for group in groups]
    methods = {value.method for row in values for value in row}
    if len(methods) < 2 and all(len({value.sha256 for value in row}) < 2 for row in values):
        return [Column(score)]
    return [Column(score, sha) for sha in sorted({value.sha256 for row in values for value in row})]


def _value(run: RunResults, column: Column) -> Value | None:
    return next((v for v in run.values.get(column.score, ()) if v.sha256.startswith(column.tag)), None)


def _cell(found: Mapping[RunResults, Value], paper: Published | None) -> Cell:
    defined = {run.seed: value.value for run, value in found.items() if not np.isnan(value.value)}
    counts = [value.of for value in found.values() if value.of]
    protocol = next(iter(found.values())).protocol
    return Cell(defined, len(found) - len(defined), min(counts, default=None), protocol, paper)


def _measurable(group: Group, column: Column, groups: Sequence[Group]) -> bool:
    """Return whether another experiment on the same dataset has the score."""
    return any(
        other is not group and other.data == group.data and any(_value(run, column) for run in other.runs)
        for other in groups
    )
