"""Training in acaikit, beside other programs that train the same networks.

    python -m benchmarks.peers [--rounds 5] [--batches 10] [--threads N] [-o]

ACAI on lines_acai_64: acaikit; the step written by hand in eager PyTorch, the critic's weights held constant in the
autoencoder's loss; and the authors' program, a TensorFlow 1 graph, run by today's TensorFlow, and by the same without
oneDNN, which the packages of TensorFlow 1 didn't use. VAE, AAE and VQ-VAE: acaikit and pythae's trainers, as they come
and with channels_last and fused Adam.

Each program has a process of its own; all have the same number of threads and, as acaikit's command line sets them, the
same C library's allocator, which keeps freed memory, and the same brief spinning of OpenMP's threads (TensorFlow has
threads of its own). They take turns, round after round, and train on the same number of batches in each. acaikit draws
its lines and trains its probe; pythae loads what was drawn beforehand with its DataLoader; the authors' graph, which
also trains a probe, and the step by hand are given batches in memory.

A program that isn't installed is left out; all are there after

    pip install -e . pythae tensorflow-cpu==2.16.2
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version

import torch

from acaikit.config import build, read_recipe
from benchmarks.peers.child import child
from benchmarks.timing import arguments, interleaved, medians, publish, spread, table

OURS, EAGER = "acaikit", "eager PyTorch by hand"
AUTHORS, EIGEN = "the authors' program", "the authors' program, without oneDNN"
PYTHAE, TUNED = "pythae", "pythae, channels_last, fused Adam"
PROGRAMS = {
    OURS: "ours:program",
    EAGER: "eager:program",
    AUTHORS: "authors:program",
    EIGEN: "authors:program",
    PYTHAE: "pythae:program",
    TUNED: "pythae:tuned",
}
NEEDS = {AUTHORS: "tensorflow-cpu", EIGEN: "tensorflow-cpu", PYTHAE: "pythae", TUNED: "pythae"}
"""The distribution that a program needs beside acaikit's own."""
ENVIRONMENT = {EIGEN: {"TF_ENABLE_ONEDNN_OPTS": "0"}}
"""The variables that a program is started with."""
RECIPES = {
    "lines_acai_64": (OURS, EAGER, AUTHORS, EIGEN),
    "lines_vae_64": (OURS, PYTHAE, TUNED),
    "lines_aae_64": (OURS, PYTHAE, TUNED),
    "lines_vqvae_64": (OURS, PYTHAE, TUNED),
}


def missing() -> list[str]:
    """Return the distributions that programs need and that aren't installed."""
    return sorted(name for name in set(NEEDS.values()) if _version(name) is None)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def compare(recipe: str, rounds: int, batches: int, threads: int) -> list[list[str]]:
    """Return the table's rows of a recipe."""
    absent = missing()
    names = [name for name in RECIPES[recipe] if NEEDS.get(name) not in absent]
    with ExitStack() as stack:
        children = {name: child(PROGRAMS[name], recipe, batches, threads, ENVIRONMENT.get(name, {})) for name in names}
        programs = {name: stack.enter_context(started) for name, started in children.items()}
        times = interleaved(programs, rounds)
    examples = batches * build(read_recipe(recipe)).batch_size
    middle = medians(times)
    return [
        [
            recipe,
            name,
            f"{examples / middle[name]:,.0f}",
            spread([examples / seconds for seconds in times[name]], digits=0),
            "" if name == OURS else f"{middle[name] / middle[OURS]:.2f}",
        ]
        for name in names
    ]


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__, "peers", rounds=5)
    parser.add_argument("--batches", type=int, default=10, help="batches in a turn (default: 10)")
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=list(RECIPES), help="only these (default: all)")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    rows = [row for recipe in options.recipe for row in compare(recipe, options.rounds, options.batches, threads)]
    header = ["recipe", "program", "samples/s", "half of the rounds", "acaikit is faster by"]
    installed = ", ".join(f"{name} {found}" for name in sorted(set(NEEDS.values())) if (found := _version(name)))
    note = (
        f"Medians of {options.rounds} interleaved rounds of {options.batches} batches of 64; {installed or 'no peers'}."
    )
    absent = [f"Not installed: pip install {name}" for name in missing()]
    publish(options, "acaikit beside other programs", table(header, rows), note, *absent)


if __name__ == "__main__":
    main()
