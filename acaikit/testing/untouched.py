"""Whether a measurement leaves everything as it was: the model, its probe, the dataset and the global generators."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from acaikit.evaluators.base import Trained
from acaikit.testing.conformance import NotConforming, copied, difference


@contextmanager
def untouched(name: str, trained: Trained) -> Iterator[None]:
    """Raise `NotConforming` where the evaluator called `name`, which runs in the block, changes anything."""
    state, generators = _state(trained), _generators()
    yield
    changed = difference(state, _state(trained))
    if changed is not None:
        raise NotConforming(
            f"{name}.evaluate changes {changed}: change a copy (copy.deepcopy, Tensor.clone) and take gradients with "
            f"torch.autograd.grad"
        )
    for owner, drawn in _generators().items():
        if drawn != generators[owner]:
            raise NotConforming(
                f"{name}.evaluate draws from {owner}'s global generator, or seeds it: use one of its own, from "
                f"acaikit.rng.generator(seed, name) or numpy.random.default_rng(seed)"
            )


def _state(trained: Trained) -> dict[str, Any]:
    """Return a copy of what must stay, by what a message calls it."""
    split = trained.dataset.test()
    state: dict[str, Any] = {"the dataset's test examples": split.data, "the dataset's test labels": split.labels}
    for name, module in {"model": trained.model, "probe": trained.probe}.items():
        if module is not None:
            state |= {f"the {name}'s {path}": tensor for path, tensor in module.state_dict().items()}
            state |= {f"the training flag of the {name}'s {path}": m.training for path, m in module.named_modules()}
            for path, parameter in module.named_parameters():
                state[f"requires_grad of the {name}'s {path}"] = parameter.requires_grad
                state[f"the gradient of the {name}'s {path}"] = parameter.grad
    return {path: value for what, held in state.items() for path, value in copied(held, what).items()}


def _generators() -> dict[str, bytes]:
    states = {"torch": torch.get_rng_state().numpy(), "numpy": np.random.get_state(), "Python": random.getstate()}
    return {owner: pickle.dumps(state) for owner, state in states.items()}
