"""Randomness that belongs to its consumer: one named generator each, seeded from (seed, name)."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


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
