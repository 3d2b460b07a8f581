"""The linear probe's solver: scikit-learn's logistic regression beside torch's LBFGS over the full batch.

    python -m benchmarks.probe [--threads N] [--strengths 0.1 0.01 0.001 0.0001 0.00001]

Both minimise the same objective on the same standardised codes of MNIST's 60,000 training images, in float32, from the
strongest regularisation to the weakest, each fit from where the last one ended; scikit-learn also in float64. The codes
are those of an untrained encoder (256 numbers) and the pixels (1,024). MNIST is fetched where it is missing.

Times are of the processor: on one thread they hold still where others use the machine.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from acaikit.data import MNIST
from acaikit.evaluators.codes import Codes
from acaikit.evaluators.linear_probe import ITERATIONS, TOLERANCE, standardised
from acaikit.nets import ConvEncoder
from acaikit.rng import initialise

CLASSES = 10
Weights = NDArray[np.float64]
"""``[classes, D + 1]``, the biases last."""
Solver = Callable[[NDArray[np.floating], NDArray[np.int64], list[float]], Iterator[tuple[Weights, int]]]


def sklearn_lbfgs(
    x: NDArray[np.floating], y: NDArray[np.int64], strengths: list[float]
) -> Iterator[tuple[Weights, int]]:
    """Yield each strength's weights and iterations."""
    model = LogisticRegression(tol=TOLERANCE, max_iter=ITERATIONS, warm_start=True)
    for strength in strengths:
        model.C = 1 / (strength * len(x))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y)
        yield np.column_stack([model.coef_, model.intercept_]).astype(np.float64), int(model.n_iter_[0])


def sklearn_float64(
    x: NDArray[np.floating], y: NDArray[np.int64], strengths: list[float]
) -> Iterator[tuple[Weights, int]]:
    """Yield the same, computed in float64."""
    return sklearn_lbfgs(x.astype(np.float64), y, strengths)


def torch_lbfgs(x: NDArray[np.floating], y: NDArray[np.int64], strengths: list[float]) -> Iterator[tuple[Weights, int]]:
    """Yield each strength's weights and iterations."""
    codes, labels = torch.from_numpy(x), torch.from_numpy(y)
    w = torch.zeros(CLASSES, x.shape[1] + 1, requires_grad=True)
    for strength in strengths:
        optimizer = torch.optim.LBFGS(
            [w], max_iter=ITERATIONS, history_size=10, tolerance_grad=TOLERANCE, line_search_fn="strong_wolfe"
        )

        def closure(strength: float = strength, optimizer: torch.optim.LBFGS = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(F.linear(codes, w[:, :-1], w[:, -1]), labels)
            loss = loss + strength / 2 * w[:, :-1].square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        yield w.detach().double().numpy(), optimizer.state[w]["n_iter"]


SOLVERS: dict[str, Solver] = {
    "scikit-learn": sklearn_lbfgs,
    "scikit-learn, float64": sklearn_float64,
    "torch LBFGS": torch_lbfgs,
}


def objective(w: Weights, x: NDArray[np.floating], y: NDArray[np.int64], strength: float) -> float:
    """Return what is minimised, in float64."""
    logits = torch.from_numpy(x.astype(np.float64) @ w[:, :-1].T + w[:, -1])
    return float(F.cross_entropy(logits, torch.from_numpy(y))) + strength / 2 * float(np.square(w[:, :-1]).sum())


def compare(name: str, codes: Codes, strengths: list[float]) -> None:
    """Print what each solver reaches and how long it takes."""
    train, test = standardised(codes.train, codes.test)
    print(f"{name}: {train.shape[0]:,} x {train.shape[1]:,}")
    for solver, run in SOLVERS.items():
        total, start = 0.0, time.process_time()
        for strength, (w, iterations) in zip(strengths, run(train, codes.train_labels, strengths), strict=True):
            took = time.process_time() - start
            total += took
            right = (test @ w[:, :-1].T + w[:, -1]).argmax(1) == codes.test_labels
            reached = objective(w, train, codes.train_labels, strength)
            print(
                f"  {solver:22} strength {strength:<8g} {iterations:4} iterations {took:7.1f} s"
                f"   objective {reached:.6f}   test accuracy {100 * right.mean():.2f} %",
                flush=True,
            )
            start = time.process_time()
        print(f"  {solver:22} in all {total:38.1f} s", flush=True)


def main() -> None:
    """Compare the solvers on codes and on pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--strengths", type=float, nargs="+", default=[1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    encoder = ConvEncoder(depth=16, scales=3, latent=16)
    encoder.build(MNIST().shape)
    initialise(encoder, 0, "encoder")
    with threadpool_limits(arguments.threads):
        compare("an untrained encoder's codes", Codes.of(MNIST(), encoder, 60_000, "cpu"), arguments.strengths)
        compare("pixels", Codes.raw(MNIST(), 60_000), arguments.strengths)


if __name__ == "__main__":
    main()
