"""Training again what a run has trained already, to see that it comes to the same bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from acaikit.divergence import Diverged
from acaikit.engine import Trainer, train
from acaikit.fit import completed
from acaikit.runs.states import Difference, compare, sizes
from acaikit.runs.training import row
from acaikit.types import Scores

Part = tuple[np.ndarray, Mapping[str, np.ndarray]]
"""Steps and columns of a part of the metrics."""


@dataclass(frozen=True)
class Replay:
    """What came of it.

    Attributes
    ----------
    begin, end : int
        The steps between which was trained; `begin` is 0 where no earlier checkpoint was there.
    rewound : bool
        Whether the run was rewound to `begin` in between: what was tried before that is not trained again.
    tensors, bytes : int
        How many tensors of the checkpoint were compared, and their bytes.
    rows : int
        How many rows of metrics were compared.
    differences : list of Difference
        Where the checkpoint or the rows differ; none where all is the same bit for bit.
    seconds : float
        How long it took.
    """

    begin: int
    end: int
    rewound: bool
    tensors: int
    bytes: int
    rows: int
    differences: list[Difference]
    seconds: float


def replay(
    trainer: Trainer,
    before: dict[str, Any] | None,
    after: dict[str, Any],
    parts: Sequence[Part] | None,
    advance: Callable[[int], None],
) -> Replay:
    """Train from one state to another of the same run, in memory, and compare.

    Parameters
    ----------
    trainer : Trainer
        Newly made, on the device of the run. It is trained.
    before : dict or None
        The earlier state; None for the start of the run.
    after : dict
        The later state.
    parts : sequence of tuple of numpy.ndarray and mapping, or None
        The run's metrics, as `read_part` gives them; None where they can't be read, and no row is compared.
    advance : callable
        Is told 1 after each step.

    Raises
    ------
    UserError
        If `before` doesn't fit the experiment.
    """
    began, after = time.monotonic(), completed(after)
    if before is not None:
        trainer.load_state_dict(before)
    begin, rewound = trainer.steps, trainer.rewinds != after["rewinds"]
    if rewound:
        trainer.stray(after["rewinds"])
    # A step that the run left out is left out again; where the run left none out, the states tell.
    trainer.on_nan, trainer.precision = "skip", after["fingerprint"].get("precision", after["precision"])
    rows = _Rows(advance)
    differences = []
    try:
        _train(trainer, after["steps"], rows)
        if trainer.steps < after["steps"]:  # the budget was raised when it was spent
            trainer.budget = after["budget"]
            _train(trainer, after["steps"], rows)
    except Diverged as error:
        differences.append(Difference("training", str(error)))
    # Settings, which a user may change between two sessions.
    trainer.budget, trainer.on_nan, trainer.precision = after["budget"], after["on_nan"], after["precision"]
    # Under other conditions the bits may be the same all the same.
    differences += compare(*({**state, "fingerprint": None} for state in (after, trainer.state_dict())))
    saved = {} if parts is None else _rows_between(parts, begin, after["steps"])
    if parts is not None:
        differences += compare({"metrics": saved}, {"metrics": rows.found})
    seconds = time.monotonic() - began
    return Replay(begin, after["steps"], rewound, *sizes(after), len(saved), differences, seconds)


def _train(trainer: Trainer, end: int, rows: _Rows) -> None:
    train(trainer, [rows], lambda: trainer.steps >= end)


@dataclass
class _Rows:
    """Keeps the rows of metrics by step, and tells of each step."""

    advance: Callable[[int], None]
    found: dict[int, dict[str, float]] = field(default_factory=dict)

    def on_step(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        self.advance(1)

    def on_row(self, trainer: Trainer, losses: dict[str, float], scores: Scores) -> None:
        self.found[trainer.steps] = _measured(row(trainer, losses, scores))


def _rows_between(parts: Sequence[Part], begin: int, end: int) -> dict[int, dict[str, float]]:
    return {
        int(steps[i]): _measured({name: float(column[i]) for name, column in columns.items()})
        for steps, columns in parts
        for i in np.flatnonzero((steps > begin) & (steps <= end))
    }


def _measured(values: Mapping[str, float]) -> dict[str, float]:
    """Return what is a number: a table holds NaN where nothing was measured, too."""
    return {name: float(value) for name, value in sorted(values.items()) if not np.isnan(value)}
