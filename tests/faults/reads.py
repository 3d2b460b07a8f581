"""Reading a run while it is trained: every read works, and what it gives is what the run had at some step."""

from __future__ import annotations

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import h5py
import numpy as np
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.evaluations import read_evaluations, write_evaluation
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import read_recipe
from acaikit.runs.opened import open_run
from acaikit.runs.session import open_session

from .kills import Straight, digest, end, start, steps
from .report import Report
from .tiny import MODELS

MODEL = "vae"


class Measuring:
    """Writes an evaluation after every row, the same two files again and again."""

    def __init__(self, directory: RunDir, run_id: str) -> None:
        self.folder, self.run_id = directory.eval, run_id

    def on_step(self, trainer: Any, losses: Any) -> None:
        """Nothing is measured between two rows."""

    def on_row(self, trainer: Any, losses: Any, scores: Any) -> None:
        """Write what can be told from the step alone."""
        arrays = {"steps": np.full(2000, trainer.steps)}
        score = {"step": float(trainer.steps)}
        write_evaluation(self.folder, "own", trainer.steps % 2, self.run_id, score, {}, arrays)


def train(path: Path) -> None:
    """Train a tiny run to its end."""
    torch.set_num_threads(1)
    config = read_recipe(str(path.with_name("tiny.gin")), MODELS[MODEL])
    with open_session(path, config=config, say=lambda line: None) as session:
        session.train([Measuring(session.directory, session.info["run_id"])], lambda: False)


class Reader:
    """Reads one run in one of five ways, and checks what it finds."""

    def __init__(self, path: Path, straight: Straight) -> None:
        self.path, self.directory, self.straight = path, RunDir(path), straight
        self.run_id = str(self.directory.read_run()["run_id"])
        self.rows = self.step = 0

    def opened(self) -> str | None:
        """Open the run as a user does."""
        run = open_run(self.path)
        run.model.encode(torch.zeros(1, 1, 8, 8))
        if run.notes or run.samples != 6 * run.step:
            return f"the run opened at step {run.step} has {run.samples} samples: {run.notes}"
        return self._newest(run.step) or self._table(run.metrics())

    def table(self) -> str | None:
        """Read the metrics."""
        return self._table(read_metrics(self.directory.metrics))

    def checkpoint(self) -> str | None:
        """Load the newest checkpoint."""
        passed_over: list[str] = []
        found = Checkpoints(self.directory.checkpoints, self.run_id).latest(report=passed_over.append)
        if passed_over or found is None:
            return f"no checkpoint: {passed_over}"
        return self._newest(found[0]) or (
            None if digest(found[1]) == self.straight.states[found[0]] else f"step {found[0]} has other bits"
        )

    def evaluations(self) -> str | None:
        """Read the evaluations."""
        faults: list[str] = []
        for found in read_evaluations(self.directory.eval, faults.append):
            if not (found.arrays["steps"] == found.scores["step"]).all() or found.scores["step"] % 2 != found.step:
                faults.append(f"an evaluation of {found.scores['step']} holds another's numbers")
        return faults[0] if faults else None

    def plain(self) -> str | None:
        """Read the files with h5py, nothing else."""
        while True:
            try:
                path = self.directory.checkpoints / f"step-{steps(self.path)[-1]:09d}.h5"
                with h5py.File(path, "r") as file:
                    step = int(file.attrs["step"])
                    skeleton = json.loads(bytes(file["state/skeleton"][:]))
                    arrays = [file["state"][name][...] for name in file["state"] if name != "skeleton"]
                break
            except FileNotFoundError:  # removed since it was listed, as three newer ones were saved
                continue
        if dict(skeleton["dict"])["steps"] != step or not arrays:
            return f"the checkpoint of step {step} holds the state of another"
        with h5py.File(self.directory.metrics / "part-000000.h5", "r") as file:
            columns = {unquote(name): column[:] for name, column in file["columns"].items()}
            return self._table({"step": file["step"][:], **columns})

    def _table(self, rows: dict[str, np.ndarray]) -> str | None:
        count, self.rows = self.rows, len(rows["step"])
        return f"the table shrank from {count} rows" if self.rows < count else self.straight.wrong(rows)

    def _newest(self, step: int) -> str | None:
        before, self.step = self.step, step
        return f"the newest checkpoint went back from step {before} to {step}" if step < before else None


def run(count: int = 30, seed: int = 0) -> Report:
    """Read `count` times from runs in training, in a random one of five ways each time."""
    report = Report(
        "reads",
        0,
        "Reads of runs that are being trained, with frequent rows and checkpoints: through open_run, the table, the "
        "newest checkpoint, the evaluations and plain h5py; no error, the bits of an undisturbed run, nothing shrinks.",
    )
    rng, begun = random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        straight = Straight(Path(name), MODEL)
        number = 0
        while report.did < count and not report.faults:
            path = Path(name, f"run-{number}")
            process = start(train, path)
            while not steps(path) and process.is_alive():
                time.sleep(0.001)
            reader = Reader(path, straight)
            ways = [reader.opened, reader.table, reader.checkpoint, reader.evaluations, reader.plain]
            while process.is_alive() and report.did < count and not report.faults:
                way = rng.choice(ways)
                try:
                    fault = way()
                except Exception as error:
                    fault = f"{type(error).__name__}: {error}"
                report.did += 1
                report.found[way.__name__] = report.found.get(way.__name__, 0) + 1
                report.faults += [f"{way.__name__}: {fault}"] if fault else []
            if end(process) != 0:
                report.faults.append("the run that was read failed")
            number += 1
    report.seconds = time.monotonic() - begun
    return report
