"""The lines score of 256 paths of 16 images, 32x32, beside the straightforward program.

    python -m benchmarks.eval [--rounds 3] [--paths 256] [--threads N]

The same five numbers are computed in turn, round after round, by three programs; the medians are compared, of the time
that passes and of the time spent on CPUs, which other programs on the machine disturb less.

- acaikit: `score_paths`, both the first time, when it draws the 10,000 reference lines, and with these at hand.
- straightforward: the whole matrix of distances by scipy's ``cdist(images, references, "cosine")``, and then the
  definitions, one path at a time; its references are drawn beforehand.
- one product: the same with the matrix from one product of unit vectors in numpy.

A quarter of the paths is perfect, a quarter cross-dissolves, a quarter switches abruptly, and a quarter is as a decoder
draws it: a little blurred and noisy, with uneven steps.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from acaikit.data import Lines
from acaikit.evaluators.factor import REFERENCES, references, score_paths

STEPS = 16
Matrix = NDArray[np.float64]
Scores = dict[str, float]


def paths(dataset: Lines, count: int) -> tuple[Tensor, Tensor]:
    """Return paths ``[4 * (count // 4), 16, 1, 32, 32]`` of the four kinds, and the true angles of their ends."""
    draw = np.random.default_rng(0)
    first, last = draw.uniform(0, 2 * np.pi, (2, 4, count // 4, 1))
    last = first + (last - first + np.pi) % (2 * np.pi) - np.pi
    t = np.linspace(0, 1, STEPS)

    def drawn(angles: Matrix) -> Tensor:
        return dataset.render(torch.from_numpy(angles).flatten()).view(*angles.shape, *dataset.shape)

    perfect = drawn(first[0] + (last[0] - first[0]) * t)
    a, b = drawn(first[1]), drawn(last[1])
    weight = torch.from_numpy(t).float().view(-1, 1, 1, 1)
    dissolve = (1 - weight) * a + weight * b
    switch = drawn(np.where(t < 0.5, first[2], last[2]))
    uneven = drawn(first[3] + (last[3] - first[3]) * np.clip(t + draw.normal(0, 0.02, t.shape), 0, 1)).flatten(0, 1)
    blurred = 0.7 * uneven + 0.3 * F.avg_pool2d(F.pad(uneven, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noise = torch.from_numpy(draw.normal(0, 0.02, blurred.shape)).float()
    decoded = (blurred + noise).view(perfect.shape)
    ends = torch.from_numpy(np.concatenate([first, last], 2).reshape(-1, 2) % (2 * np.pi))
    return torch.cat([perfect, dissolve, switch, decoded]), ends


def by_definition(cost: Matrix, ends: Tensor) -> Scores:
    """Return the scores of method and paper from all distances ``[paths * 16, references]``, one path at a time."""
    nearest, closest = cost.argmin(1), cost.min(1)
    smoothness, errors = [], []
    angles = [2 * math.pi * q / cost.shape[1] for q in nearest]
    for p, true in enumerate(ends.tolist()):
        path = angles[STEPS * p : STEPS * (p + 1)]
        errors += [math.degrees(math.acos(math.cos(path[i] - true[i]))) for i in (0, -1)]
        unwrapped = path[:1]
        for before, after in pairwise(path):
            turn = after - before
            unwrapped.append(unwrapped[-1] + turn - 2 * math.pi * (abs(turn) > math.pi) * math.copysign(1, turn))
        whole = abs(unwrapped[-1] - unwrapped[0])
        if whole >= 1e-4:
            largest = max(abs(after - before) for before, after in pairwise(unwrapped))
            smoothness.append(largest / whole - 1 / (STEPS - 1))
    return {
        "mean_distance": float(closest.mean()),
        "smoothness_paper": sum(smoothness) / len(ends),
        "smoothness_strict": sum(smoothness) / len(smoothness) if smoothness else math.nan,
        "undefined_share": 1 - len(smoothness) / len(ends),
        "endpoint_error_deg": sum(errors) / len(errors),
    }


def main() -> None:
    """Print the numbers, how far they are apart, the medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--paths", type=int, default=256)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    dataset = Lines(32, 32)
    images, ends = paths(dataset, options.paths)
    flat = images.flatten(0, 1).flatten(1).double().numpy()
    true = dataset.render(dataset.factor.grid(REFERENCES)).flatten(1).double().numpy()

    def first_time() -> Scores:
        references.cache_clear()
        return score_paths(images, dataset, ends)

    def product() -> Scores:
        units = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (flat, true))
        one, other = units
        return by_definition(1 - one @ other.T, ends)

    programs: dict[str, Callable[[], Scores]] = {
        "acaikit": lambda: score_paths(images, dataset, ends),
        "acaikit, first time": first_time,
        "straightforward": lambda: by_definition(cdist(flat, true, "cosine"), ends),
        "one product": product,
    }
    found: dict[str, Scores] = {name: {} for name in programs}
    times: dict[str, list[float]] = {name: [] for name in programs}
    work: dict[str, list[float]] = {name: [] for name in programs}
    first_time()
    for _ in range(options.rounds):
        for name, program in programs.items():
            start, begun = time.perf_counter(), time.process_time()
            found[name] = program()
            times[name].append(time.perf_counter() - start)
            work[name].append(time.process_time() - begun)
    wall, cpu = ({name: statistics.median(values) for name, values in by.items()} for by in (times, work))
    print(f"{len(images)} paths of {STEPS} images of 32x32, {REFERENCES:,} references", end=", ")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for score, value in found["straightforward"].items():
        apart = max(abs(scores[score] - value) for scores in found.values())
        print(f"{score:20} {value:12.6g}   the programs differ by at most {apart:.1g}")
    print(f"median of {options.rounds} interleaved rounds")
    for name in programs:
        faster, cheaper = wall[name] / wall["acaikit"], cpu[name] / cpu["acaikit"]
        spent = f"{wall[name]:8.3f} s, {cpu[name]:8.3f} s on the CPUs"
        print(f"{name:20} {spent}   acaikit is faster by {faster:.1f}, and by {cheaper:.1f} on the CPUs")


if __name__ == "__main__":
    main()
