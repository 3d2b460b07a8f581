"""One training step, as the device takes it: gradients, a look at whether they are finite, and every update.

Nothing in it depends on what the host alone knows, and nothing is told to the host: so it can be recorded and replayed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from acaikit.captured import Captured, Recorder, capturable, default_generators, plain, recordable
from acaikit.divergence import Guard
from acaikit.means import Means
from acaikit.nets import channels_last
from acaikit.objective import Objective, overrides
from acaikit.types import Step

Taken = tuple[Tensor, Tensor, dict[str, Step]]
"""What a step leaves: the batch, the losses stacked, and each regularizer's view."""


class Stepper:
    """Takes steps of all players.

    Parameters
    ----------
    objective : Objective
        Every player's loss, and the players.
    optimizers : mapping of str to torch.optim.Optimizer
        Each player's.
    device : torch.device
        Where they are.

    Attributes
    ----------
    noise : mapping of str to Generator
        What the regularizers draw from.
    names : list of str
        The losses, in the order in which they are stacked.
    parameters : dict of str to Tensor
        The model's by name, and the probe's after "probe.".
    guard : Guard
        Knows which steps had an update.
    means : Means
        The losses of those steps.
    look_every : int
        After how many steps the host looks at the guard. Where it is more than one the device holds back updates.
    """

    def __init__(
        self, objective: Objective, optimizers: Mapping[str, torch.optim.Optimizer], device: torch.device
    ) -> None:
        self.objective, self.optimizers, self.device = objective, optimizers, device
        self.noise: Mapping[str, Generator] = {}
        self.names: list[str] = []
        self.guard, self.means, self.look_every = Guard(device), Means(), 1
        probe = {} if objective.probe is None else dict(objective.probe.named_parameters("probe"))
        self.parameters: dict[str, Tensor] = {**dict(objective.model.named_parameters()), **probe}
        self.record(None)

    def defer(self, look_every: int) -> None:
        """Let the device hold back updates that are not finite, and the host look every so many steps alone."""
        self.look_every = look_every
        for optimizer in self.optimizers.values():
            optimizer.found_inf = self.guard.left_out  # type: ignore[attr-defined]

    def record(self, recorder: Recorder | None) -> None:
        """Let `recorder` record the step, unless a part may keep on the host what changes from step to step."""
        model = self.objective.model
        self._parts = [*model.modules(), model.likelihood]
        strange = {type(part).__name__ for part in self._parts if not recordable(part)}
        obstacle = f"{', '.join(sorted(strange))} may keep on the host what changes from step to step"
        self._replayed = Captured(
            self._take,
            recorder,
            lambda: [*self.noise.values(), *default_generators(self.device)],
            lambda: capturable(self.optimizers.values()),
            self._held,
            obstacle if strange else None,
        )

    def _held(self) -> object:
        """Return what the step reads on the host: settings, what is trained, and which tensors the buffers are."""
        groups = [{**group, "params": None} for o in self.optimizers.values() for group in o.param_groups]
        buffers = [id(b) for part in self.objective.model.regularizers.values() for b in part.buffers()]
        return plain(self._parts), groups, [p.requires_grad for p in self.parameters.values()], buffers

    @property
    def obstacle(self) -> str | None:
        """Why steps are never replayed where others would be; None where they are, and on a CPU."""
        return None if self._replayed.recorder is None else self._replayed.obstacle

    def forget(self) -> None:
        """Drop what was recorded: something that it uses was replaced."""
        self._replayed.forget()

    def __call__(self, x: Tensor, y: Tensor | None) -> Taken:
        """Take a step on the batch `x` ``[B, *data_shape]`` with labels `y`; the next may overwrite what it gives."""
        return self._replayed(x, y)

    def _take(self, x: Tensor, y: Tensor | None) -> Taken:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        x = channels_last(x)
        losses, views = self.objective.backward(x, y, self.noise)
        gradients = {f"gradient of {name}": p.grad for name, p in self.parameters.items() if p.grad is not None}
        self.guard.judge(x, losses, gradients)
        self.names, stacked = list(losses), torch.stack(list(losses.values()))
        # A host that looks at every step, which on a CPU costs nothing, leaves out the work as well.
        if self.look_every > 1 or not self.guard.left_out:
            self._update(stacked, views)
        return x, stacked, views

    def _update(self, losses: Tensor, views: dict[str, Step]) -> None:
        for optimizer in self.optimizers.values():
            optimizer.step()
        with torch.no_grad():
            for name, regularizer in self.objective.model.regularizers.items():
                if not overrides(regularizer, "after_step"):
                    continue
                if self.look_every > 1 and recordable(regularizer):
                    with self.guard.holding(regularizer):
                        regularizer.after_step(views[name])
                elif self.look_every == 1 or not self.guard.left_out:  # what is on the host can't be held back later
                    regularizer.after_step(views[name])
        self.means.add(self.names, losses, self.guard.left_out)
