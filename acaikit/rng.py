"""Randomness that belongs to its consumer: one named generator each, seeded from (seed, name).

Nothing in acaikit draws from a global generator, but what a user or a plugin adds may: a run seeds, saves and restores
them too.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch
from torch import nn

_KEY = 624
"""Words that the Mersenne twister's state has."""


def derive_seed(seed: int, name: str) -> int:
    """Return the 63-bit seed of the consumer called `name` in the run seeded with `seed`."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator on `device` for the consumer called `name`."""
    return torch.Generator(device).manual_seed(derive_seed(seed, name))


def initialise(module: nn.Module, seed: int, name: str) -> None:
    """Draw every weight of `module` anew, from (seed, name) alone.

    Calls ``reset_parameters()``, torch's own convention, on every submodule that has it. torch's initialisers draw from
    the global generator, so it is seeded for the duration and restored afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, f"init/{name}"))
        for submodule in module.modules():
            reset = getattr(submodule, "reset_parameters", None)
            if callable(reset):
                reset()


def seed_globals(seed: int) -> None:
    """Seed the global generators of torch (all devices), numpy and Python, each from (seed, its own name)."""
    torch.manual_seed(derive_seed(seed, "global/torch"))
    np.random.seed(derive_seed(seed, "global/numpy") % 2**32)
    random.seed(derive_seed(seed, "global/python"))


def global_states(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the states of the global generators "torch", "numpy" and "python", and of "cuda" where `device` is one.

    They are tensors, arrays and tuples of numbers, which a checkpoint can hold.
    """
    states = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if torch.device(device).type == "cuda" else {})


def set_global_states(states: dict[str, Any], device: torch.device | str = "cpu") -> None:
    """Restore what `global_states` returned.

    Raises
    ------
    LookupError, RuntimeError, TypeError, ValueError
        A state is missing, or is none.
    """
    key, position = states["numpy"][1:3]
    # numpy would read beyond the key's end.
    fits = isinstance(key, np.ndarray) and key.shape == (_KEY,) and key.dtype == np.uint32
    if not fits or not 0 <= position <= _KEY:
        raise ValueError("the state of numpy's global generator is none")
    gauss = states["python"][2]
    if not isinstance(gauss, float | None):
        raise TypeError("the state of Python's global generator is none")
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
    if torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
