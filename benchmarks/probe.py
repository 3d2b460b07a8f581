"""The linear probe's solver: scikit-learn's logistic regression beside torch's LBFGS over the full batch.

    python -m benchmarks.probe                           # MNIST in the data folder; about three minutes
    python -m benchmarks.probe --strengths 0.1 0.01      # less than one

All minimise the same objective on the same standardised codes of MNIST's 60,000 training images, from the strongest
regularisation to the weakest, each fit from where the last one ended. The codes are those of an untrained encoder (256
numbers) and the pixels (1,024). MNIST is fetched where it is missing.

Each fit is made once. Times are of the processor: on one thread, the default, they hold still where others use the
machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import sklearn
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from acaikit.data import MNIST
from acaikit.evaluators.codes import Codes, Floats, Labels
from acaikit.evaluators.linear_probe import ITERATIONS, TOLERANCE, fits, standardised
from acaikit.nets import ConvEncoder
from acaikit.rng import initialise
from benchmarks.timing import arguments, publish, table

CLASSES = 10
Weights = NDArray[np.float64]
"""``[classes, D + 1]``, the biases last."""
Solver = Callable[[Floats, Labels, list[float]], Iterator[tuple[Weights, int]]]


def sklearn_lbfgs(x: Floats, y: Labels, strengths: list[float], dtype: str) -> Iterator[tuple[Weights, int]]:
    """Yield each strength's weights and iterations: in float32, what the linear probe does."""
    for model in fits(x.astype(dtype), y, strengths):
        yield np.column_stack([model.coef_, model.intercept_]).astype(np.float64), int(model.n_iter_[0])


def torch_lbfgs(x: Floats, y: Labels, strengths: list[float], dtype: str) -> Iterator[tuple[Weights, int]]:
    """Yield each strength's weights and iterations, from torch's LBFGS over the full batch."""
    codes, labels = torch.from_numpy(x.astype(dtype)), torch.from_numpy(y)
    layer = torch.nn.Linear(x.shape[1], CLASSES, dtype=codes.dtype)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    for strength in strengths:
        optimizer = torch.optim.LBFGS(
            layer.parameters(),
            max_iter=ITERATIONS,
            history_size=10,
            tolerance_grad=TOLERANCE,
            line_search_fn="strong_wolfe",
        )

        def closure(strength: float = strength, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(layer(codes), labels) + strength / 2 * layer.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        w = torch.cat([layer.weight, layer.bias[:, None]], 1).detach().double().numpy()
        yield w, optimizer.state[layer.weight]["n_iter"]


SOLVERS: dict[str, Solver] = {
    f"{name}, {dtype}": partial(solver, dtype=dtype)
    for name, solver in {"scikit-learn": sklearn_lbfgs, "torch LBFGS": torch_lbfgs}.items()
    for dtype in ("float32", "float64")
}


def objective(w: Weights, x: Floats, y: Labels, strength: float) -> float:
    """Return what is minimised, in float64."""
    logits = torch.from_numpy(x @ w[:, :-1].T + w[:, -1])
    return float(F.cross_entropy(logits, torch.from_numpy(y))) + strength / 2 * float(np.square(w[:, :-1]).sum())


def compare(codes: Codes, strengths: list[float]) -> tuple[str, str]:
    """Return each solver's time for all strengths, and what each fit reaches."""
    train, test = standardised(codes.train, codes.test)
    times, fitted = [], []
    for name, solver in SOLVERS.items():
        found, took, start = solver(train, codes.train_labels, strengths), 0.0, time.process_time()
        for strength, (w, iterations) in zip(strengths, found, strict=True):
            seconds = time.process_time() - start
            took += seconds
            right = (test @ w[:, :-1].T + w[:, -1]).argmax(1) == codes.test_labels
            reached = objective(w, train, codes.train_labels, strength)
            fitted.append(
                (name, f"{strength:g}", iterations, f"{seconds:.1f}", f"{reached:.5f}", f"{100 * right.mean():.2f} %")
            )
            start = time.process_time()
        times.append((name, f"{took:.1f}"))
    header = ["", "strength", "iterations", "processor's seconds", "objective", "test accuracy"]
    return table(["all strengths", "processor's seconds"], times), table(header, fitted)


def main() -> None:
    """Compare the solvers on codes and on pixels."""
    parser = arguments(__doc__, "probe", rounds=None)
    parser.add_argument("--strengths", type=float, nargs="+", default=[1e-1, 1e-2, 1e-3, 1e-4])
    parser.set_defaults(threads="1")
    options = parser.parse_args()
    dataset = MNIST()
    dataset.prepare()
    encoder = ConvEncoder(depth=16, scales=3, latent=16)
    encoder.build(dataset.shape)
    initialise(encoder, 0, "encoder")
    compared = {
        "An untrained encoder's codes": Codes.of(dataset, encoder, 60_000, "cpu"),
        "Pixels": Codes.raw(dataset, 60_000),
    }
    parts = []
    with threadpool_limits(options.threads):
        for name, codes in compared.items():
            columns = f"{codes.train.shape[0]:,} x {codes.train.shape[1]:,}"
            parts += [f"## {name}: {columns}", *compare(codes, options.strengths)]
    publish(options, "The linear probe's solver", f"scikit-learn {sklearn.__version__}.", *parts)


if __name__ == "__main__":
    main()
