"""Checkpoints and metrics: how long they take beside torch's, and what part of a training run that is.

    python -m benchmarks.artifacts [--rounds 7] [--threads N] [--folder FOLDER] [--parameters 50000000]

- Saving and loading a checkpoint (networks and Adam's moments) of two recipes and a tree of 50 million float32
  parameters, beside torch.save and torch.load, in turn, round after round: once with an fsync of the file and of its
  folder on both sides, once without any. Both go through a temporary file that is then renamed.
- What of that goes into hashing, auditing and fsync.
- What a row of metrics and the checkpoint after it cost at the end of a run, as a share of the training between two
  rows. The speed of training is that of a few steps.

FOLDER is on the disk to be measured; the system's folder for temporary files, if left out.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.parts import part_path, write_part
from acaikit.artifacts.publish import sync_folder
from acaikit.config import build, read_recipe
from acaikit.engine import Trainer
from acaikit.experiment import Experiment
from acaikit.objective import Objective

SAVED = ("lines_acai_64", "svhn_acai_256")
TRAINED = ("quickstart", "lines_acai_64")
COLUMNS = 16
"""Of a metrics table: about what an ACAI run with a probe and the lines benchmark has."""
PARTS = {
    "hash": ("hashlib.sha256",),
    "audit": ("acaikit.artifacts.h5file.Structure", "acaikit.artifacts.h5file.audit"),
    "fsync": ("os.fsync",),
}
Tree = dict[str, Any]


def checkpoint_of(recipe: str) -> Tree:
    """Return what a run's checkpoint holds, but for its generators, without the run's data."""
    experiment: Experiment = build(read_recipe(recipe))
    model, probe = experiment.build()
    tree: Tree = {"model": model.state_dict(), "probe": None if probe is None else probe.state_dict(), "optimizers": {}}
    for name, parameters in Objective(model, probe).players.items():
        optimizer = torch.optim.Adam(parameters)
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        tree["optimizers"][name] = optimizer.state_dict()
    return tree


def large(parameters: int) -> Tree:
    """Return `parameters` float32 numbers in 16 tensors."""
    return {"model": {str(i): torch.randn(parameters // 16) for i in range(16)}}


def torch_save(path: Path, tree: Tree) -> None:
    """Save as carefully as acaikit does: whole, and safe on disk."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        torch.save(tree, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def beside_torch(tree: Tree, folder: Path, rounds: int) -> None:
    """Print medians and ratios for one tree."""
    checkpoints, other = Checkpoints(folder / "checkpoints", "benchmark"), folder / "other.pt"
    programs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "save": (lambda: checkpoints.save(1, tree), lambda: torch_save(other, tree)),
        "load": (lambda: checkpoints.load(1), lambda: torch.load(other, weights_only=True)),
    }
    times: dict[tuple[str, bool, int], list[float]] = {}
    spent: dict[str, list[dict[str, float]]] = {"save": [], "load": []}
    for _ in range(rounds + 1):
        for synced in (True, False):
            with ExitStack() as stack:
                if not synced:
                    stack.enter_context(mock.patch("os.fsync"))
                for name, pair in programs.items():
                    for side, program in enumerate(pair):
                        times.setdefault((name, synced, side), []).append(_time(program))
        for name, (program, _) in programs.items():
            with _spending() as parts:
                parts["whole"] = _time(program)
            spent[name].append(parts)
    medians = {key: statistics.median(values[1:]) for key, values in times.items()}  # the first round warms up
    size = checkpoints.path(1).stat().st_size
    print(f"  file: {size / 1e6:.1f} MB, torch's {other.stat().st_size / 1e6:.1f} MB")
    for name, synced in (("save", True), ("save", False), ("load", False)):
        ours, theirs = (medians[name, synced, side] for side in (0, 1))
        how = {("save", True): "save, fsync", ("save", False): "save, no fsync"}.get((name, synced), name)
        print(f"  {how:15} {1000 * ours:8.1f} ms   torch {1000 * theirs:8.1f} ms   {ours / theirs:.2f} of its time")
    for name, found in spent.items():
        shares = [{part: row[part] / row["whole"] for part in PARTS} for row in found[1:]]
        told = ", ".join(f"{part} {statistics.median(row[part] for row in shares):.0%}" for part in PARTS)
        print(f"  of a {name}: {told}")


def share_of_training(recipe: str, folder: Path, rounds: int, steps: int) -> None:
    """Print what the row and the checkpoint at a run's end cost, beside the training before them."""
    experiment: Experiment = build(read_recipe(recipe))
    trainer = Trainer(experiment)
    every, rows = experiment.evaluate_every, experiment.samples // experiment.evaluate_every
    checkpoints, metrics = Checkpoints(folder / "checkpoints", "benchmark"), folder / "metrics"
    names = [f"evaluator/score_{i}" for i in range(COLUMNS)]
    columns = {name: np.random.default_rng(0).normal(size=rows) for name in names}
    metrics.mkdir(parents=True)
    write_part(part_path(metrics, 0), np.arange(rows), columns, run_id="benchmark")
    table = Metrics(metrics, "benchmark")
    times: dict[str, list[float]] = {"step": [], "row": [], "checkpoint": []}
    for turn in range(rounds + 1):
        times["step"].append(_time(lambda: [trainer.step() for _ in range(steps)]) / steps)
        times["row"].append(_time(lambda at=rows + turn: table.append(at, dict.fromkeys(names, 0.5))))
        times["checkpoint"].append(_time(lambda: checkpoints.save(trainer.steps, trainer.state_dict())))
    step, row, checkpoint = (statistics.median(values[1:]) for values in times.values())
    between = step * every / experiment.batch_size
    cost = row + checkpoint
    print(
        f"{recipe}: {1000 * step:.1f} ms a step, {between:.1f} s from row to row ({every:,} samples); "
        f"row {rows:,} {1000 * row:.1f} ms, checkpoint {1000 * checkpoint:.1f} ms: {cost / (between + cost):.3%}"
    )


def _time(program: Callable[[], object]) -> float:
    start = time.perf_counter()
    program()
    return time.perf_counter() - start


@contextmanager
def _spending() -> Iterator[dict[str, float]]:
    """Sum up the time that is spent in `PARTS` while the block runs."""
    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **settings: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **settings)
            finally:
                spent[part] += time.perf_counter() - start

        return call

    with ExitStack() as stack:
        for part, names in PARTS.items():
            for name in names:
                stack.enter_context(mock.patch(name, timed(part, pkgutil.resolve_name(name))))
        yield spent


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--parameters", type=int, default=50_000_000)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {options.rounds} rounds")
    trees = {name: lambda name=name: checkpoint_of(name) for name in SAVED}
    trees[f"{options.parameters:,} float32 parameters"] = lambda: large(options.parameters)
    for name, make in trees.items():
        print(name)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            beside_torch(make(), Path(folder), options.rounds)
    for recipe in TRAINED:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            share_of_training(recipe, Path(folder), options.rounds, options.steps)


if __name__ == "__main__":
    main()
