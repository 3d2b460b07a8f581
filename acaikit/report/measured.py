"""What was measured of runs: values with their protocols, and the runs of one experiment over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acaikit.artifacts.evaluations import protocol_hash
from acaikit.config import Config
from acaikit.config.resolve import write
from acaikit.errors import RunError

MEASURED_ON = ("data",)
"""What a protocol says of the data. The rest is how it was measured: that is what a column of a table shares."""
REPORTED = ("evaluate_every", "reported")
"""What the protocol of a score of training says besides: which evaluations its value was made of."""


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
        return self.without()

    @property
    def method(self) -> str:
        """The hash of the protocol without what it was measured on."""
        return self.without(*MEASURED_ON)

    def without(self, *parts: str) -> str:
        """Return the hash of the protocol without some of its parts."""
        return protocol_hash({k: v for k, v in self.protocol.items() if k not in parts})


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
    data : dict
        What its protocols say of the data, as JSON values: the dataset's name, and digests or parameters.
    samples, budget : int
        Training examples shown, and to be shown in all.
    values : dict of str to list of Value
        By score, one for each protocol that it was measured under.
    precision : str
        How exactly it computes: "tf32", "float32" or "bf16".
    asked : bool
        Whether that is another than its device computes in by itself.
    """

    path: Path
    run_id: str
    seed: int
    config: Config
    sources: Sequence[str]
    overrides: Sequence[str]
    data: Mapping[str, Any]
    samples: int
    budget: int
    values: Mapping[str, Sequence[Value]]
    precision: str = "float32"
    asked: bool = False

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
    stem : str
        A shipped recipe's name, or that of the user's own recipe.
    recipe : str or None
        The shipped recipe.
    differences : list of str
        ``binding: the recipe's value -> the experiment's``.
    runs : list of RunResults
        By seed; of one that is not finished, itself alone.
    changes : dict of str to str
        The bindings that differ from the shipped recipe, or were given above the user's own: each parameter's value.
    tag : str
        What the name ends with, where all that tells it from another's too little.
    """

    stem: str
    recipe: str | None
    differences: Sequence[str]
    runs: Sequence[RunResults]
    changes: Mapping[str, str] = field(default_factory=dict)
    tag: str = ""

    @property
    def name(self) -> str:
        """What the experiment is called: by its recipe, and in what it differs from that."""
        return self.called(self.changes)

    def called(self, settings: Mapping[str, str]) -> str:
        """Return the name with these settings in place of the changes."""
        return ", ".join([self.stem, *(setting(label, value) for label, value in settings.items())]) + self.tag

    @property
    def settings(self) -> dict[str, str]:
        """What its config binds, and what it changed: each parameter with its value as gin writes it."""
        bound = {binding.label: write(binding.value) for binding in self.runs[0].config.bindings.values()}
        return {**self.changes, **bound}

    @property
    def finished(self) -> bool:
        """Whether the runs are at their budget's end."""
        return all(run.finished for run in self.runs)

    @property
    def asked(self) -> bool:
        """Whether that is another precision than the device computes in by itself."""
        return any(run.asked for run in self.runs)

    @property
    def precision(self) -> str:
        """How exactly the runs compute: one word, or several where devices differ and none was asked for."""
        return " and ".join(sorted({run.precision for run in self.runs}))

    @property
    def data(self) -> Mapping[str, Any]:
        """What the experiment is measured on, as its protocols say it."""
        return self.runs[0].data


def setting(label: str, value: str) -> str:
    """Return a setting as people see it in the name of an experiment."""
    return f"{label.removeprefix('Experiment.')} = {value}"


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
