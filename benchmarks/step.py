"""The training step, beside the same step written by hand in eager PyTorch.

    python -m benchmarks.step                                       # lines_acai_64 and quickstart: about a minute
    python -m benchmarks.step --recipe lines_vae_64 mnist_acai_256  # others; by hand there is ACAI on images alone
    python -m benchmarks.step --device cuda                         # lines_acai_64 and svhn_acai_256, every precision

The programs train the same networks on batches of the same size, in turn, round after round; the medians are compared.
Sets that come from files are stood in for by random pixels.

- acaikit: `Trainer.step`, with the data it draws and the probe it trains.
- by hand: what one writes down at first. Two losses, two ``backward()``, then both optimizers; a fixed batch,
  channels_last and fused Adam. The autoencoder's ``backward()`` also computes gradients of the critic's weights, which
  are thrown away.
- by hand, lean: the same without that waste.

On a GPU acaikit also runs with its graph off, and what a step costs the host and the device's memory is counted. Goals
for one H100: the whole budget of lines_acai_64 in 5 minutes, of svhn_acai_256 in 30, 4 times as fast as by hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from acaikit.engine import Trainer
from acaikit.experiment import Experiment
from acaikit.precision import PRECISIONS
from acaikit.rng import generator
from benchmarks.by_hand import ByHand, fits
from benchmarks.standin import experiment_of
from benchmarks.timing import arguments, interleaved, medians, publish, spread, synchronise, table

DEFAULTS = {
    "cpu": {"recipe": ["lines_acai_64", "quickstart"], "precision": ["float32"], "steps": 10},
    "cuda": {"recipe": ["lines_acai_64", "svhn_acai_256"], "precision": PRECISIONS, "steps": 100},
}
WARM = {"cpu": 3, "cuda": 64}
"""Steps before the first that counts; on a GPU, more than it takes to record a graph."""
COUNTED = 64
"""Steps over which launches and waits are counted: more than pass between two looks of the host."""


class FixedBatch:
    """A step by hand, always on the same batch."""

    def __init__(self, experiment: Experiment, device: str, precision: str, lean: bool) -> None:
        self.program = ByHand(experiment, device, lean, bf16=precision == "bf16")
        stream = experiment.dataset.train(experiment.batch_size, generator(0, "data"), device)
        self.x = stream.next()[0].contiguous(memory_format=torch.channels_last)

    def step(self) -> None:
        """Train on the batch."""
        self.program.step(self.x)


@dataclass
class Program:
    """What is compared, and the most bytes that it took on a GPU beyond what was taken before."""

    trained: Trainer | FixedBatch
    precision: str
    memory: int = 0

    def step(self) -> None:
        """Train, after setting torch's switches: they are the process's, in which the programs take turns."""
        switch(self.precision)
        self.trained.step()

    @property
    def obstacle(self) -> str:
        """Why acaikit replays no graph, where it was to."""
        return (self.trained.stepper.obstacle or "") if isinstance(self.trained, Trainer) else ""


def switch(precision: str) -> None:
    """Set torch's switches as acaikit does in `precision`."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "float32"
    torch.backends.cudnn.benchmark = True


def without_graph(experiment: Experiment, device: str, precision: str) -> Trainer:
    """Return a trainer that launches every kernel of every step."""
    trainer = Trainer(experiment, device, precision=precision)
    trainer.stepper.record(None)
    return trainer


def programs(experiment: Experiment, device: str, precision: str) -> dict[str, Callable[[], Trainer | FixedBatch]]:
    """Return how what is compared is made, by name."""
    made: dict[str, Callable[[], Trainer | FixedBatch]] = {
        "acaikit": lambda: Trainer(experiment, device, precision=precision)
    }
    if kind_of(device) == "cuda":
        made["acaikit, graph off"] = lambda: without_graph(experiment, device, precision)
    if fits(experiment):
        made["by hand"] = lambda: FixedBatch(experiment, device, precision, lean=False)
        made["by hand, lean"] = lambda: FixedBatch(experiment, device, precision, lean=True)
    return made


def warmed(make: Callable[[], Trainer | FixedBatch], device: str, precision: str) -> Program:
    """Make a program and let it train until nothing happens for the first time."""
    before = 0
    if kind_of(device) == "cuda":
        torch.cuda.init()  # without it the allocator takes no device that has a number
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    program = Program(make(), precision)
    for _ in range(WARM[kind_of(device)]):
        program.step()
    synchronise(device)
    if kind_of(device) == "cuda":
        program.memory = torch.cuda.max_memory_allocated(device) - before
    return program


def kind_of(device: str) -> str:
    """Return "cpu" or "cuda"."""
    return torch.device(device).type


def speeds(experiment: Experiment, found: dict[str, Program], rounds: int, steps: int, device: str) -> str:
    """Return a table of times, and of how long the recipe's budget takes; `found` begins with acaikit as it comes."""
    times = interleaved({name: program.step for name, program in found.items()}, rounds, steps, warm=0, device=device)
    middle = medians(times)
    first = middle[next(iter(found))]
    rows = [
        (
            name,
            f"{1000 * seconds:.2f}",
            spread(times[name], 1000, 2),
            f"{experiment.batch_size / seconds:,.0f}",
            f"{seconds * experiment.samples / experiment.batch_size / 60:,.1f}",
            f"{seconds / first:.2f}",
        )
        for name, seconds in middle.items()
    ]
    budget = f"minutes for {experiment.samples:,}"
    return table(["", "ms a step", "half of the rounds", "samples/s", budget, "time over the first's"], rows)


def launches(program: Program) -> float:
    """Return how many kernels and graphs the host launches in a step."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        for _ in range(COUNTED):
            program.step()
        torch.cuda.synchronize()
    return sum(e.count for e in seen.key_averages() if "LaunchKernel" in e.key or "GraphLaunch" in e.key) / COUNTED


def waits(program: Program) -> float:
    """Return how often the host waits for the device in a step."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(COUNTED):
                program.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in told) / COUNTED


def counts(found: dict[str, Program]) -> str:
    """Return a table of what a step costs the host and the device's memory."""
    rows = [
        (
            name,
            f"{launches(program):,.1f}",
            f"{waits(program):.2f}",
            f"{program.memory / 2**20:,.0f}",
            program.obstacle,
        )
        for name, program in found.items()
    ]
    return table(["", "launches a step", "waits a step", "peak memory, MiB", "why no graph"], rows)


def measured(recipe: str, device: str, precisions: list[str], rounds: int, steps: int) -> Iterator[str]:
    """Yield what was found for a recipe."""
    experiment = experiment_of(recipe)
    found = {
        f"{name}, {precision}": warmed(make, device, precision)
        for precision in precisions
        for name, make in programs(experiment, device, precision).items()
    }
    yield f"## {recipe}, batch {experiment.batch_size}"
    yield speeds(experiment, found, rounds, steps, device)
    if kind_of(device) == "cuda":
        yield counts(found)


def main() -> None:
    """Measure and publish."""
    parser = arguments(__doc__, "step", device=True)
    parser.add_argument("--recipe", nargs="+", help="what is trained")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="float32 on a CPU, all on a GPU")
    parser.add_argument("--steps", type=int, help="of a turn (default: 10 on a CPU, 100 on a GPU)")
    options = parser.parse_args()
    for name, value in DEFAULTS[kind_of(options.device)].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    parts = [
        part
        for recipe in options.recipe
        for part in measured(recipe, options.device, options.precision, options.rounds, options.steps)
    ]
    publish(options, "The training step", f"{options.rounds} rounds of {options.steps} steps.", *parts)


if __name__ == "__main__":
    main()
