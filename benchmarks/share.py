"""What evaluating costs, as a share of training, at the paper's interval of 2^16 samples.

    python -m benchmarks.share [RECIPE ...] [--rounds 5] [--threads N] [-o [FILE]]

Each evaluator of a recipe, and the row of metrics with the signs of health, take turns with a few training steps; their
times are set beside that of the interval's steps. Checkpoints are another matter, see `benchmarks.artifacts`.

Random images stand for sets that are read from files, and a thousand for the test set: the time of an evaluator is
taken to grow with the images that it measures. The networks are hardly trained, when the lines score takes longest, as
what they draw resembles no line: see `acaikit.evaluators.closest`.

The last line is the floating-point work of a code of every test image, which is one pass of the encoder, in the least
that the steps can take (`benchmarks.work`): while networks are evaluated no faster than they are trained, the probe's
accuracy on the whole test set costs that share.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from acaikit.artifacts.metrics import Metrics
from acaikit.data.base import Split
from acaikit.engine import Trainer
from acaikit.evaluators import Evaluator
from acaikit.evaluators.measure import measure
from acaikit.experiment import Experiment
from acaikit.runs.training import row
from benchmarks.least import least, model_of, nets_of
from benchmarks.standin import StandIn, experiment_of
from benchmarks.timing import arguments, interleaved, medians, publish, table

RECIPES = ["lines_acai_64", "lines_baseline_64", "mnist_acai_256", "svhn_acai_256", "svhn_baseline_256"]
TESTS = {"mnist": 10_000, "svhn": 26_032, "cifar10": 10_000}
"""Test images of sets that are read from files."""
PART = 1_000
"""How many of them stand for all."""
STEPS = 4
"""Steps in a turn."""
GOAL = 0.03
EVALUATORS = {"factor": "lines score", "probe": "probe", "reconstruction": "reconstruction"}
ROW, TRAINING = "row of metrics", "training"


class Part(StandIn):
    """A stand-in with a small test set, made once as a set that is read from files is."""

    def __init__(self, like: StandIn) -> None:
        super().__init__(like.shape, like.classes)
        whole = super().test()
        assert whole.labels is not None
        self.part = Split(whole.data[:PART], whole.labels[:PART])

    def test(self) -> Split:
        """Return the part."""
        return self.part


def prepared(recipe: str) -> tuple[Experiment, int]:
    """Return a recipe's experiment, and how many test images it has in truth."""
    experiment = experiment_of(recipe)
    data = experiment.dataset
    if not isinstance(data, StandIn):
        return experiment, len(data.test())
    return replace(experiment, dataset=Part(data)), TESTS[recipe.partition("_")[0]]


def programs(trainer: Trainer, folder: Path) -> dict[str, Callable[[], object]]:
    """Return what is timed of a recipe: steps, every evaluator by its key, and the row."""
    metrics, rows = Metrics(folder, "benchmark"), iter(range(1_000_000))
    losses = {name: loss.item() for name, loss in trainer.step().items()}
    scores = trainer.evaluate()

    def steps() -> None:
        for _ in range(STEPS):
            trainer.step()

    def write() -> None:
        metrics.append(next(rows), row(trainer, losses, scores))

    each = {e.key: partial(measure, trainer.trained, [e]) for e in trainer.experiment.evaluators}
    return {"steps": steps, **each, ROW: write}


def times(evaluator: Evaluator, here: int, truly: int) -> float:
    """Return how many times as many test images as `here` an evaluator measures where there are `truly` so many."""
    limit = getattr(evaluator, "limit", None) or truly
    return min(limit, truly) / min(limit, here)


def shares(recipe: str, rounds: int) -> dict[str, str]:
    """Return a recipe's column of the table."""
    experiment, tests = prepared(recipe)
    trainer = Trainer(experiment)
    with tempfile.TemporaryDirectory() as folder:
        spent = medians(interleaved(programs(trainer, Path(folder) / "metrics"), rounds))
    steps = experiment.evaluate_every // experiment.batch_size
    training = steps * spent["steps"] / STEPS
    here = len(experiment.dataset.test())
    parts = {EVALUATORS[e.key]: times(e, here, tests) * spent[e.key] for e in experiment.evaluators} | {ROW: spent[ROW]}
    whole = sum(parts.values())
    nets = nets_of(recipe, experiment)
    codes = tests * sum(layer.work() for layer in nets["e"])
    count = codes / (steps * experiment.batch_size * least(model_of(recipe), nets))
    return {
        TRAINING: f"{training:,.1f} s, {steps:,} steps",
        **{name: f"{seconds:.2f} s, {seconds / training:.2%}" for name, seconds in parts.items()},
        "sum": f"{whole:.2f} s, {whole / training:.2%}",
        f"goal: under {GOAL:.0%}": "met" if whole < GOAL * training else "missed",
        "codes of the test set, by count": f"{count:.2%}",
    }


def known(recipe: str) -> str:
    """Return the name of a recipe, one of `RECIPES`: argparse's choices don't go with any number of arguments."""
    if recipe not in RECIPES:
        raise argparse.ArgumentTypeError(f"{recipe!r} is none of {', '.join(RECIPES)}")
    return recipe


def main() -> None:
    """Measure and publish."""
    parser = arguments(__doc__, "share", rounds=5)
    parser.add_argument("recipes", nargs="*", type=known, default=RECIPES, metavar="RECIPE", help=", ".join(RECIPES))
    options = parser.parse_args()
    columns = {recipe: shares(recipe, options.rounds) for recipe in options.recipes}
    names = dict.fromkeys([TRAINING, *EVALUATORS.values(), *(name for found in columns.values() for name in found)])
    rows = [[name, *(found.get(name, "") for found in columns.values())] for name in names]
    publish(options, "Evaluation's share of training", table(["", *columns], rows))


if __name__ == "__main__":
    main()
