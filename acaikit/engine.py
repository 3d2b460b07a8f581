"""The engine: the only training loop.

A `Trainer` is everything that changes while a run trains, and can save and restore all of it, bit for bit. `train`
drives it to its budget and tells callbacks what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from acaikit import checks
from acaikit.adam import Adam
from acaikit.captured import CudaGraphs
from acaikit.data.base import Batch, Stream
from acaikit.divergence import LOOK_EVERY, ON_NAN, Diverged, not_finite
from acaikit.errors import UserError
from acaikit.evaluators.base import Trained
from acaikit.evaluators.measure import measure
from acaikit.experiment import Experiment
from acaikit.fingerprint import fingerprint
from acaikit.fit import check_state, completed
from acaikit.health import SETTLED, Sign, latent_scale
from acaikit.memory import check_memory, telling_of_memory
from acaikit.objective import Objective, generators
from acaikit.precision import PRECISIONS, compute_in
from acaikit.rng import derive_seed, generator, global_states, seed_globals, set_global_states
from acaikit.stepping import Stepper
from acaikit.types import Scores, Step


class Trainer:
    """One experiment in training.

    On a GPU the host stays out of the step: steps are recorded once and replayed, where all parts can be, and whether
    a step's numbers were finite is told by the device a few steps later, see `look`.

    Parameters
    ----------
    experiment : Experiment
        What to train.
    device : torch.device or str
        Where to train.
    on_nan : str
        What `step` does where a loss or a gradient is not finite: "stop" and "rewind" raise `Diverged`, "skip" leaves
        out the update.
    precision : str
        "tf32", "float32" or "bf16", see `acaikit.precision`.

    Attributes
    ----------
    model, probe : Autoencoder, Probe or None
        What is trained.
    stepper : Stepper
        Takes the steps.
    samples : int
        Training examples shown so far.
    steps : int
        Optimizer steps taken so far.
    budget : int
        Training examples to show in all.
    rewinds : int
        How often training went back and drew anew, see `stray`.

    Raises
    ------
    UserError
        If the parts don't fit together, they or a batch take more memory than there is, `on_nan` or `precision` is
        another, or the device can't compute in that precision.
    """

    def __init__(
        self,
        experiment: Experiment,
        device: torch.device | str = "cpu",
        on_nan: str = "stop",
        precision: str = PRECISIONS[0],
    ) -> None:
        if on_nan not in ON_NAN:
            raise UserError(f"on_nan must be one of {', '.join(ON_NAN)}, not {checks.said(on_nan)}")
        self.experiment, self.device = experiment, torch.device(device)
        size = experiment.batch_size
        what = f"a batch of Experiment.batch_size = {size:,}"
        check_memory(what, 4 * size * prod(experiment.dataset.shape), "lower it")
        self.model, self.probe = experiment.build()
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = Objective(self.model, self.probe)
        if self.probe is not None:
            self.probe.to(self.device)
        self.optimizers = {
            name: Adam(parameters, experiment.learning_rate, fused=True)
            for name, parameters in self.objective.players.items()
        }
        self.stepper = Stepper(self.objective, self.optimizers, self.device)
        if self.device.type == "cuda":
            self.stepper.defer(LOOK_EVERY)
            self.stepper.record(CudaGraphs(self.device))
        self._sow(experiment.seed)
        self.samples = self.steps = 0
        self.budget = experiment.samples
        self.on_nan = on_nan
        self._hooks: list[RemovableHandle] = []
        self.precision = precision
        self._skipped = self._skips = self.rewinds = 0
        self._ahead: list[int] = []
        self._last: tuple[Tensor, dict[str, Step]] | None = None
        self._restored_under: dict[str, Any] | None = None

    @property
    def on_nan(self) -> str:
        """What becomes of a step whose numbers are not finite."""
        return self._on_nan

    @on_nan.setter
    def on_nan(self, on_nan: str) -> None:
        self._on_nan = on_nan
        self.stepper.guard.set(skip=on_nan == "skip")

    @property
    def precision(self) -> str:
        """How exactly steps compute."""
        return self._precision

    @precision.setter
    def precision(self, precision: str) -> None:
        hooks = compute_in(precision, self.model, self.device)
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._precision = hooks, precision
        self.stepper.forget()

    @property
    def skipped(self) -> int:
        """Steps whose update was left out; this looks at the device."""
        self.look()
        return self._skipped

    def _sow(self, seed: int) -> None:
        """Make every generator anew, and the data stream, which may hold what was drawn from the old one."""
        experiment = self.experiment
        self.noise = self.stepper.noise = generators(self.model, seed, self.device)
        self.data_order = generator(seed, "data")
        self.stream = experiment.dataset.train(experiment.batch_size, self.data_order, self.device)
        checks.instance(f"what {type(experiment.dataset).__name__}.train returns", self.stream, Stream)
        seed_globals(seed)
        self.stepper.forget()

    def stray(self, rewinds: int | None = None) -> None:
        """Make every generator and the data stream anew, so that what follows is another draw than before.

        The draw depends on the experiment's seed, the consumer's name and `rewinds` alone.

        Parameters
        ----------
        rewinds : int, optional
            How many rewinds there were, this one included; left out, one more than before. Whoever restores an earlier
            state first, and its count with it, gives the number: the same draw would end in the same way.
        """
        self.rewinds = self.rewinds + 1 if rewinds is None else rewinds
        self._sow(derive_seed(self.experiment.seed, f"rewind {self.rewinds}"))

    @property
    def trained(self) -> Trained:
        """What evaluators look at."""
        return Trained(self.model, self.probe, self.experiment.dataset)

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.samples >= self.budget

    @property
    def trained_under(self) -> dict[str, Any]:
        """The fingerprint of the last step; before a first one, of what there is now."""
        return self._restored_under or fingerprint(self.device, self.precision)

    @telling_of_memory("a training step", "lower Experiment.batch_size")
    def step(self) -> dict[str, Tensor]:
        """Show one batch to every player and let every optimizer step; return the losses by name, detached.

        Raises
        ------
        Diverged
            If a loss or a gradient is not finite and `on_nan` isn't "skip", or 100 steps in succession were skipped.
            No weight, optimizer or buffer has moved then. On a GPU a later step may raise it: that one and those in
            between don't count.
        """
        x, losses, views = self.stepper(*self._batch())
        self.steps += 1
        self.samples += len(x)
        self._ahead.append(len(x))
        if len(self._ahead) >= self.stepper.look_every:
            self.look()
        self._last = x, views
        self._restored_under = None
        return dict(zip(self.stepper.names, losses.clone().unbind(), strict=True))

    def look(self) -> None:
        """Learn from the device what became of the steps since the last look: on a CPU, of this one.

        Whatever reads the trainer's state does so first.

        Raises
        ------
        Diverged
            As `step`.
        """
        if not self._ahead:
            return
        tally, ahead = self.stepper.guard.look(), self._ahead
        self._ahead = []
        counted = min(tally.taken + tally.skipped, len(ahead))  # one that was interrupted is judged, and no step
        self.steps -= len(ahead) - counted
        self.samples -= sum(ahead[counted:])
        self.stepper.means.count += counted - tally.skipped
        self._skipped += tally.skipped
        self._skips = tally.in_succession
        if tally.halted:
            faults, weights = self.stepper.guard.faults(), not_finite(self.stepper.parameters.items())
            terms = [name for name in faults if name in self.stepper.names]
            others = [name for name in faults if name not in self.stepper.names]
            raise Diverged(self.steps + 1, terms, [*others, *weights], self._skips)

    def check(self) -> None:
        """Look at what a checkpoint would hold.

        Raises
        ------
        Diverged
            If a parameter is not finite, or a buffer holds NaN (inf may be meant there, as the start of a minimum is).
        """
        self.look()
        held = dict(self.stepper.parameters)
        for name, buffer in self.model.named_buffers():
            if buffer.is_floating_point():
                held[name] = buffer.nan_to_num(nan=torch.nan, posinf=0, neginf=0)
        if names := not_finite(held.items()):
            raise Diverged(self.steps, [], names, self._skips)

    def health(self) -> dict[str, Sign]:
        """Return the signs of health of the last step, as ``regularizer/sign`` and "latent_scale"; changes no state.

        There are none before a first step, and before 1,000 steps a regularizer's signs are numbers without a warning.
        """
        self.look()
        if self._last is None:
            return {}
        x, views = self._last
        with self.trained.evaluating():
            signs = {"latent_scale": latent_scale(self.model.encode(x))}
            for name, regularizer in self.model.regularizers.items():
                found = regularizer.health(views[name])
                checks.instance(f"what {name}.health returns", found, dict)
                for sign, seen in found.items():
                    checks.instance(f"what {name}.health returns as {sign!r}", seen, Sign)
                    signs[f"{name}/{sign}"] = seen if self.steps >= SETTLED else Sign(seen.value)
        return signs

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
        self.look()
        return self.stepper.means.read()

    def evaluate(self) -> Scores:
        """Return the scores of the experiment's evaluators that fit, as ``evaluator/score``; changes no state."""
        self.look()
        return measure(self.trained, self.experiment.evaluators)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes in training, and `trained_under`."""
        self.look()
        return self._state()

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "probe": None if self.probe is None else self.probe.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generators": {name: g.get_state() for name, g in self._own().items()} | global_states(self.device),
            "data": self.stream.state_dict(),
            "losses": self.stepper.means.state_dict(),
            "fingerprint": self.trained_under,
            **{name: getattr(self, held) for name, held in _PLAIN.items()},
        }

    def _own(self) -> dict[str, torch.Generator]:
        return {"data": self.data_order, **{f"noise/{name}": g for name, g in self.noise.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. Its fingerprint may be any: it stays that of the last step.

        Raises
        ------
        UserError
            If the state is that of another experiment, or is none, or the device can't compute in its precision; the
            trainer is as it was then.
        """
        mine, state = self._state(), completed(state)
        try:
            check_state(state, mine, self.optimizers)
            self.precision = state["precision"]
            self._draw_from(state)
            self.model.load_state_dict(state["model"])
            if self.probe is not None:
                self.probe.load_state_dict(state["probe"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
                _lay_out_like_parameters(optimizer)
        except Exception as error:  # whatever a stream makes of a foreign state
            self._draw_from(mine)
            self.precision = mine["precision"]
            if isinstance(error, UserError):
                raise
            raise UserError(f"the checkpoint doesn't fit the experiment: {error}") from error
        self.stepper.means.load_state_dict(state["losses"], self.device)
        self._restored_under = dict(state["fingerprint"])
        for name, held in _PLAIN.items():
            setattr(self, held, state[name])
        self._ahead = []
        self.stepper.guard.set(in_succession=self._skips)
        self.stepper.forget()

    def _draw_from(self, state: dict[str, Any]) -> None:
        for name, own in self._own().items():
            own.set_state(state["generators"][name])
        set_global_states(state["generators"], self.device)
        self.stream.load_state_dict(state["data"])


_PLAIN = {name: name for name in ("samples", "steps", "budget", "on_nan", "precision", "rewinds")}
_PLAIN |= {"skipped": "_skipped", "skipped_in_succession": "_skips"}
"""Numbers and words of the state, and the attributes that hold them."""


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    # A fused optimizer walks parameters and moments in memory order, so restored moments need the parameters' strides.
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)


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
    trainer.look()
