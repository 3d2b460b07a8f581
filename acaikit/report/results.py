"""A table of results: reported values, gathered by experiment over seeds, beside the paper's."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from acaikit.artifacts.evaluations import SHORT, protocol_hash
from acaikit.errors import UserError
from acaikit.registry import unknown
from acaikit.report.measured import MEASURED_ON, REPORTED, Group, RunResults, Value
from acaikit.report.paper import COMPANIONS, SCORES, Published, departures, published
from acaikit.report.tables import HEALTH, LAST


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
        The fewest values that a run's median was taken of; None if there was no median.
    protocol : dict
        How it was measured.
    paper : Published or None
        The paper's.
    comparable : bool
        Whether experiment, protocol, reporting and precision are the paper's too.
    """

    values: Mapping[int, float]
    undefined: int
    of: int | None
    protocol: Mapping[str, Any]
    paper: Published | None
    comparable: bool = True

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
        """Whether the mean lies within the paper's standard deviation; None where there is none, or it says nothing."""
        if not self.comparable or self.difference is None or self.paper is None or self.paper.std is None:
            return None
        return abs(self.difference) <= self.paper.std


@dataclass(frozen=True)
class Column:
    """A score, measured in one way.

    Attributes
    ----------
    score : str
        Its name.
    protocols : tuple of str
        The hashes of the protocols, one for each data; empty where the score was measured in no other way.
    """

    score: str
    protocols: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """The hashes as people see them, after the score's name."""
        return f" [{' '.join(sha[:SHORT] for sha in self.protocols)}]" if self.protocols else ""


@dataclass(frozen=True)
class Missing:
    """A cell without all of its values.

    Attributes
    ----------
    group : Group
        The experiment.
    column : Column
        The score.
    runs : list of RunResults
        The runs of the experiment that were not measured.
    protocol : dict or None
        How others were measured; None where nobody was, and the paper alone has a number.
    """

    group: Group
    column: Column
    runs: Sequence[RunResults]
    protocol: Mapping[str, Any] | None


Row = Mapping[RunResults, Value]
"""An experiment's values in a column, by run."""


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

    @cached_property
    def shared(self) -> dict[str, str]:
        """The settings that an experiment changed, and that all of them have in common: each parameter's value.

        Where one has it from its recipe, it is in common all the same.
        """
        found = {label: value for group in self.groups for label, value in group.changes.items()}
        own = [group.settings for group in self.groups]
        return {label: value for label, value in found.items() if all(one.get(label) == value for one in own)}

    def called(self, group: Group) -> str:
        """Return what an experiment is called in this table: what one of its recipe changed, all of them say.

        What all experiments have in common is told beside the table.
        """
        alike = [other for other in self.groups if other.stem == group.stem]
        labels = {label: None for other in alike for label in other.changes if label not in self.shared}
        own = group.settings
        return group.called({label: own[label] for label in labels if label in own})

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
        `plain`. With the paper's Smoothness come those that tell what it hides.
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
    columns: list[Column] = []
    cells, theirs, missing = {}, {}, []
    for score in _chosen(known, patterns):
        found = {column: [_found(group, column) for group in groups] for column in _columns(score, groups)}
        for i, group in enumerate(groups):
            there = published(group.recipe, score) if paper and group.recipe else None
            beside = _beside(score, found, i) if there is not None else []
            for j, (column, rows) in enumerate(found.items(), len(columns)):
                if there is not None and column in beside:
                    theirs[i, j] = there
                if rows[i]:
                    cells[i, j] = _cell(group, score, rows[i], theirs.get((i, j)))
                lacking = _lacking(group, score, rows)
                if lacking and ((i, j) in theirs or _measured_on(group.data, groups, rows)):
                    missing.append(Missing(group, column, lacking, _protocol(rows)))
        columns += found
    return Results(groups, columns, cells, theirs, missing)


def plain(known: Iterable[str]) -> list[str]:
    """Return the scores that are single numbers, sorted; those of a table, ``evaluator/ROW/COLUMN``, if there are none.

    A scorecard alone has a hundred numbers: nobody wants them all unasked. Signs of health are shown where asked for.
    """
    scores = sorted(score for score in known if not score.startswith(HEALTH))
    return [score for score in scores if score.count("/") == 1] or scores


def _chosen(known: set[str], patterns: Sequence[str]) -> list[str]:
    if not patterns:
        return _together((score for score in SCORES if score in known), known) or plain(known)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        fitting = sorted(fnmatch.filter(known, pattern))
        if not fitting:
            raise UserError(unknown("no run has a score", pattern, sorted(known)))
        chosen |= dict.fromkeys(fitting)
    return _together(chosen, known)


def _together(scores: Iterable[str], known: set[str]) -> list[str]:
    """Return the scores, each followed by those without which it misleads."""
    followed = (one for score in scores for one in (score, *COMPANIONS.get(score, ())) if one in known)
    return list(dict.fromkeys(followed))


def _columns(score: str, groups: Sequence[Group]) -> list[Column]:
    """Return a column for each way of measuring: values under different protocols are never averaged."""
    values = [[v for run in group.runs for v in run.values.get(score, ())] for group in groups]
    # Runs of one experiment share their data, and different experiments may share a column without.
    shared = all(len({value.method for value in row}) == len({value.sha256 for value in row}) for row in values)
    ways: dict[str, dict[str, None]] = defaultdict(dict)
    for value in (value for row in values for value in row):
        ways[value.method if shared else value.sha256][value.sha256] = None
    return [Column(score, tuple(way)) for way in ways.values()] if len(ways) > 1 else [Column(score)]


def _found(group: Group, column: Column) -> Row:
    """Return the group's values in a column, by run."""
    values = ((run, value) for run in group.runs for value in run.values.get(column.score, ()))
    return {run: value for run, value in values if not column.protocols or value.sha256 in column.protocols}


def _beside(score: str, found: Mapping[Column, Sequence[Row]], row: int) -> list[Column]:
    """Return the columns in which the paper's number stands: those with its parameters, or all where none has them.

    Of these, those in which the group was measured, or all where it was not.
    """
    fitting = [c for c, rows in found.items() if (how := _protocol(rows)) and not departures(score, how)] or [*found]
    return [column for column in fitting if found[column][row]] or fitting


def _cell(group: Group, score: str, found: Row, paper: Published | None) -> Cell:
    defined = {run.seed: value.value for run, value in found.items() if not np.isnan(value.value)}
    counts = [value.of for value in found.values() if value.of]
    protocol = next(iter(found.values())).protocol
    whole = all(value.of == LAST for value in found.values())
    other = paper is None or group.differences or group.asked or departures(score, protocol)
    return Cell(defined, len(found) - len(defined), min(counts, default=None), protocol, paper, whole and not other)


def _protocol(rows: Sequence[Row]) -> Mapping[str, Any] | None:
    return next((value.protocol for row in rows for value in row.values()), None)


def _lacking(group: Group, score: str, rows: Sequence[Row]) -> list[RunResults]:
    """Return the runs that were not measured as those in a column, neither in training nor afterwards."""
    apart = (*MEASURED_ON, *REPORTED)
    ways = {value.without(*apart) for row in rows for value in row.values()}
    return [run for run in group.runs if all(value.without(*apart) not in ways for value in run.values.get(score, ()))]


def _measured_on(data: Mapping[str, Any], groups: Sequence[Group], rows: Sequence[Row]) -> bool:
    """Return whether a column has a value on `data`."""
    return any(row and group.data == data for group, row in zip(groups, rows, strict=True))
