"""The training step with more or fewer threads, quiet and beside a busy neighbour.

    python -m benchmarks.threads [--recipe lines_acai_64] [--busy 1] [--rounds 5] [--steps 2] [-o [FILE]]

Each program trains in a process of its own, since what the OpenMP library does is fixed when it is loaded. In turn,
round after round, each takes some steps alone, and some while `--busy` other processes spin at the same priority.

- N threads: as `acaikit run --threads N`, where a waiting thread looks SPINS times before it sleeps, and freed memory
  is kept. N is the number that acaikit chooses (or that of --threads), the powers of two below it, and twice as many.
- faults: the C library hands freed memory back to the system, as it does by default.
- long spin: a waiting thread looks as often as the OpenMP library has it by default (libgomp: 300,000 times).
- short spin: a tenth as often as in `acaikit run`.
- no spin: it sleeps at once (OMP_WAIT_POLICY=passive).
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch

from acaikit.allocator import keep_freed_memory
from acaikit.engine import Trainer
from acaikit.threads import SPINS, WAITING
from benchmarks.standin import experiment_of
from benchmarks.timing import arguments, interleaved, medians, publish, table

DEFAULT_SPINS = 300_000
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    pass"
SERVE = "import sys\nfrom benchmarks.threads import serve\nserve(*sys.argv[1:])"


def serve(recipe: str, threads: str, keep: str) -> None:
    """Train in this process: for each line of the input a step, answered by the number of its page faults."""
    if keep == "True":
        keep_freed_memory()
    torch.set_num_threads(int(threads))
    trainer = Trainer(experiment_of(recipe))
    for _ in sys.stdin:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        trainer.step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, flush=True)


class Program:
    """A process that trains.

    Parameters
    ----------
    recipe : str
        What it trains.
    threads : int
        How many threads it computes with.
    waiting : mapping of str to str
        What its environment says of how threads wait.
    keep : bool
        Whether it keeps the memory that it frees.
    neighbours : sequence of Popen
        Stopped processes, which `crowded` lets run.
    """

    def __init__(
        self,
        recipe: str,
        threads: int,
        waiting: Mapping[str, str],
        keep: bool,
        neighbours: Sequence[subprocess.Popen[bytes]],
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in WAITING} | waiting
        command = [sys.executable, "-c", SERVE, recipe, str(threads), str(keep)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)
        self.neighbours = neighbours
        self.faults: list[int] = []

    def step(self) -> None:
        """Take a step."""
        assert self.process.stdin and self.process.stdout
        print(file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("the process that trains has ended, see above")
        self.faults.append(int(answer))

    def crowded(self) -> None:
        """Take a step while the neighbours are busy."""
        for neighbour in self.neighbours:
            neighbour.send_signal(signal.SIGCONT)
        self.step()
        for neighbour in self.neighbours:
            neighbour.send_signal(signal.SIGSTOP)


@contextmanager
def busy(number: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes that spin, and stop them for now."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(number)]
    try:
        for process in spinning:
            process.send_signal(signal.SIGSTOP)
        yield spinning
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def main() -> None:
    """Print samples per second, quiet and busy."""
    parser = arguments(__doc__, "threads", rounds=5)
    parser.add_argument("--recipe", default="lines_acai_64")
    parser.add_argument("--busy", type=int, default=1, help="processes that spin (default: 1)")
    parser.add_argument("--steps", type=int, default=2, help="steps in a turn (default: 2)")
    options = parser.parse_args()
    batch = experiment_of(options.recipe).batch_size
    most = options.threads
    usual = {"GOMP_SPINCOUNT": str(SPINS)}
    counts = sorted({most, 2 * most, *(2**n for n in range(most.bit_length()) if 2**n < most)})
    kinds = {f"{n} thread{'s' * (n > 1)}": (n, usual, True) for n in counts}
    kinds |= {
        f"{most}, faults": (most, usual, False),
        f"{most}, long spin": (most, {"GOMP_SPINCOUNT": str(DEFAULT_SPINS)}, True),
        f"{most}, short spin": (most, {"GOMP_SPINCOUNT": str(SPINS // 10)}, True),
        f"{most}, no spin": (most, {"OMP_WAIT_POLICY": "passive"}, True),
    }
    with ExitStack() as stack:
        neighbours = stack.enter_context(busy(options.busy))
        programs = {name: Program(options.recipe, *kind, neighbours) for name, kind in kinds.items()}
        for program in programs.values():
            stack.enter_context(program.process)
        alone = {name: program.step for name, program in programs.items()}
        crowded = {f"{name}, crowded": program.crowded for name, program in programs.items()}
        times = medians(interleaved(alone | crowded, options.rounds, options.steps, warm=2))
    first = next(iter(programs))
    rows = []
    for name, program in programs.items():
        quiet, among = times[name], times[f"{name}, crowded"]
        rows.append(
            [
                name,
                f"{1000 * quiet:.1f} ms",
                f"{batch / quiet:.0f}",
                f"{times[first] / quiet:.2f}",
                f"{1000 * among:.1f} ms",
                f"{batch / among:.0f}",
                f"{times[f'{first}, crowded'] / among:.2f}",
                f"{sorted(program.faults)[len(program.faults) // 2]:,}",
            ]
        )
    beside = f"beside {options.busy} spinning"
    header = [
        "",
        "a step",
        "samples/s",
        f"over {first}",
        f"a step, {beside}",
        "samples/s",
        f"over {first}",
        "page faults",
    ]
    said = f"{options.recipe}, batch {batch}: medians of {options.rounds} interleaved rounds of {options.steps} steps"
    publish(options, "The step with more or fewer threads", said, table(header, rows))


if __name__ == "__main__":
    main()
