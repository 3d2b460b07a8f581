"""Fault injection in large numbers: what breaks runs, files and readers, and whether anything is lost.

    python -m benchmarks.faults                                # all kinds, small: some minutes
    python -m benchmarks.faults disk errors                    # only these
    python -m benchmarks.faults --full -o docs/reliability.md  # the published sizes

The faults are those that the tests inject (``tests/faults/``), in larger numbers. Prints a table in Markdown; ends
with 1 if anything was found that should not have been.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import torch

from tests.faults.report import Report

SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "disk": ({"count": 300}, {"count": 5_000}),
    "errors": ({"count": 100}, {"count": 2_000}),
    "kills": ({"count": 8}, {"count": 280, "models": ("acai", "vae", "vqvae", "aae", "vae+acai")}),
    "ablation": ({"count": 1}, {"count": 100}),
    "mutants": ({"count": 500}, {"count": 20_000}),
    "attacks": ({"count": 100}, {"count": 100}),
    "races": ({"count": 20}, {"count": 1_000, "whole": 60}),
    "reads": ({"count": 50}, {"count": 1_000}),
    "month": ({"count": 100_000}, {"count": 1_000_000}),
}
"""The kinds of faults, each a module of ``tests/faults``, with what its `run` is given: small, and full."""

INTRODUCTION = """# Reliability

A run must never be lost, and a stranger's run must do no harm. [The run directory](rundir.md) says what acaikit
guarantees; this page says how that was tried: things were broken on purpose, in large numbers, drawn by a random
generator of known seed, and what was left was compared with what had to be there. The tests inject the same faults in
small numbers at every change.

## What was done, and what had to hold

{kinds}

## How to read the table

*Injected* is how many faults of the kind there were. **Faults is how often something came of it that must not: 0 is the
only good number**, and whatever is found is listed below the table, with what is needed to see it again.

The column after it counts what was seen on the way, to show that the faults fell where they were meant to fall: at
which moment a run was killed, which error a call got, how a changed file was taken. None of these is a failure. Two
need a word:

- *accepted, well-formed*: a file was changed and then given a right hash, and what it holds is still a proper tree of
  numbers and texts. So it must be: a reader can refuse what is malformed, but no hash says who wrote a file. Without a
  right hash none may be accepted.
- *on purpose without ...: damage found*: one step of the way in which files are published was taken out. Here damage
  is what has to be found; a 0 would mean that these states can't tell good from bad, and counts as a fault.
"""
RESULTS = """
## What was found

{table}

Made on {date} with

```text
{command}
```

on {machine}; {versions}. Times are those of a shared machine.
"""


def inject(name: str, size: dict[str, Any], seed: int) -> Report:
    """Inject faults of a kind."""
    try:
        kind = import_module(f"tests.faults.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"tests.faults.{name}":
            raise
        return Report(name, 0, "", faults=[f"there is no tests/faults/{name}.py"])
    report: Report = kind.run(seed=seed, **size)
    return report


def table(reports: list[Report]) -> str:
    """Return a table in Markdown, a row per kind, and below it what was amiss."""
    rows = ["| kind | injected | faults | what was seen, and how often | time |", "|---|---:|---:|---|---:|"]
    for report in reports:
        seen = "; ".join(f"{what}: {count:,}" for what, count in report.found.items())
        rows.append(f"| {report.name} | {report.did:,} | {len(report.faults):,} | {seen} | {report.seconds:.0f} s |")
    amiss = [f"- {report.name}: {fault}" for report in reports for fault in report.faults]
    return "\n".join([*rows, *(["", *amiss] if amiss else [])])


def page(reports: list[Report], command: str) -> str:
    """Return the page of the documentation."""
    kinds = "\n".join(f"- **{report.name}**: {report.what}" for report in reports)
    machine = f"{os.cpu_count()} processors ({platform.machine()}), {platform.system()}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("acaikit", "torch", "h5py", "numpy", "filelock"))
    return INTRODUCTION.format(kinds=kinds) + RESULTS.format(
        table=table(reports),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        command=command,
        machine=machine,
        versions=f"Python {platform.python_version()}, {versions}, HDF5 {h5py.version.hdf5_version}",
    )


def main() -> int:
    """Inject the kinds that were asked for; return 1 if any fault was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SIZES)}; all, if left out")
    parser.add_argument("--full", action="store_true", help="the published sizes: an hour or more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the documentation's page")
    asked = parser.parse_args()
    if unknown := set(asked.names) - SIZES.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}")
    torch.set_num_threads(1)
    reports = []
    for name in asked.names or SIZES:
        report = inject(name, SIZES[name][asked.full], asked.seed)
        print(f"{name}: {report.did:,} in {report.seconds:.0f} s, {len(report.faults)} faults", file=sys.stderr)
        reports.append(report)
    print(table(reports))
    if asked.output is not None:
        command = " ".join(["python -m benchmarks.faults", *sys.argv[1:]])
        asked.output.write_text(page(reports, command), encoding="utf-8")
    return 1 if any(report.faults for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
