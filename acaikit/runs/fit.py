"""Whether a checkpoint fits the model that its run's config describes, found out before that model takes memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acaikit.artifacts.faults import BrokenFile
from acaikit.experiment import Experiment

SHOWN = 3


def check_fit(experiment: Experiment, state: Mapping[str, Any], path: Path) -> None:
    """Compare names and shapes of a checkpoint's tensors with those of the model and the probe.

    Both are built without memory, on torch's meta device. Where a part can't be built there, nothing is compared.

    Parameters
    ----------
    experiment : Experiment
        What the config describes.
    state : mapping
        A checkpoint's state: "model" and, where there is a probe, "probe" hold tensors by name.
    path : Path
        The checkpoint, for the message.

    Raises
    ------
    BrokenFile
        They don't fit; the message names the first that don't.
    UserError
        The parts' own sizes don't fit together.
    """
    try:
        with torch.device("meta"):
            model, probe = experiment.build()
    except (NotImplementedError, RuntimeError):
        return
    modules = {"model": model, "probe": probe}
    wrong = [line for name, module in modules.items() if module for line in _differences(name, module, state)]
    if wrong:
        more = f"; and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
        raise BrokenFile(
            f"{path} isn't a checkpoint of the model that the run's config describes: {'; '.join(wrong[:SHOWN])}{more}"
        )


def _differences(name: str, module: nn.Module, state: Mapping[str, Any]) -> list[str]:
    saved = state.get(name)
    if not isinstance(saved, dict):
        return [f"it holds no {name}"]
    has, needs = _shapes(saved), _shapes(module.state_dict())
    return [
        f"{name} {key} is {has.get(key, 'not in it')}, but {needs.get(key, 'not in the model')} by the config"
        for key in sorted({*has, *needs}, key=str)
        if has.get(key) != needs.get(key)
    ]


def _shapes(tensors: Mapping[str, Any]) -> dict[str, list[int] | str]:
    return {name: list(value.shape) if isinstance(value, Tensor) else "no tensor" for name, value in tensors.items()}
