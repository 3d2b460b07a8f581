"""Two experiments compared over seeds: paired differences with a bootstrap interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import filter as fitting
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acaikit.artifacts.evaluations import protocol_hash
from acaikit.config.resolve import differences
from acaikit.errors import RunError, UserError
from acaikit.registry import unknown
from acaikit.report.measured import Group, RunResults, Value
from acaikit.report.results import plain
from acaikit.report.tables import HEALTH

RESAMPLES = 10_000
LEVEL = 0.95
FEW = 5
"""With fewer pairs than the paper's runs, an interval is a rough guess."""


@dataclass(frozen=True)
class Difference:
    """A score of two experiments, over the seeds that both have.

    Attributes
    ----------
    score : str
        Its name.
    a, b : dict of int to float
        The values by seed; the same seeds.
    protocol : dict
        How both were measured.
    """

    score: str
    a: Mapping[int, float]
    b: Mapping[int, float]
    protocol: Mapping[str, Any]

    @property
    def protocol_sha256(self) -> str:
        """The protocol's hash."""
        return protocol_hash(self.protocol)

    @property
    def paired(self) -> NDArray[np.float64]:
        """B minus A by seed, float64 ``[n]``."""
        return np.array([self.b[seed] - self.a[seed] for seed in self.a], np.float64)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the mean difference; None for a single pair."""
        return bootstrap(self.paired) if len(self.a) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    a, b : Group
        The experiments.
    settings : list of str
        In which settings they differ, and in what precision: ``binding: A's value -> B's``.
    scores : list of Difference
        By name.
    notes : list of str
        What was left out, and what to be careful about.
    """

    a: Group
    b: Group
    settings: Sequence[str]
    scores: Sequence[Difference]
    notes: Sequence[str]


def bootstrap(
    values: NDArray[np.float64], resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean (Efron & Tibshirani, 1993, chapter 13).

    What is drawn anew are the paired differences of seeds: the interval says how far another set of seeds, measured on
    the same test examples, may lie away. That of a single run's accuracy is another one, which draws test examples too:
    see `acaikit.evaluators.intervals`.

    Parameters
    ----------
    values : ndarray
        float64 ``[n]``.
    resamples : int
        How often `n` values are drawn from them with replacement.
    level : float
        The share of the means that lie inside.
    seed : int
        Of the draws: the same values give the same interval.
    """
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(a: Sequence[Group], b: Sequence[Group], patterns: Sequence[str] = ()) -> Comparison:
    """Compare two experiments; what is not finished is left out.

    Parameters
    ----------
    a, b : sequence of Group
        Each side's runs, grouped.
    patterns : sequence of str
        Which scores, such as ``factor/*``; if left out, the single numbers that both have, see `plain`.

    Raises
    ------
    RunError
        If a side is not one experiment, or the two have no seed or no score in common.
    UserError
        If a pattern fits no score.
    """
    notes: list[str] = []
    one, two = (_only(name, groups, notes) for name, groups in (("A", a), ("B", b)))
    left, right = ({run.seed: run for run in side.runs} for side in (one, two))
    seeds = sorted(left.keys() & right.keys())
    for name, alone in (("A", sorted(left.keys() - right.keys())), ("B", sorted(right.keys() - left.keys()))):
        if alone:
            notes.append(f"only {name} has {_seeds(alone)}: left out")
    if not seeds:
        raise RunError(f"{one.name} and {two.name} have no seed in common: {'; '.join(notes)}")
    pairs_of_runs = [(left[seed], right[seed]) for seed in seeds]
    known = sorted({score for pair in pairs_of_runs for run in pair for score in run.values})
    for pattern in patterns:
        if not fitting(known, pattern):
            raise UserError(unknown("the two experiments have no score called", pattern, known))
    chosen = {name for pattern in patterns for name in fitting(known, pattern)} or set(plain(known))
    if not patterns and len(chosen) < len(known):
        both = set.intersection(*({s for pair in pairs_of_runs for s in pair[side].values} for side in (0, 1)))
        kinds = sorted({score.partition("/")[0] for score in both - chosen if not score.startswith(HEALTH)})
        if kinds:
            how = " ".join(f"--score '{kind}/*'" for kind in kinds)
            notes.append(f"tables of numbers are left out; to see them: {how}")
    compared = _differences(pairs_of_runs, sorted(chosen), notes)
    if not compared:
        raise RunError(f"{one.name} and {two.name} have no score in common: {'; '.join(notes) or 'none was measured'}")
    pairs = {len(score.a) for score in compared}
    if 1 in pairs:
        notes.append("of one pair no interval can be given; train more seeds with acaikit run --seed")
    if few := sorted(n for n in pairs if 1 < n < FEW):
        notes.append(f"{few[0]} pairs are few: a bootstrap interval of so few tends to be too narrow")
    settings = [str(d) for d in differences(one.runs[0].config, two.runs[0].config)]
    if one.precision != two.precision:
        settings.append(f"precision: {one.precision} -> {two.precision}")
    return Comparison(one, two, settings, compared, notes)


def _only(name: str, groups: Sequence[Group], notes: list[str]) -> Group:
    finished = [group for group in groups if group.finished]
    for run in (run for group in groups if not group.finished for run in group.runs):
        notes.append(f"{run.path} is not finished ({run.progress}): left out")
    if not finished:
        raise RunError(f"{name} has no finished run to compare:\n" + "\n".join(notes))
    if len(finished) > 1:
        said = "; ".join(f"{group.name} ({', '.join(str(run.path) for run in group.runs)})" for group in finished)
        raise RunError(f"{name} must be one experiment, but its runs are of {len(finished)}: {said}")
    return finished[0]


def _differences(
    pairs: Sequence[tuple[RunResults, RunResults]], scores: Sequence[str], notes: list[str]
) -> list[Difference]:
    """Return each of `scores` that both sides have under one protocol, over the pairs in which both are defined."""
    found = []
    alone: dict[tuple[str, str], list[str]] = defaultdict(list)
    for score in scores:
        sides = [{v.sha256: v.protocol for pair in pairs for v in pair[side].values.get(score, ())} for side in (0, 1)]
        common = sorted(sides[0].keys() & sides[1].keys())
        if sides[0] and sides[1] and not common:
            notes.append(f"{score} was measured under different protocols: not compared")
        elif not common:
            alone["A" if sides[0] else "B", score.partition("/")[0]].append(score)
        for sha in common:
            both = {one.seed: (_value(one, score, sha), _value(two, score, sha)) for one, two in pairs}
            defined = {seed: ab for seed, ab in both.items() if np.isfinite(ab).all()}
            if without := sorted(both.keys() - defined.keys()):
                notes.append(f"{score} is missing or undefined with {_seeds(without)}: left out")
            if defined:
                a, b = ({seed: ab[side] for seed, ab in defined.items()} for side in (0, 1))
                found.append(Difference(score, a, b, sides[0][sha]))
    for (side, _), names in alone.items():
        more = f" and {len(names) - 1} more" if names[1:] else ""
        notes.append(f"only {side} has {names[0]}{more}: not compared")
    return found


def _value(run: RunResults, score: str, sha256: str) -> float:
    values: Sequence[Value] = run.values.get(score, ())
    return next((value.value for value in values if value.sha256 == sha256), float("nan"))


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
