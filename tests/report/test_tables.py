from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from acaikit.report.tables import evaluation_tables, reported, scores_table

NAN = float("nan")


def metrics(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    every_other = rng.uniform(size=rows)
    every_other[::2] = NAN
    return {
        "step": np.arange(rows),
        "samples": np.arange(rows) * 64.0,
        "loss/reconstruction": rng.uniform(size=rows),
        "health/latent_scale": rng.uniform(size=rows),
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


def test_signs_of_health_are_reported_where_only_losses_stand_aside() -> None:
    table = metrics(3)
    found = reported(table, aside=("loss/",))
    assert list(found) == ["health/latent_scale", *reported(table)]
    assert found["health/latent_scale"]["median"] == sorted(table["health/latent_scale"])[1]


def test_nothing_measured() -> None:
    assert reported({"step": np.empty(0, np.int64), "probe/accuracy": np.empty(0)}) == {}
    assert "Scores" in text(scores_table({"step": np.empty(0, np.int64)}))


def text(table: Table) -> str:
    console = Console(file=StringIO(), width=100, force_terminal=False)
    console.print(table)
    return console.file.getvalue()


def test_scores_table() -> None:
    few, many = np.array([1.0, 3.0, 2.5]), np.linspace(0, 1, 101)
    shown = text(scores_table({"probe/accuracy": few, "factor/mean_distance": many, "loss/x": few, "health/x": few}))
    row = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:4]]
        for line in shown.splitlines()
        if line.startswith("│")
    }
    assert row == {"probe/accuracy": ["2.5", "2.5 (of 3)"], "factor/mean_distance": ["1", "0.905"]}
    assert "median of last 20" in shown


def rows_of(table: Table) -> list[list[str]]:
    lines = [line.replace("┃", "│").split("│")[1:-1] for line in text(table).splitlines() if line[0] in "│┃"]
    return [[cell.strip() for cell in line] for line in lines]


def test_scores_stand_in_a_list_with_what_training_reported() -> None:
    scores = {"mean_distance": 1.23456e-3, "smoothness_strict": NAN}
    (table,) = evaluation_tables("factor", scores, "0123456789abcdef")
    assert text(table).splitlines()[0].rstrip() == "factor · protocol 01234567"
    assert rows_of(table)[1:] == [["mean_distance", "0.001235"], ["smoothness_strict", "nan"]]
    in_training = {"factor/mean_distance": {"last": 1.0, "median": 2.0, "n": 3}, "probe/accuracy": {"last": 1.0}}
    (table,) = evaluation_tables("factor", scores, "0123456789abcdef", in_training)
    assert rows_of(table) == [
        ["score", "value", "in training, median of last 20"],
        ["mean_distance", "0.001235", "2 (of 3)"],
        ["smoothness_strict", "nan", ""],
    ]


def test_names_with_a_slash_are_rows_and_columns() -> None:
    scores = {
        "n": 4.0,
        **{f"{row}/c_{i}": row_value + i for row, row_value in (("x", 0.0), ("y", 10.0)) for i in range(7)},
    }
    del scores["y/c_1"]
    scores["only/c_6"] = NAN
    tables = evaluation_tables("scorecard", scores, "0" * 64)
    assert [rows_of(table) for table in tables] == [
        [["score", "value"], ["n", "4"]],
        [["score", *(f"c {i}" for i in range(5))], ["x", *"01234"], ["y", "10", "", "12", "13", "14"]],
        [["score", "c 5", "c 6"], ["x", "5", "6"], ["y", "15", "16"], ["only", "", "nan"]],
    ]


def test_nothing_measured_makes_no_table() -> None:
    assert evaluation_tables("empty", {}, "0" * 64) == []
