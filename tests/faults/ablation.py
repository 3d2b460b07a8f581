"""Ablation: training resumed with one item of its state left as freshly made must come to other bits."""

from __future__ import annotations

import copy
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.data.base import Dataset, Shuffled, Split, Stream
from acaikit.divergence import Diverged
from acaikit.engine import Trainer, train
from acaikit.errors import UserError
from acaikit.evaluators import Reconstruction
from acaikit.experiment import Experiment
from acaikit.nets import ConvDecoder, ConvEncoder
from acaikit.regularizers import ACAI, KL, VQEMA, AdversarialPrior, Denoising, LatentDropout, Regularizer
from acaikit.runs.states import compare
from acaikit.types import Scores

from .report import Report

STOPPED = 5
"""Steps before the stop: in the middle of an epoch, and between two rows."""

State = dict[str, Any]


class Global(Regularizer):
    """Draws its noise as no part should: from the global generators of torch, numpy and Python."""

    def corrupt(self, x: Tensor, noise: Generator | None) -> Tensor:
        if noise is None:
            return x
        return x + 0.1 * torch.randn(x.shape) + 0.1 * np.random.standard_normal() + 0.1 * random.random()


def vq() -> VQEMA:
    return VQEMA(entries=8, vectors=2, hidden=5)


MODELS: dict[str, Callable[[], list[Regularizer]]] = {
    "everything": lambda: [Global(), Denoising(), KL(), vq(), LatentDropout(), AdversarialPrior(), ACAI()],
    "composed": lambda: [Global(), KL(), LatentDropout(), ACAI()],
    "baseline": lambda: [],
    "dropout": lambda: [LatentDropout()],
    "denoising": lambda: [Denoising()],
    "vae": lambda: [KL()],
    "aae": lambda: [AdversarialPrior()],
    "vqvae": lambda: [vq()],
    "acai": lambda: [ACAI()],
}


class Few(Dataset):
    """Twenty labelled images of 4x4: an epoch of three steps and a third."""

    shape = (1, 4, 4)
    classes = 3

    def __init__(self) -> None:
        x = torch.rand(20, *self.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        self.split = Split(x, torch.arange(20) % 3)

    def train(self, batch_size: int, generator: Generator, device: torch.device | str = "cpu") -> Stream:
        return Shuffled(self.split, batch_size, generator, device)

    def test(self) -> Split:
        return self.split


class Rows:
    """Keeps what a run would write into its metrics."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float], Scores]] = []

    def on_step(self, *_: object) -> None:
        pass

    def on_row(self, trainer: Trainer, losses: dict[str, float], scores: Scores) -> None:
        self.rows.append((trainer.steps, losses, scores))


def make(model: str, seed: int) -> Trainer:
    torch.set_num_threads(1)
    return Trainer(
        Experiment(
            Few(),
            ConvEncoder(depth=2, scales=1, latent=2),
            ConvDecoder(depth=2, scales=1),
            regularizers=MODELS[model](),
            evaluators=[Reconstruction()],
            samples=36,
            batch_size=6,
            learning_rate=1e-2,
            evaluate_every=24,
            seed=seed,
        )
    )


def finish(trainer: Trainer) -> State:
    """Train to the end; return all that a run leaves: its last state, and the rows since the stop."""
    kept = Rows()
    try:
        train(trainer, [kept])
    except Diverged as error:
        return copy.deepcopy({"diverged": str(error), "state": trainer.state_dict()})
    return copy.deepcopy({"state": trainer.state_dict(), "rows": kept.rows})


def resume(model: str, seed: int, state: State) -> State:
    trainer = make(model, seed)
    try:
        trainer.load_state_dict(copy.deepcopy(state))
    except UserError as error:
        return {"refused": str(error)}
    return finish(trainer)


def fresh(model: str, seed: int, state: State) -> State:
    """Return the state of a new trainer, its optimizers spelt out: Adam begins with moments and steps of zero."""
    new = copy.deepcopy(make(model, seed).state_dict())
    for name, optimizer in state["optimizers"].items():
        moments = optimizer["state"].items()
        new["optimizers"][name]["state"] = {i: {k: torch.zeros_like(v) for k, v in m.items()} for i, m in moments}
    return new


def items(state: State) -> list[tuple[str, ...]]:
    """List every item of a trainer's state by where it is; of an optimizer, each kind of moment is one."""
    found: list[tuple[str, ...]] = []
    for key, value in state.items():
        if key == "optimizers":
            kinds = {(key, player, kind) for player in value for m in value[player]["state"].values() for kind in m}
            found += sorted(kinds)
        else:
            found += [(key, name) for name in value] if isinstance(value, dict) else [(key,)]
    return found


def ablate(state: State, new: State, item: tuple[str, ...]) -> State:
    """Return the state with one item as it is in the new one."""
    changed = copy.deepcopy(state)
    match item:
        case ("optimizers", player, kind):
            for i, moments in changed["optimizers"][player]["state"].items():
                moments[kind] = new["optimizers"][player]["state"][i][kind]
        case (key, name):
            changed[key][name] = new[key][name]
        case (key,):
            changed[key] = new[key]
    return changed


def stopped(model: str, seed: int) -> tuple[State, State]:
    """Return the state at the stop, as a checkpoint's file gives it back, and what an uninterrupted run leaves."""
    trainer = make(model, seed)
    # As a run that was extended, rewound and told to skip.
    trainer.budget, trainer.rewinds, trainer._skipped, trainer.on_nan = 48, 1, 1, "skip"
    train(trainer, stop=lambda: trainer.steps >= STOPPED)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), "ablation")
        checkpoints.save(STOPPED, trainer.state_dict())
        state = checkpoints.load(STOPPED)
    return state, finish(trainer)


def run(count: int, seed: int, models: Sequence[str] = tuple(MODELS)) -> Report:
    """Ablate every item of every model's state, one at a time; of the weights, only `count` of each network drawn."""
    began, draw = time.monotonic(), random.Random(seed)
    found: Counter[str] = Counter()
    faults: list[str] = []
    for model in models:
        state, straight = stopped(model, seed)
        if compare(straight, resume(model, seed, state)):
            faults.append(f"{model}: resumed with its whole state, it came to other bits")
        new = fresh(model, seed, state)
        everything = [item for item in items(state) if compare(state, ablate(state, new, item))]
        for player in ("model", "probe"):
            weights = [item for item in everything if item[0] == player]
            spared = draw.sample(weights, max(len(weights) - count, 0))
            everything = [item for item in everything if item not in spared]
        for item in everything:
            found["/".join(item[:1] if item[0] in ("model", "probe") else item)] += 1
            if not compare(straight, resume(model, seed, ablate(state, new, item))):
                faults.append(f"{model}: resumed without {'/'.join(item)}, it came to the same bits")
    return Report(
        "ablation",
        sum(found.values()),
        "One item of a trainer's state left as freshly made in a resume, of every model: the final bits or rows must "
        "differ, and with the whole state they must be the same. Counted by item.",
        dict(found),
        faults,
        time.monotonic() - began,
    )
