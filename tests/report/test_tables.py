from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from acaikit.report.tables import evaluation_table, reported, scores_table

NAN = float("nan")


def metrics(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    every_other = rng.uniform(size=rows)
    every_other[::2] = NAN
    return {
        "step": np.arange(rows),
        "samples": np.arange(rows) * 64.0,
        "loss/reconstruction": rng.uniform(size=rows),
        "probe/accuracy": rng.uniform(size=rows),
        "factor/mean_distance": every_other,
        "factor/smoothness_strict": np.full(rows, NAN),
    }


@pytest.mark.parametrize("rows", [2, 20, 21, 101])
def test_a_score_is_the_median_of_its_last_twenty_values(rows: int) -> None:
    table = metrics(rows)
    found = reported(table)
    assert list(found) == ["probe/accuracy", "factor/mean_distance", "factor/smoothness_strict"]
    for name, row in found.items():
        values = table[name].tolist()[-20:]
        defined = sorted(v for v in values if v == v)
        count = len(defined)
        middle = (defined[(count - 1) // 2] + defined[count // 2]) / 2 if defined else NAN
        assert row == pytest.approx({"last": values[-1], "median": middle, "n": count}, nan_ok=True)


def test_nothing_measured() -> None:
    assert reported({"step": np.empty(0, np.int64), "probe/accuracy": np.empty(0)}) == {}
    assert "Scores" in text(scores_table({"step": np.empty(0, np.int64)}))


def text(table: Table) -> str:
    console = Console(file=StringIO(), width=100, force_terminal=False)
    console.print(table)
    return console.file.getvalue()


def test_scores_table() -> None:
    few, many = np.array([1.0, 3.0, 2.5]), np.linspace(0, 1, 101)
    shown = text(scores_table({"probe/accuracy": few, "factor/mean_distance": many, "loss/x": few}))
    row = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:4]]
        for line in shown.splitlines()
        if line.startswith("│")
    }
    assert row == {"probe/accuracy": ["2.5", "2.5 (of 3)"], "factor/mean_distance": ["1", "0.905"]}
    assert "median of last 20" in shown


def test_evaluation_table() -> None:
    shown = text(
        evaluation_table(
            {"factor": {"mean_distance": 1.23456e-3, "smoothness_strict": NAN}, "probe": {"accuracy": 97.0}}
        )
    )
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in shown.splitlines() if line.startswith("│")]
    assert rows == [
        ["factor", "mean_distance", "0.001235"],
        ["factor", "smoothness_strict", "nan"],
        ["probe", "accuracy", "97"],
    ]
