"""The harness: programs take turns round after round, and medians, ratios and the machine are written as markdown."""

from __future__ import annotations

import argparse
import os
import platform
import random
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from acaikit.allocator import keep_freed_memory
from acaikit.fingerprint import fingerprint
from acaikit.threads import choose, usable

RESULTS = Path(__file__).parent / "results"
LOAD = os.getloadavg()[0]
"""The machine's load average of one minute before anything was measured."""

Programs = Mapping[str, Callable[[], object]]
Times = dict[str, list[float]]


def interleaved(programs: Programs, rounds: int, repeat: int = 1, warm: int = 1, device: str = "cpu") -> Times:
    """Return the seconds that a call of each program takes in each round.

    In every round each program has its turn, in an order that is drawn anew, always from the same seed: what a program
    leaves behind, in caches or the heap, falls on each of the others in turn.

    Parameters
    ----------
    programs : mapping of str to callable
        What is compared, by name.
    rounds : int
        Turns of each program.
    repeat : int
        Calls in a turn, of which the mean counts.
    warm : int
        Calls of each program beforehand, not timed.
    device : str
        Where the programs work: a cuda device is waited for before and after each turn.
    """
    return clocked(programs, rounds, repeat, warm, device)[0]


def clocked(
    programs: Programs, rounds: int, repeat: int = 1, warm: int = 1, device: str = "cpu"
) -> tuple[Times, Times]:
    """Return what `interleaved` does, and beside it the processor's seconds of a call, of all threads together.

    The processor's time holds stiller than the clock on the wall where others use the machine.
    """
    wall: Times = {name: [] for name in programs}
    processor: Times = {name: [] for name in programs}
    for program in programs.values():
        for _ in range(warm):
            program()
    draw = random.Random(0)
    for _ in range(rounds):
        for name in draw.sample(list(programs), len(programs)):
            program = programs[name]
            synchronise(device)
            start, begun = time.perf_counter(), time.process_time()
            for _ in range(repeat):
                program()
            synchronise(device)
            wall[name].append((time.perf_counter() - start) / repeat)
            processor[name].append((time.process_time() - begun) / repeat)
    return wall, processor


def synchronise(device: str) -> None:
    """Wait until `device` has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return each program's median."""
    return {name: statistics.median(values) for name, values in times.items()}


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 1) -> str:
    """Return the quartiles of `values` times `scale` as "low to high": half of the rounds lie between them."""
    low, _, high = statistics.quantiles(values, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return f"{scale * low:,.{digits}f} to {scale * high:,.{digits}f}"


def machine() -> str:
    """Return a line about the machine, the versions, the date, and the load before the run."""
    here = fingerprint(torch.device("cpu"))
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_initialized() else []
    return ", ".join(
        [
            here["cpu_model"] or platform.machine(),
            f"{usable()} CPUs usable",
            here["cpu_capability"],
            *gpu,
            f"Python {platform.python_version()}",
            f"torch {torch.__version__}",
            f"{torch.get_num_threads()} threads",
            f"{datetime.now(UTC):%Y-%m-%d}",
            f"load average before the run {LOAD:.2f}",
        ]
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def arguments(doc: str | None, name: str, rounds: int | None = 7, device: bool = False) -> argparse.ArgumentParser:
    """Return a parser of the options that all benchmarks share.

    As the options are parsed the process is set as the command line sets its own, see `as_the_command_line`.

    Parameters
    ----------
    doc : str
        The module's docstring, which ``--help`` prints.
    name : str
        The module's name under ``benchmarks``, and its result's.
    rounds : int, optional
        What ``--rounds`` is where it is left out; None for no such option.
    device : bool
        Whether there is a ``--device``.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help=f"turns of each program (default: {rounds})")
    if device:
        parser.add_argument(
            "--device", type=_usable_device, default="cpu", help="where the networks are (default: cpu)"
        )
    parser.add_argument(
        "--threads", type=_use_threads, default="", metavar="N", help="torch's threads (default: as acaikit chooses)"
    )
    default = f"benchmarks/results/{name}{'[_DEVICE]' if device else ''}.md"
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        nargs="?",
        const="",
        metavar="FILE",
        help=f"write the results as markdown (to {default}, if no FILE is given)",
    )
    parser.set_defaults(name=name)
    return parser


def _usable_device(text: str) -> str:
    if torch.device(text).type == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("torch finds no GPU here")
    return text


def _use_threads(text: str) -> int:
    return as_the_command_line(int(text) if text else None)


def as_the_command_line(threads: int | None) -> int:
    """Let this process keep the memory that it frees, and compute with so many threads, as ``acaikit run`` does.

    Every process that is measured calls it, whatever program it runs, so that none has an advantage. How threads wait
    for each other is set where this package is imported.

    Parameters
    ----------
    threads : int, optional
        Left out, as many as acaikit would choose.

    Returns
    -------
    int
        The number of threads.
    """
    keep_freed_memory()
    return choose(threads)


def publish(options: argparse.Namespace, title: str, *parts: str, name: str = "") -> None:
    """Print the machine and `parts`; where ``-o`` was given, write them under `title` and the command line.

    Parameters
    ----------
    options : argparse.Namespace
        What a parser of `arguments` has parsed.
    title : str
        The heading.
    parts : str
        Markdown: tables, and paragraphs between them.
    name : str
        The result's name, where it isn't the module's.
    """
    command = f"python -m benchmarks.{options.name} {shlex.join(sys.argv[1:])}".rstrip()
    text = "\n\n".join([f"# {title}", f"`{command}`", machine(), *parts]) + "\n"
    print(text)
    if options.output is not None:
        file = options.output if options.output.name else RESULTS / _default_file(name or options.name, options)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def _default_file(name: str, options: argparse.Namespace) -> str:
    device = getattr(options, "device", "cpu")
    return f"{name}.md" if device == "cpu" else f"{name}_{device.replace(':', '')}.md"
