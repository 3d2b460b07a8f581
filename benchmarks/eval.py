"""The lines score of 256 paths of 16 images, 32x32, beside the straightforward program.

    python -m benchmarks.eval [--paths 256]        # a minute or more, most of it scipy's

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

import math
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
from benchmarks.timing import arguments, clocked, medians, publish, spread, table

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
    """Publish the numbers, how far they are apart, the medians and their ratios."""
    parser = arguments(__doc__, "eval", rounds=3)
    parser.add_argument("--paths", type=int, default=256, help="of 16 images (default: 256)")
    options = parser.parse_args()
    dataset = Lines(32, 32)
    images, ends = paths(dataset, options.paths)
    flat = images.flatten(0, 1).flatten(1).double().numpy()
    true = dataset.render(dataset.factor.grid(REFERENCES)).flatten(1).double().numpy()

    def first_time() -> Scores:
        references.cache_clear()
        return score_paths(images, dataset, ends)

    def product() -> Scores:
        one, other = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (flat, true))
        return by_definition(1 - one @ other.T, ends)

    programs: dict[str, Callable[[], Scores]] = {
        "acaikit": lambda: score_paths(images, dataset, ends),
        "acaikit, first time": first_time,
        "`cdist`": lambda: by_definition(cdist(flat, true, "cosine"), ends),
        "one product in numpy": product,
    }
    found = {name: program() for name, program in programs.items()}
    times, works = clocked(programs, options.rounds, warm=0)
    wall, cpu = medians(times), medians(works)
    speeds = [
        (
            name,
            f"{wall[name]:.3f}",
            spread(times[name], digits=3),
            f"{cpu[name]:.3f}",
            f"{wall[name] / wall['acaikit']:.1f}",
            f"{cpu[name] / cpu['acaikit']:.1f}",
        )
        for name in programs
    ]
    scores = [
        (score, f"{value:.6g}", f"{max(abs(other[score] - value) for other in found.values()):.1g}")
        for score, value in found["`cdist`"].items()
    ]
    publish(
        options,
        "The lines score",
        f"{len(images)} paths of {STEPS} images of 32x32, {REFERENCES:,} references; {options.rounds} rounds.",
        table(
            ["", "seconds", "half of the rounds", "seconds on the CPUs", "acaikit is faster by", "on the CPUs"], speeds
        ),
        table(["score", "by definition", "the programs differ by at most"], scores),
    )


if __name__ == "__main__":
    main()
