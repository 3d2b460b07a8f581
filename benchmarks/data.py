"""The input pipeline: stored sets, drawn sets, and their share of a training step.

    python -m benchmarks.data [--examples 50000]        # half a minute
    python -m benchmarks.data --memory                  # also a set of SVHN's size: a minute more, 2 GB of disk

- Batches per second of a prepared, memory-mapped set, beside torch's DataLoader over the same array (uint8 in memory,
  normalised per batch), without and with worker processes.
- The lines renderer, beside a loop that draws one line at a time in Python.
- The share of a CPU training step that goes into its batch, for the recipes whose steps are shortest.
- With --memory: a set of SVHN's size (604,388 images), how much memory it takes to prepare it, and how much more it
  takes to train on it than on 6,400 images.
"""

from __future__ import annotations

import math
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, TensorDataset

from acaikit.config import build, read_recipe
from acaikit.data import Dataset, Split, Stream
from acaikit.data.base import Shuffled, to_unit
from acaikit.data.lines import render
from acaikit.data.prepared import open_prepared
from acaikit.data.writer import Writer, write_prepared
from acaikit.engine import Trainer
from acaikit.rng import generator
from benchmarks.timing import Times, arguments, as_the_command_line, interleaved, medians, publish, spread, table

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


def speeds(unit: str, times: Times) -> str:
    """Return a table of how many things a second each program does, the first of them acaikit."""
    middle = medians(times)
    rows = [
        (
            name,
            f"{1 / middle[name]:,.0f}",
            spread([1 / t for t in times[name]], digits=0),
            f"{middle[name] / first:.1f}",
        )
        for first in [middle["acaikit"]]
        for name in times
    ]
    return table(["", f"{unit}/s", "half of the rounds", "acaikit is faster by"], rows)


def stored(folder: Path, examples: int, rounds: int) -> str:
    """Compare a prepared set with torch's DataLoader."""
    set_ = Generated(write(folder / "stored.h5", examples, (3, 32, 32)))
    split = set_.splits["train"]
    assert split.labels is not None
    in_memory = TensorDataset(split.data.clone(), split.labels)

    def loader(workers: int) -> Callable[[], Tensor]:
        made = DataLoader(
            in_memory, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
        )
        endless: Iterator[list[Tensor]] = (batch for _ in cycle([0]) for batch in made)
        return lambda: to_unit(next(endless)[0])

    programs: dict[str, Callable[[], object]] = {
        "acaikit": set_.train(BATCH, generator(0, "data")).next,
        "DataLoader": loader(0),
        "DataLoader, 2 worker processes": loader(2),
    }
    return speeds("batches", interleaved(programs, rounds, repeat=300))


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


def drawn(rounds: int) -> str:
    """Compare the lines renderer with a loop."""
    angles = 2 * math.pi * np.random.default_rng(0).random(BATCH)
    slow = np.stack([draw_one(angle) for angle in angles])
    worst = float(np.abs(render(angles)[:, 0].numpy() - slow).max())
    times = interleaved(
        {"acaikit": lambda: render(angles), "a loop in Python": lambda: [draw_one(angle) for angle in angles]},
        rounds,
        repeat=4,
    )
    each = {name: [seconds / BATCH for seconds in values] for name, values in times.items()}
    return f"{speeds('lines', each)}\n\nThe two differ by {worst:.0e} at most."


def share(folder: Path, rounds: int) -> str:
    """Return what part of a training step its batch takes."""
    rows = []
    for recipe, shape in {
        "mnist_baseline_32": (1, 32, 32),
        "svhn_baseline_32": (3, 32, 32),
        "lines_baseline_64": None,
        "quickstart_baseline": None,
    }.items():
        experiment = build(read_recipe(recipe))
        if shape is not None:
            experiment = replace(experiment, dataset=Generated(write(folder / f"{recipe}.h5", 20_000, shape)))
        trainer = Trainer(experiment)
        times = interleaved({"batch": trainer.stream.next, "step": trainer.step}, rounds, repeat=3)
        ms = {name: 1000 * seconds for name, seconds in medians(times).items()}
        rows.append((recipe, f"{ms['batch']:.3f}", f"{ms['step']:.1f}", f"{100 * ms['batch'] / ms['step']:.2f} %"))
    return table(["recipe", "its batch, ms", "its step, ms", "share"], rows)


def _rss(field: str) -> float:
    """Return a line of /proc/self/status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1000


def _prepare(path: str, examples: int, answer: multiprocessing.Queue[float]) -> None:
    before = _rss("VmRSS")
    write(Path(path), examples, (3, 32, 32))
    answer.put(_rss("VmHWM") - before)


def _train(path: str, answer: multiprocessing.Queue[float]) -> None:
    as_the_command_line(None)
    experiment = replace(build(read_recipe("svhn_baseline_32")), dataset=Generated(Path(path)), batch_size=8)
    trainer = Trainer(experiment)
    # Many batches for their pages, and a few whole steps.
    for _ in range(5000):
        trainer.stream.next()
    for _ in range(5):
        trainer.step()
    answer.put(_rss("RssAnon"))


def memory(folder: Path) -> str:
    """Return the memory that a set of SVHN's size takes, each measured in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[float] = context.Queue()

    def measured(target: Callable[..., None], *given: object) -> float:
        process = context.Process(target=target, args=(*given, answer))
        process.start()
        process.join()
        return answer.get()

    large, small = str(folder / "large.h5"), str(folder / "small.h5")
    prepared = measured(_prepare, large, SVHN)
    measured(_prepare, small, 6400)
    more = measured(_train, large) - measured(_train, small)
    rows = [("to write its prepared file", f"{prepared:,.0f}"), ("to train on it, beyond 6,400 images", f"{more:,.0f}")]
    return table([f"{SVHN:,} images, {SVHN * 3072 / 1e6:,.0f} MB", "MB of private memory"], rows)


def main() -> None:
    """Measure and publish."""
    parser = arguments(__doc__, "data")
    parser.add_argument("--examples", type=int, default=50_000, help="of the stored set (default: 50000)")
    parser.add_argument("--memory", action="store_true", help="also prepare a set of SVHN's size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {
            f"Batches of {BATCH} from {options.examples:,} images of 3x32x32": stored(
                folder, options.examples, options.rounds
            ),
            "Lines of 32x32": drawn(options.rounds),
            "Share of the batch in a training step": share(folder, options.rounds),
        }
        if options.memory:
            parts["A set of SVHN's size"] = memory(folder)
    publish(options, "The input pipeline", *(f"## {title}\n\n{part}" for title, part in parts.items()))


if __name__ == "__main__":
    main()
