"""A month of metrics: a table of a million rows, appended to, read, cut back and gone on with."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from acaikit.artifacts import metrics
from acaikit.artifacts.metrics import Metrics, read_metrics
from acaikit.artifacts.parts import part_path, write_part

from .report import Report

COLUMNS = 12
RUN_ID = "run"
WHAT = (
    "A table of 12 metrics, a row every 2.6 seconds of a month. The last rows before each position are appended one by "
    "one, each safe on disk when its append returns; those before them are written part by part, as they would lie "
    "there. The table reads as it was written, is cut back in the middle and goes on, value for value."
)


def values(steps: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is measured at the steps: float64, one array per metric."""
    return {f"loss/{number:02d}": np.sin(steps * (number + 1.0)) for number in range(COLUMNS)}


def lay_out(folder: Path, rows: int) -> None:
    """Write the parts of a table that has had `rows` appends; the step of a row is its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, start in enumerate(range(0, rows, metrics.SEAL_ROWS)):
        steps = np.arange(start, min(start + metrics.SEAL_ROWS, rows))
        write_part(part_path(folder, part), steps, values(steps), run_id=RUN_ID)


def append(table: Metrics, steps: range) -> list[float]:
    """Append rows one by one; return the seconds that each took."""
    columns, took = values(np.array(steps)), []
    for index, step in enumerate(steps):
        row = {title: float(column[index]) for title, column in columns.items()}
        start = time.perf_counter()
        table.append(step, row)
        took.append(time.perf_counter() - start)
    return took


def amiss(folder: Path, rows: int) -> list[str]:
    """Return what of a table isn't as it was written."""
    steps = np.arange(rows)
    expected, found = {"step": steps, **values(steps)}, read_metrics(folder)
    if list(found) != list(expected):
        return [f"of {rows} rows the columns are {list(found)}"]
    wrong = [title for title in found if not np.array_equal(found[title], expected[title])]
    return [f"of {rows} rows {title!r} is wrong" for title in wrong]


def run(count: int, seed: int = 0, singly: int = 100) -> Report:
    """Let a table reach `count` rows, the last `singly` of them and of each earlier position one by one."""
    begun, report = time.perf_counter(), Report("month", count, WHAT)

    def note(what: str, seconds: float) -> None:
        report.found[f"microseconds to {what}"] = round(1e6 * seconds)

    with tempfile.TemporaryDirectory() as name:
        for position in sorted({min(10, count), count // 10, count // metrics.SEAL_ROWS * metrics.SEAL_ROWS, count}):
            folder, laid = Path(name) / str(position), max(position - singly, 0)
            lay_out(folder, laid)
            took = append(Metrics(folder, RUN_ID), range(laid, position))
            report.faults += amiss(folder, position)
            if took:
                note(f"append row {position:,}", statistics.median(took))

        start = time.perf_counter()
        read_metrics(folder)
        note("read the whole table", time.perf_counter() - start)
        report.found["bytes on disk"] = sum(file.stat().st_size for file in folder.iterdir())
        table, kept = Metrics(folder, RUN_ID), random.Random(seed).randrange(count // 4, 3 * count // 4)
        start = time.perf_counter()
        table.truncate(kept - 1)
        note(f"cut it back to {kept:,} rows", time.perf_counter() - start)
        report.faults += amiss(folder, kept)
        append(table, range(kept, kept + singly))
        report.faults += amiss(folder, kept + singly)
    full, rest = divmod(count, metrics.SEAL_ROWS)
    rewritten = full * metrics.SEAL_ROWS * (metrics.SEAL_ROWS + 1) // 2 + rest * (rest + 1) // 2
    report.found["computed: megabytes written by all appends"] = rewritten * 8 * (COLUMNS + 1) // 10**6
    report.seconds = time.perf_counter() - begun
    return report
