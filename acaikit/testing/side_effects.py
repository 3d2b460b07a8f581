"""What code does beside computing: the files it opens, the global generators it draws from, the model it changes."""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import h5py
import numpy as np
import torch

from acaikit.evaluators.base import Trained
from acaikit.testing.rules import NotConforming
from acaikit.testing.states import copied, difference

_EVENTS = {"open": 0, "os.listdir": 0, "os.scandir": 0, "socket.connect": 1, "socket.getaddrinfo": 0}
"""Python's audit events, and which of their arguments says what is opened."""
_watching: list[list[str]] = []


@contextmanager
def opened() -> Iterator[list[str]]:
    """Collect the files, folders and addresses that the block opens, those of modules that it imports among them."""
    _listen()
    found: list[str] = []
    _watching.append(found)
    try:
        with mock.patch.object(h5py.File, "__init__", _noting(found, h5py.File.__init__)):  # HDF5 tells Python nothing
            yield found
    finally:
        _watching.pop()


@cache
def _listen() -> None:
    # Once for the process: there is no way to take an audit hook back.
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in _EVENTS:
        for found in _watching:
            found.append(str(arguments[_EVENTS[event]]))


def _noting(found: list[str], init: Any) -> Any:
    def noted(self: h5py.File, name: Any, *args: Any, **kwargs: Any) -> None:
        found.append(str(name))
        init(self, name, *args, **kwargs)

    return noted


@contextmanager
def undrawn(what: str, instead: str) -> Iterator[None]:
    """Raise `NotConforming` where the block, which a message calls `what`, draws from a global generator."""
    mine = torch.get_rng_state(), np.random.get_state(), random.getstate()
    # From states that the block itself can't be in: it may have seeded a generator before.
    torch.set_rng_state(torch.Generator().manual_seed(_SEED).get_state())
    np.random.seed(_SEED)
    random.seed(_SEED)
    before = _states()
    try:
        yield
        after = _states()
    finally:
        torch.set_rng_state(mine[0])
        np.random.set_state(mine[1])
        random.setstate(mine[2])
    for owner, state in after.items():
        if state != before[owner]:
            raise NotConforming(f"{what} draws from {owner}'s global generator, or seeds it: {instead}")


_SEED = 3_141_592_653


def _states() -> dict[str, bytes]:
    states = {"torch": torch.get_rng_state().numpy(), "numpy": np.random.get_state(), "Python": random.getstate()}
    return {owner: pickle.dumps(state) for owner, state in states.items()}


@contextmanager
def untouched(name: str, trained: Trained) -> Iterator[None]:
    """Raise `NotConforming` where the evaluator called `name`, which runs in the block, changes anything."""
    own = "use one of its own, from acaikit.rng.generator(seed, name) or numpy.random.default_rng(seed)"
    with undrawn(f"{name}.evaluate", own):
        state = _state(trained)
        yield
        changed = difference(state, _state(trained))
        if changed is not None:
            raise NotConforming(
                f"{name}.evaluate changes {changed}: change a copy (copy.deepcopy, Tensor.clone) and take gradients "
                f"with torch.autograd.grad"
            )


def _state(trained: Trained) -> dict[str, Any]:
    """Return a copy of what must stay, by what a message calls it."""
    split = trained.dataset.test()
    state: dict[str, Any] = {"the dataset's test examples": split.data, "the dataset's test labels": split.labels}
    for name, module in {"model": trained.model, "probe": trained.probe}.items():
        if module is not None:
            state |= {f"the {name}'s {path}": tensor for path, tensor in module.state_dict().items()}
            for path, inner in module.named_modules():
                whose = f"the {name}'s {path}" if path else f"the {name}"
                state[f"the training flag of {whose}"] = inner.training
            for path, parameter in module.named_parameters():
                state[f"requires_grad of the {name}'s {path}"] = parameter.requires_grad
                state[f"the gradient of the {name}'s {path}"] = parameter.grad
    return {path: value for what, held in state.items() for path, value in copied(held, what).items()}
