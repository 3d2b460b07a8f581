"""The memory of training: its peak, what it consists of, and whether it grows.

    python -m benchmarks.memory                         # lines_acai_64 and svhn_acai_256, two minutes
    python -m benchmarks.memory --device cuda
    python -m benchmarks.memory --growth                # 100,000 steps of a small run: some minutes
    python -m benchmarks.memory --growth --steps 10000

Each program has a process of its own: ``acaikit run`` from its start to its end, with rows, evaluations, checkpoints
and pictures; steps alone of acaikit's trainer, and of ACAI by hand, lean (`benchmarks.by_hand`). acaikit's are there
with its allocator's setting, which the step by hand has too, and with glibc's own. The process's peak is the kernel's
(VmHWM); what steps alone consist of is counted beside it, so that nothing counted adds to the peak:

- weights, Adam's moments, gradients: of all players.
- saved: what backward passes keep (``saved_tensors_hooks``, in the first step, which is no replayed graph), each
  storage once, the most that is alive at a time; weights aside.
- a step's own: the most that a step has allocated at a time beyond what there is between two steps, by torch's
  profiler: gradients, what is saved, and what comes and goes. On a GPU the most allocated at a time, in all.

Where a recipe's examples come from files, random pixels stand in for them.

With ``--growth`` a run in a temporary folder, with rows, evaluations, signs of health and checkpoints, tells of its
memory along the way.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from acaikit.config import read_recipe
from acaikit.engine import Trainer
from acaikit.nets import channels_last
from acaikit.rng import generator
from acaikit.runs.session import open_session
from benchmarks.by_hand import ByHand
from benchmarks.ledger import MB, Ledger, Saved, allocated_at_most, size
from benchmarks.standin import StandIn, experiment_of
from benchmarks.timing import arguments, publish, table

# A setting that changes nothing but tells acaikit to leave malloc alone.
GLIBCS_OWN = {"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}
RUNS: dict[str, Mapping[str, str]] = {"acaikit run": {}, "acaikit run, glibc's allocator": GLIBCS_OWN}
"""What whole runs have in their environment."""
ACAIKIT, BY_HAND = "acaikit", "by hand, lean"
STEPS_ALONE: dict[str, tuple[str, Mapping[str, str]]] = {
    "steps alone": (ACAIKIT, {}),
    "steps alone, glibc's allocator": (ACAIKIT, GLIBCS_OWN),
    f"steps alone, {BY_HAND}": (BY_HAND, {}),
}
IMPORT = "import torch; print(open('/proc/self/status').read())"
# What wait4 tells of a child is no less than what its parent took, so a run tells itself.
RUN = """
import atexit
from acaikit.cli import main
atexit.register(lambda: print(open('/proc/self/status').read()))
main()
"""
STEPS = {"cpu": 5, "cuda": 64}
"""On a GPU more than it takes to record a graph."""
SMALL = """
Experiment.dataset = @Lines()
Experiment.encoder = @MLPEncoder()
Experiment.decoder = @MLPDecoder()
Experiment.regularizers = [@ACAI()]
Experiment.evaluators = [@FactorBenchmark(), @ProbeAccuracy(), @Reconstruction()]
Experiment.batch_size = 8
Lines.height = 8
Lines.width = 8
Lines.test_size = 64
FactorBenchmark.pairs = 8
MLPEncoder.hidden = [16]
MLPDecoder.hidden = [16]
"""
"""A run whose steps are next to nothing but overhead: what grows by the step grows here too."""


def status(text: str, name: str) -> float:
    """Return a line of /proc/self/status, such as VmHWM, in megabytes."""
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1]) / MB


def own(name: str) -> float:
    """Return a line of this process's status in megabytes."""
    return status(Path("/proc/self/status").read_text(), name)


def program(name: str, recipe: str, device: str) -> tuple[Callable[[], object], list[torch.optim.Optimizer]]:
    """Return a program's step and its optimizers."""
    experiment = experiment_of(recipe)
    if name == ACAIKIT:
        trainer = Trainer(experiment, device)
        return trainer.step, list(trainer.optimizers.values())
    by_hand = ByHand(experiment, device, lean=True)
    x = channels_last(experiment.dataset.train(experiment.batch_size, generator(0, "data"), device).next()[0])
    return lambda: by_hand.step(x), [by_hand.model_adam, by_hand.critic_adam]


def child(name: str, recipe: str, device: str, steps: int) -> dict[str, float]:
    """Train in this process, and return megabytes by what they are."""
    step, optimizers = program(name, recipe, device)
    weights = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    built, ledger = own("VmHWM"), Ledger(weights)
    with saved_tensors_hooks(lambda tensor: Saved(ledger, tensor), lambda saved: saved.tensor):
        step()
    for _ in range(steps - 1):
        step()
    found = {"built": built, "peak": own("VmHWM"), "between": own("VmRSS")}
    if device != "cpu":
        torch.cuda.synchronize()
        found["gpu"] = torch.cuda.max_memory_allocated() / MB
    moments = [
        value
        for optimizer in optimizers
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    ]
    found["weights"] = size(weights)
    found["moments"] = size(moments)
    found["gradients"] = size(p.grad for p in weights if p.grad is not None)
    found["saved"] = ledger.most / MB
    if device == "cpu":
        found["step"] = allocated_at_most(step) / MB
    return found


def measured(
    name: str, recipe: str, device: str, steps: int, environment: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return what `child` found in a process of its own."""
    asked = ["--child", name, "--recipes", recipe, "--device", device, "--steps", str(steps)]
    found: dict[str, float] = json.loads(_said(["-m", "benchmarks.memory", *asked], environment or {}).splitlines()[-1])
    return found


def whole_run(recipe: str, device: str, steps: int, environment: Mapping[str, str]) -> float:
    """Return the peak of a run that is evaluated and saved twice, after `steps` steps each."""
    experiment = experiment_of(recipe)
    samples = steps * experiment.batch_size
    settings = [f"Experiment.samples = {2 * samples}", f"Experiment.evaluate_every = {samples}"]
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(experiment.dataset, StandIn):
            file = Path(folder) / "pixels.h5"
            pixels = experiment.dataset.test()
            with h5py.File(file, "w") as h5:
                h5["x"] = pixels.data
                if pixels.labels is not None:
                    h5["y"] = pixels.labels
            settings += ["Experiment.dataset = @Arrays()", f"Arrays.path = {str(file)!r}"]
        told = [word for setting in settings for word in ("--set", setting)]
        where = ["--dir", f"{folder}/run", "--data-dir", folder, "--device", device]
        return status(_said(["-c", RUN, "run", recipe, *told, *where, "--quiet"], environment), "VmHWM")


def _said(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return what Python prints when it runs `words`, with as many threads as here."""
    command = [sys.executable, *words, "--threads", str(torch.get_num_threads())]
    ran = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return ran.stdout


def peaks(options: argparse.Namespace) -> Iterator[str]:
    """Yield the table, and what its numbers are over."""
    bare = subprocess.run([sys.executable, "-c", IMPORT], stdout=subprocess.PIPE, text=True, check=True).stdout
    imported = status(bare, "VmHWM")
    yield (
        f"Megabytes (10^6 bytes) after {options.steps} steps on {options.device}, or a run of twice as many. "
        f"A bare `import torch` takes {imported:,.0f}."
    )
    columns = {
        "peak": "the process's peak",
        "built": "before the first step",
        "between": "between two steps",
        "weights": "weights",
        "moments": "Adam's moments",
        "gradients": "gradients",
        "saved": "saved",
        **({"step": "a step's own"} if options.device == "cpu" else {"gpu": "the GPU's peak"}),
    }
    rows: list[list[str]] = []
    for recipe in options.recipes:
        for name, environment in RUNS.items():
            peak = whole_run(recipe, options.device, options.steps, environment)
            rows.append([recipe, name, f"{peak - imported:,.0f}", f"{peak:,.1f}", *[""] * (len(columns) - 1)])
        for name, (program, environment) in STEPS_ALONE.items():
            found = measured(program, recipe, options.device, options.steps, environment)
            over = f"{found['peak'] - imported:,.0f}"
            rows.append([recipe, name, over, *(f"{found[column]:,.1f}" for column in columns)])
    yield table(["recipe", "program", "peak over the import", *columns.values()], rows)
    stood = [r for r in options.recipes if isinstance(experiment_of(r).dataset, StandIn)]
    if stood:
        taken = size([experiment_of(stood[0]).dataset.test().data])
        yield f"Random pixels, {taken:,.0f} MB of them, stand in for the examples of {', '.join(stood)}."


class Watch:
    """Looks at the memory at every row."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    def on_step(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        """Nothing."""

    def on_row(self, trainer: Trainer, losses: dict[str, float], scores: dict[str, float]) -> None:
        """Note what the process holds."""
        gc.collect()
        tensors = sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())
        blocks, now, peak = sys.getallocatedblocks(), own("VmRSS"), own("VmHWM")
        self.rows.append([f"{trainer.steps:,}", f"{now:,.2f}", f"{peak:,.2f}", f"{tensors:,}", f"{blocks:,}"])
        print(f"{trainer.steps:>9,} steps {now:10,.2f} MB", file=sys.stderr, flush=True)


def growth(options: argparse.Namespace) -> Iterator[str]:
    """Train and yield the table."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "small.gin"
        budget = f"Experiment.samples = {8 * options.steps}\nExperiment.evaluate_every = {8 * options.steps // 20}\n"
        recipe.write_text(SMALL + budget)
        with open_session(
            Path(folder) / "run", config=read_recipe(str(recipe)), device=options.device, say=print
        ) as session:
            session.train([watch], lambda: False)
    yield (
        f"{options.steps:,} steps of ACAI with dense layers on lines of 8x8, a batch of 8; an evaluation at each of "
        "the rows below, and checkpoints as they are due."
    )
    yield table(["steps", "memory (VmRSS), MB", "peak (VmHWM), MB", "live tensors", "Python's blocks"], watch.rows)


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__, "memory", rounds=None, device=True)
    parser.add_argument("--recipes", nargs="+", default=["lines_acai_64", "svhn_acai_256"])
    parser.add_argument(
        "--growth", action="store_true", help="train for long and watch the memory (its results: growth.md)"
    )
    parser.add_argument("--steps", type=int, help="default: 5, on a GPU 64; 100,000 with --growth")
    parser.add_argument("--child", choices=(ACAIKIT, BY_HAND), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.steps = options.steps or (100_000 if options.growth else STEPS[torch.device(options.device).type])
    if options.child:
        print(json.dumps(child(options.child, options.recipes[0], options.device, options.steps)))
    elif options.growth:
        publish(options, "Memory over many steps", *growth(options), name="growth")
    else:
        publish(options, "The memory of training", *peaks(options))


if __name__ == "__main__":
    main()
