"""The input pipeline: stored sets, drawn sets, and their share of a training step.

    python -m benchmarks.data [--rounds 7] [--threads N] [--examples 50000] [--memory]

- Batches per second of a prepared, memory-mapped set, beside torch's DataLoader over the same array (uint8 in memory,
  normalised per batch), without and with worker processes.
- The lines renderer, beside a loop that draws one line at a time in Python.
- The share of a CPU training step that goes into its batch, for the recipes whose steps are shortest.
- With --memory: a set of SVHN's size (604,388 images, 1.9 GB on the disk of the temporary folder), how much memory it
  takes to prepare it, and how much more it takes to train on it than on 6,400 images.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, TensorDataset

from acaikit.config import build, read_recipe
from acaikit.data import Dataset, Lines, Split, Stream
from acaikit.data.base import Shuffled, to_unit
from acaikit.data.lines import render
from acaikit.data.prepared import open_prepared
from acaikit.data.writer import Writer, write_prepared
from acaikit.engine import Trainer
from acaikit.rng import generator

BATCH = 64
SVHN = 604_388


class Generated(Dataset):
    """Random pixels in a prepared file, in place of a set that would have to be downloaded."""

    classes = 10

    def __init__(self, file: Path) -> None:
        self.splits = open_prepared(file).splits
        self.shape = tuple(self.splits["train"].data.shape[1:])

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        """Return shuffled batches."""
        return Shuffled(self.splits["train"], batch_size, generator, device)

    def test(self) -> Split:
        """Return no test set that a benchmark would need."""
        raise NotImplementedError


def write(file: Path, examples: int, shape: tuple[int, ...]) -> Path:
    """Prepare `examples` random images."""
    rng = np.random.default_rng(0)

    def fill(writer: Writer) -> None:
        writer.split("train", examples, shape, labels=True)
        for start in range(0, examples, 4096):
            n = min(4096, examples - start)
            x = rng.integers(0, 256, (n, *shape), np.uint8)
            writer.append("train", x, rng.integers(0, 10, n))

    write_prepared(file, "generated", fill)
    return file


def per_second(runs: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Return how many things each of `runs` does a second: the median over `rounds`, in turn."""
    for run in runs.values():
        run()
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            done = run()
            seen[name].append(done / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in seen.items()}


def report(what: str, unit: str, speeds: dict[str, float]) -> None:
    """Print speeds, and how many times faster the first one is than each other."""
    print(what)
    first = next(iter(speeds.values()))
    for name, speed in speeds.items():
        print(f"  {name:36} {speed:12,.0f} {unit}/s   acaikit is {first / speed:.1f} times as fast")


def stored(folder: Path, examples: int, rounds: int) -> None:
    """Compare a prepared set with torch's DataLoader."""
    set_ = Generated(write(folder / "stored.h5", examples, (3, 32, 32)))
    stream = set_.train(BATCH, generator(0, "data"))
    split = set_.splits["train"]
    assert split.labels is not None
    in_memory = TensorDataset(split.data.clone(), split.labels)
    batches = 300

    def acaikit() -> int:
        for _ in range(batches):
            stream.next()
        return batches

    def loader(workers: int) -> Callable[[], int]:
        made = DataLoader(
            in_memory, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
        )
        endless: Iterator[list[Tensor]] = (batch for _ in cycle([0]) for batch in made)

        def run() -> int:
            for _ in range(batches):
                x, _y = next(endless)
                to_unit(x)
            return batches

        return run

    runs = {"acaikit": acaikit, "DataLoader": loader(0), "DataLoader, 2 worker processes": loader(2)}
    report(f"Batches of {BATCH} from {examples:,} images of 3x32x32", "batches", per_second(runs, rounds))


def draw_one(angle: float, side: int = 32) -> np.ndarray:
    """Draw one line pixel by pixel, as the method describes it."""
    x0 = y0 = side / 2
    x1, y1 = x0 + (x0 - 1) * math.cos(-angle), y0 + (y0 - 1) * math.sin(-angle)
    flat = abs(y1 - y0) < abs(x1 - x0)
    if flat:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if y1 < y0:
        x0, y0, x1, y1 = x1, y1, x0, y0
    x0 -= 1
    x1 -= 1
    slope = (x1 - x0) / (y1 - y0) if y1 != y0 else 0.0
    image = np.full((side, side), -1.0)
    for row in range(int(y0), math.ceil(y1)):
        left = x0 + (row - y0 - 0.5) * slope
        weight = math.ceil(y0) - y0 if row < math.ceil(y0) else 1.0
        for pixel in range(max(0, math.floor(left)), min(side, math.floor(left) + 4)):
            coverage = max(0.0, min(left + 2, pixel + 1) - max(left, pixel))
            image[row, pixel] = max(-1.0, min(1.0, 2 * coverage * weight - 1))
    return image.T if flat else image


def drawn(rounds: int) -> None:
    """Compare the lines renderer with a loop."""
    angles = 2 * math.pi * np.random.default_rng(0).random(4 * BATCH)
    slow = np.stack([draw_one(angle) for angle in angles])
    worst = float(np.abs(render(angles)[:, 0].numpy() - slow).max())

    def loop() -> int:
        for angle in angles[:BATCH]:
            draw_one(angle)
        return BATCH

    def acaikit() -> int:
        for start in range(0, len(angles), BATCH):
            render(angles[start : start + BATCH])
        return len(angles)

    report(
        f"Lines of 32x32 (the two differ by {worst:.0e} at most)",
        "lines",
        per_second({"acaikit": acaikit, "a loop in Python": loop}, rounds),
    )


def share(folder: Path, rounds: int) -> None:
    """Print what part of a training step its batch takes."""
    print("Share of the batch in a training step")
    for recipe, shape in {
        "mnist_baseline_32": (1, 32, 32),
        "svhn_baseline_32": (3, 32, 32),
        "lines_baseline_64": None,
        "quickstart_baseline": None,
    }.items():
        experiment = build(read_recipe(recipe))
        if shape is not None:
            experiment = replace(experiment, dataset=Generated(write(folder / f"{recipe}.h5", 20_000, shape)))
        assert isinstance(experiment.dataset, Generated | Lines)
        trainer = Trainer(experiment)

        def batch(trainer: Trainer = trainer) -> int:
            for _ in range(20):
                trainer.stream.next()
            return 20

        def step(trainer: Trainer = trainer) -> int:
            for _ in range(3):
                trainer.step()
            return 3

        speed = per_second({"batch": batch, "step": step}, rounds)
        ms = {name: 1000 / value for name, value in speed.items()}
        print(f"  {recipe:22} {ms['batch']:7.3f} of {ms['step']:7.1f} ms: {100 * ms['batch'] / ms['step']:.2f} %")


def _rss(field: str) -> float:
    """Return a line of /proc/self/status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1000


def _prepare(path: str, examples: int, answer: multiprocessing.Queue[float]) -> None:
    before = _rss("VmRSS")
    write(Path(path), examples, (3, 32, 32))
    answer.put(_rss("VmHWM") - before)


def _train(path: str, answer: multiprocessing.Queue[float]) -> None:
    experiment = replace(build(read_recipe("svhn_baseline_32")), dataset=Generated(Path(path)), batch_size=8)
    trainer = Trainer(experiment)
    # Many batches for their pages, and a few whole steps.
    for _ in range(5000):
        trainer.stream.next()
    for _ in range(5):
        trainer.step()
    answer.put(_rss("RssAnon"))


def memory(folder: Path) -> None:
    """Print the memory that a set of SVHN's size takes, each measured in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[float] = context.Queue()

    def measured(target: Callable[..., None], *given: object) -> float:
        process = context.Process(target=target, args=(*given, answer))
        process.start()
        process.join()
        return answer.get()

    large, small = str(folder / "large.h5"), str(folder / "small.h5")
    size = SVHN * 3072 / 1e6
    print(f"A set of {SVHN:,} images, {size:,.0f} MB")
    print(f"  to write its prepared file   {measured(_prepare, large, SVHN):8,.0f} MB")
    measured(_prepare, small, 6400)
    more = measured(_train, large) - measured(_train, small)
    print(f"  to train on it, beyond what 6,400 images take {more:8,.0f} MB (private memory; the map is shared)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {options.rounds} interleaved rounds"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored(folder, options.examples, options.rounds)
        drawn(options.rounds)
        share(folder, options.rounds)
        if options.memory:
            memory(folder)


if __name__ == "__main__":
    main()
