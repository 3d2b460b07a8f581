"""The engine: the only training loop.

A `Trainer` is everything that changes while a run trains, and can save and restore all of it, bit for bit. `train`
drives it to its budget and tells callbacks what happens.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Protocol

import torch
from torch import Tensor

from acaikit import checks
from acaikit.data.base import Batch, Stream
from acaikit.errors import EvaluationError, EvaluationWarning, UserError
from acaikit.evaluators.base import Evaluator, Result, Trained
from acaikit.experiment import Experiment
from acaikit.nets import channels_last
from acaikit.objective import Objective, generators
from acaikit.progress import silent
from acaikit.rng import generator
from acaikit.types import Scores


class Trainer:
    """One experiment in training.

    Parameters
    ----------
    experiment : Experiment
        What to train.
    device : torch.device or str
        Where to train.

    Attributes
    ----------
    model, probe : Autoencoder, Probe or None
        What is trained.
    samples : int
        Training examples shown so far.
    steps : int
        Optimizer steps taken so far.
    budget : int
        Training examples to show in all.
    """

    def __init__(self, experiment: Experiment, device: torch.device | str = "cpu") -> None:
        self.experiment, self.device = experiment, torch.device(device)
        self.model, self.probe = experiment.build()
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = Objective(self.model, self.probe)
        if self.probe is not None:
            self.probe.to(self.device)
        self.optimizers = {
            name: torch.optim.Adam(parameters, experiment.learning_rate, fused=True)
            for name, parameters in self.objective.players.items()
        }
        seed = experiment.seed
        self.noise = generators(self.model, seed, self.device)
        self.data_order = generator(seed, "data")
        self.stream = experiment.dataset.train(experiment.batch_size, self.data_order, self.device)
        checks.instance(f"what {type(experiment.dataset).__name__}.train returns", self.stream, Stream)
        self.samples = self.steps = 0
        self.budget = experiment.samples
        self._sums: dict[str, Tensor] = {}
        self._summed = 0

    @property
    def trained(self) -> Trained:
        """What evaluators look at."""
        return Trained(self.model, self.probe, self.experiment.dataset)

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.samples >= self.budget

    def step(self) -> dict[str, Tensor]:
        """Show one batch to every player and let every optimizer step; return the losses by name, detached."""
        x, y = self._batch()
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        losses, views = self.objective.backward(channels_last(x), y, self.noise)
        for optimizer in self.optimizers.values():
            optimizer.step()
        with torch.no_grad():
            for name, regularizer in self.model.regularizers.items():
                regularizer.after_step(views[name])
            for name, loss in losses.items():
                self._sums[name] = self._sums[name] + loss if name in self._sums else loss
        self.steps += 1
        self.samples += len(x)
        self._summed += 1
        return losses

    def _batch(self) -> Batch:
        batch, dataset = self.stream.next(), self.experiment.dataset
        match batch:
            case (Tensor(), Tensor() | None) if batch[0].shape[1:] == tuple(dataset.shape):
                return batch
        shape = ", ".join(map(str, dataset.shape))
        raise UserError(
            f"{type(dataset).__name__}'s stream must give (x, y): x of shape [B, {shape}], y of [B] or None"
        )

    def mean_losses(self) -> dict[str, float]:
        """Return each loss's mean over the steps since the last call."""
        means = {name: (total / self._summed).item() for name, total in self._sums.items()}
        self._sums, self._summed = {}, 0
        return means

    def evaluate(self) -> Scores:
        """Return the scores of the experiment's evaluators that fit, as ``evaluator/score``; changes no state."""
        return evaluate(self.trained, self.experiment.evaluators)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes in training."""
        randomness = {"data": self.data_order, **{f"noise/{name}": g for name, g in self.noise.items()}}
        return {
            "model": self.model.state_dict(),
            "probe": None if self.probe is None else self.probe.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generators": {name: g.get_state() for name, g in randomness.items()},
            "data": self.stream.state_dict(),
            "losses": {"sums": self._sums, "count": self._summed},
            "samples": self.samples,
            "steps": self.steps,
            "budget": self.budget,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises
        ------
        UserError
            If the state is that of another experiment.
        """
        try:
            self.model.load_state_dict(state["model"])
            if self.probe is not None:
                self.probe.load_state_dict(state["probe"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
                _lay_out_like_parameters(optimizer)
            for name, noise in self.noise.items():
                noise.set_state(state["generators"][f"noise/{name}"])
            self.data_order.set_state(state["generators"]["data"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"the checkpoint doesn't fit the experiment: {error}") from error
        self.stream.load_state_dict(state["data"])
        self._sums = {name: total.to(self.device) for name, total in state["losses"]["sums"].items()}
        self._summed = state["losses"]["count"]
        self.samples, self.steps, self.budget = state["samples"], state["steps"], state["budget"]


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    # A fused optimizer walks parameters and moments in memory order, so restored moments need the parameters' strides.
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)


def evaluate(trained: Trained, evaluators: Sequence[Evaluator]) -> Scores:
    """Return all scores of the evaluators that fit, as ``evaluator/score``; none of one that can't measure."""
    scores: Scores = {}
    with trained.evaluating(), silent():
        for evaluator in evaluators:
            if evaluator.fits(trained):
                try:
                    found = result_of(evaluator, trained).scores
                except EvaluationError as error:
                    warnings.warn(f"no {evaluator.key} scores: {error}", EvaluationWarning, stacklevel=2)
                    continue
                scores |= {f"{evaluator.key}/{name}": value for name, value in found.items()}
    return scores


def result_of(evaluator: Evaluator, trained: Trained) -> Result:
    """Return what an evaluator finds; raise `UserError` where that is no `Result` of numbers."""
    said = f"{type(evaluator).__name__}.evaluate"
    found = evaluator.evaluate(trained)
    checks.instance(f"what {said} returns", found, Result)
    checks.instance(f"the scores that {said} returns", found.scores, dict)
    checks.instance(f"the arrays that {said} returns", found.arrays, dict)
    for name, score in found.scores.items():
        if not isinstance(score, Real):
            raise UserError(f"{said} returns {checks.said(score)} as the score {name!r}: return a number, float(...)")
    return found


class Callback(Protocol):
    """What wants to know how training goes."""

    def on_step(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        """Called after every step, with its losses still on the device: reading one waits for the device."""

    def on_row(self, trainer: Trainer, losses: dict[str, float], scores: Scores) -> None:
        """Called after every evaluation, with the mean losses since the one before."""


def train(trainer: Trainer, callbacks: Sequence[Callback] = (), stop: Callable[[], bool] = lambda: False) -> None:
    """Train until the budget is spent or `stop()` says so.

    Evaluates every ``experiment.evaluate_every`` samples and at the end.

    A stop falls between two steps; training can go on from there as if it had never stopped.
    """
    every = trainer.experiment.evaluate_every
    while not trainer.finished and not stop():
        before = trainer.samples
        last = trainer.step()
        for callback in callbacks:
            callback.on_step(trainer, last)
        if trainer.finished or trainer.samples // every > before // every:
            scores = trainer.evaluate()
            losses = trainer.mean_losses()
            for callback in callbacks:
                callback.on_row(trainer, losses, scores)
