"""A table of results as programs read it: numbers in the units in which they were measured."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from acaikit.artifacts.evaluations import protocol_hash
from acaikit.report.missing import command
from acaikit.report.paper import Published
from acaikit.report.results import Cell, Results

FIELDS = (
    "experiment",
    "recipe",
    "differences",
    "finished",
    "score",
    "n",
    "mean",
    "std",
    "undefined",
    "median_of",
    "paper_mean",
    "paper_std",
    "paper_n",
    "difference",
    "within",
    "protocol_sha256",
)
"""The columns of the CSV, which has a line for each experiment and score."""


def as_csv(results: Results) -> str:
    """Return the table as CSV; what there is not is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    writer.writeheader()
    for i, group in enumerate(results.groups):
        about = {
            "experiment": group.name,
            "recipe": group.recipe,
            "differences": "; ".join(group.differences),
            "finished": group.finished,
        }
        for score in _scores(results, i):
            paper = score.pop("paper") or {}
            theirs = {f"paper_{key}": value for key, value in paper.items()}
            writer.writerow({**about, **{k: v for k, v in (score | theirs).items() if k in FIELDS}})
    return stream.getvalue()


def as_json(results: Results, notes: Sequence[str]) -> dict[str, Any]:
    """Return the table as JSON values; a number that is not finite is None."""
    return {
        "experiments": [
            {
                "name": group.name,
                "recipe": group.recipe,
                "differences": list(group.differences),
                "finished": group.finished,
                "runs": [
                    {
                        "path": str(run.path),
                        "run_id": run.run_id,
                        "seed": run.seed,
                        "samples": run.samples,
                        "budget": run.budget,
                    }
                    for run in group.runs
                ],
                "scores": list(_scores(results, i)),
            }
            for i, group in enumerate(results.groups)
        ],
        "shared": results.shared,
        "protocols": {sha: dict(protocol) for sha, protocol in results.protocols.items()},
        "missing": [
            {
                "experiment": missing.group.name,
                "score": missing.column.score,
                "runs": [str(run.path) for run in missing.runs],
                "command": command(missing),
            }
            for missing in results.missing
        ],
        "notes": list(notes),
    }


def _scores(results: Results, row: int) -> Iterator[dict[str, Any]]:
    for j, column in enumerate(results.columns):
        cell, paper = results.cells.get((row, j)), results.published.get((row, j))
        if cell is not None or paper is not None:
            yield {"score": column.score, **_ours(cell), "paper": _paper(paper)}


def _ours(cell: Cell | None) -> dict[str, Any]:
    if cell is None:
        return {"n": 0}
    return {
        "n": len(cell.values),
        "mean": _finite(cell.mean),
        "std": _finite(cell.std),
        "seeds": {str(seed): _finite(value) for seed, value in cell.values.items()},
        "undefined": cell.undefined,
        "median_of": cell.of,
        "difference": _finite(cell.difference),
        "within": cell.within,
        "protocol_sha256": protocol_hash(cell.protocol),
    }


def _paper(paper: Published | None) -> dict[str, Any] | None:
    return None if paper is None else {"mean": paper.mean, "std": paper.std, "n": paper.n}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
