"""Checkpoints and metrics: how long they take beside torch's, and what part of a training run that is.

    python -m benchmarks.artifacts --threads 1      # a minute or two; 1 GB of memory
    python -m benchmarks.artifacts --folder FOLDER  # on the disk to be measured, not that of temporary files

- Saving and loading a checkpoint (networks and Adam's moments) of two recipes and a tree of 50 million float32
  parameters, beside torch.save and torch.load, in turn, round after round: once with an fsync of the file and of its
  folder on both sides, once without any. Both go through a temporary file that is then renamed.
- What of that goes into hashing, auditing and fsync.
- What a row of metrics and the checkpoint after it cost at the end of a run, as a share of the training between two
  rows. The speed of training is that of a few steps.
"""

from __future__ import annotations

import os
import pkgutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
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
from benchmarks.timing import arguments, interleaved, medians, publish, table

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


def unsynced(program: Callable[[], object]) -> Callable[[], object]:
    """Return `program` without its fsyncs."""

    def run() -> None:
        with mock.patch("os.fsync"):
            program()

    return run


def beside_torch(tree: Tree, folder: Path, rounds: int) -> tuple[str, str]:
    """Return a table of times and ratios for one tree, and one of what they go into."""
    checkpoints, other = Checkpoints(folder / "checkpoints", "benchmark"), folder / "other.pt"

    def save() -> None:
        checkpoints.save(1, tree)

    def load() -> None:
        checkpoints.load(1)

    def save_torch() -> None:
        torch_save(other, tree)

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "save": (save, save_torch),
        "save, no fsync": (unsynced(save), unsynced(save_torch)),
        "load": (load, lambda: torch.load(other, weights_only=True)),
    }
    programs = {f"{name}/{side}": pair[side] for name, pair in pairs.items() for side in (0, 1)}
    ms = {name: 1000 * seconds for name, seconds in medians(interleaved(programs, rounds)).items()}
    times = [
        (name, f"{ms[f'{name}/0']:.1f}", f"{ms[f'{name}/1']:.1f}", f"{ms[f'{name}/0'] / ms[f'{name}/1']:.2f}")
        for name in pairs
    ]
    sizes = checkpoints.path(1).stat().st_size / 1e6, other.stat().st_size / 1e6
    times.append(("file, MB", f"{sizes[0]:.1f}", f"{sizes[1]:.1f}", f"{sizes[0] / sizes[1]:.2f}"))
    shares = [(f"of a {name}", *spent(program, rounds)) for name, program in {"save": save, "load": load}.items()]
    return table(["ms", "acaikit", "torch", "of its time"], times), table(["", *PARTS], shares)


def spent(program: Callable[[], object], rounds: int) -> list[str]:
    """Return which share of `program` each of `PARTS` takes."""
    shares: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(rounds):
        with _spending() as parts:
            start = time.perf_counter()
            program()
            whole = time.perf_counter() - start
        for part, seconds in parts.items():
            shares[part].append(seconds / whole)
    return [f"{statistics.median(values):.0%}" for values in shares.values()]


def share_of_training(recipe: str, folder: Path, rounds: int, steps: int) -> tuple[object, ...]:
    """Return what the row and the checkpoint at a run's end cost, beside the training before them."""
    experiment: Experiment = build(read_recipe(recipe))
    trainer = Trainer(experiment)
    every, rows = experiment.evaluate_every, experiment.samples // experiment.evaluate_every
    checkpoints, metrics = Checkpoints(folder / "checkpoints", "benchmark"), folder / "metrics"
    names = [f"evaluator/score_{i}" for i in range(COLUMNS)]
    columns = {name: np.random.default_rng(0).normal(size=rows) for name in names}
    metrics.mkdir(parents=True)
    write_part(part_path(metrics, 0), np.arange(rows), columns, run_id="benchmark")
    written, at = Metrics(metrics, "benchmark"), count(rows)
    programs: dict[str, Callable[[], object]] = {
        "steps": lambda: [trainer.step() for _ in range(steps)],
        "row": lambda: written.append(next(at), dict.fromkeys(names, 0.5)),
        "checkpoint": lambda: checkpoints.save(trainer.steps, trainer.state_dict()),
    }
    taken = medians(interleaved(programs, rounds))
    between = taken["steps"] / steps * every / experiment.batch_size
    cost = taken["row"] + taken["checkpoint"]
    return (
        recipe,
        f"{1000 * taken['steps'] / steps:.1f} ms",
        f"{between:.1f} s",
        f"{1000 * taken['row']:.1f} ms",
        f"{1000 * taken['checkpoint']:.1f} ms",
        f"{cost / (between + cost):.3%}",
    )


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
    """Measure and publish."""
    parser = arguments(__doc__, "artifacts")
    parser.add_argument("--steps", type=int, default=10, help="of training, in a turn (default: 10)")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to be measured")
    parser.add_argument("--parameters", type=int, default=50_000_000, help="of the large tree (default: 50000000)")
    options = parser.parse_args()
    trees = {name: partial(checkpoint_of, name) for name in SAVED}
    trees[f"{options.parameters:,} float32 parameters"] = partial(large, options.parameters)
    parts = []
    for name, make in trees.items():
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            parts += [f"## {name}", *beside_torch(make(), Path(folder), options.rounds)]
    rows = []
    for recipe in TRAINED:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            rows.append(share_of_training(recipe, Path(folder), options.rounds, options.steps))
    header = ["recipe", "a step", "from row to row", "the row", "the checkpoint", "share of the time"]
    publish(options, "Checkpoints and metrics", *parts, "## What that is of a run", table(header, rows))


if __name__ == "__main__":
    main()
