"""The ranges of an experiment's numbers, apart from the experiment: to check them takes no torch."""

from __future__ import annotations

from collections.abc import Mapping

from acaikit import checks

WHOLE = {"samples": (1, None), "evaluate_every": (1, None), "seed": (0, None), "batch_size": (1, checks.SIZE)}
"""The least and the most that each may be."""


def check_numbers(given: Mapping[str, object]) -> None:
    """Refuse numbers of an experiment that are out of range: those of `given`, by name; other names are passed over."""
    for name, (least, most) in WHOLE.items():
        if name in given:
            checks.whole(f"Experiment.{name}", given[name], least, most)
    if "learning_rate" in given:
        checks.number("Experiment.learning_rate", given["learning_rate"], 0, strictly=True)
