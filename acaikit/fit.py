"""Whether a checkpoint fits: the model that a config describes, and the trainer that is to go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim import Adam

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.divergence import ON_NAN
from acaikit.errors import RunError
from acaikit.experiment import Experiment
from acaikit.precision import PRECISIONS

SHOWN = 3
"""Differences that a message names."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


def check_newest(checkpoints: Checkpoints, experiment: Experiment, run: Path) -> None:
    """Compare a run's checkpoints with the model of its config, before anything large is made.

    One that fits is enough: whoever goes on from it passes over the newer ones. Those that can't be read are left to
    him, too. Nothing is written.

    Parameters
    ----------
    checkpoints : Checkpoints
        The run's; there may be none.
    experiment : Experiment
        What the config describes.
    run : Path
        The run directory, for the message.

    Raises
    ------
    RunError
        None of those that can be read fits; the message is about the newest.
    UserError
        The parts' own sizes don't fit together.
    """
    unfit: list[RunError] = []
    for step in reversed(checkpoints.steps()):
        try:
            state = checkpoints.load(step)
        except RunError:
            continue
        try:
            return check_model(experiment, state, run)
        except RunError as fault:
            unfit.append(fault)
    for reason in unfit:
        raise reason


def check_model(experiment: Experiment, state: Any, run: Path) -> None:
    """Compare names and shapes of a checkpoint's tensors with those of the model and the probe.

    Both are built without memory, see `Experiment.outline`.

    Parameters
    ----------
    experiment : Experiment
        What the config describes.
    state : Any
        A checkpoint's state: "model" and, where there is a probe, "probe" hold tensors by name.
    run : Path
        The run directory, for the message.

    Raises
    ------
    RunError
        They don't fit; the message names the first that don't.
    UserError
        The parts' own sizes don't fit together.
    """
    model, probe = experiment.outline()
    modules = {"model": model, "probe": probe}
    wrong = [line for name, module in modules.items() if module for line in _differences(name, module, state)]
    if wrong:
        more = f"; and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
        raise RunError(
            f"{run} has no checkpoint of the model that its config describes: {'; '.join(wrong[:SHOWN])}{more}"
        )


def _differences(name: str, module: nn.Module, state: Any) -> list[str]:
    saved = state.get(name) if isinstance(state, Mapping) else None
    if not isinstance(saved, Mapping):
        return [f"it holds no {name}"]
    has, needs = _shapes(saved), _shapes(module.state_dict())
    return [
        f"{name} {key} is {has.get(key, 'not in it')}, but {needs.get(key, 'not in the model')} by the config"
        for key in sorted({*has, *needs}, key=str)
        if has.get(key) != needs.get(key)
    ]


def _shapes(tensors: Mapping[str, Any]) -> dict[str, list[int] | str]:
    return {name: list(value.shape) if isinstance(value, Tensor) else "no tensor" for name, value in tensors.items()}


def completed(state: Any) -> Any:
    """Return a saved state with what acaikit didn't save at first: the precision, and how convolutions are computed."""
    if not isinstance(state, Mapping):
        return state
    under = state.get("fingerprint")
    if isinstance(under, Mapping) and "channels_last" in under:
        state = {**state, "fingerprint": {"convolutions": "channels_last", **under}}
    return {"precision": PRECISIONS[0], **state}


def check_state(state: Any, mine: Mapping[str, Any], optimizers: Mapping[str, Adam]) -> None:
    """Compare a saved state with the one that a trainer has: nothing may be missing or unknown, every shape as it is.

    What the data stream keeps is the stream's own affair.

    Parameters
    ----------
    state : Any
        What was saved.
    mine : mapping of str to Any
        The trainer's own ``state_dict()``.
    optimizers : mapping of str to Adam
        The trainer's.

    Raises
    ------
    ValueError
        If an entry is missing, unknown, or of another type or shape; the message names it.
    """
    try:
        _keys(state, mine, "it")
    except ValueError as fault:
        raise ValueError(f"{fault} (another version of acaikit saved it: that one goes on with it)") from fault
    _alike(state["losses"], mine["losses"] | {"sums": _scalars(state["losses"])}, "losses")
    _keys(state["optimizers"], optimizers, "optimizers")
    # A global generator's state changes its type where half a pair of normal numbers is left over.
    _keys(state["generators"], mine["generators"], "generators")
    tensors = {name: found for name, found in mine["generators"].items() if isinstance(found, Tensor)}
    _alike({name: state["generators"][name] for name in tensors}, tensors, "generators")
    for name in mine.keys() - {"losses", "optimizers", "generators", "data", "fingerprint"}:
        _alike(state[name], mine[name], name)
    _check_fingerprint(state["fingerprint"])
    for name in ("samples", "steps", "budget", "skipped", "rewinds", "skipped_in_succession"):
        if state[name] < 0:
            raise ValueError(f"{name} is {state[name]}")
    if state["on_nan"] not in ON_NAN:
        raise ValueError(f"on_nan is {state['on_nan']!r}")
    if state["precision"] not in PRECISIONS:
        raise ValueError(f"precision is {state['precision']!r}")
    for player, optimizer in optimizers.items():
        _check_adam(state["optimizers"][player], optimizer, f"optimizers[{player!r}]")
        taken = any(moments["step"] for moments in state["optimizers"][player]["state"].values())
        if taken and state["steps"] <= state["skipped"]:
            raise ValueError(f"optimizers[{player!r}] has steps, but the {state['steps']} of training were all skipped")


def _check_fingerprint(found: Any) -> None:
    # Any is fine, as a run may go on anywhere; what differs is shown to people, though.
    if not isinstance(found, Mapping):
        raise ValueError(f"fingerprint is {_said(found)}, not a dict")
    for name, value in found.items():
        if not isinstance(value, str | int | float | None) or (isinstance(value, int) and value.bit_length() > 63):
            raise ValueError(f"fingerprint[{name!r}] is no plain value")


def _check_adam(state: Any, optimizer: Adam, path: str) -> None:
    _keys(state, ("state", "param_groups"), path)
    mine = optimizer.state_dict()["param_groups"]
    # Another torch may know settings that this one doesn't, or lack some.
    _alike(state["param_groups"], mine, f"{path}['param_groups']", shared=True)
    if [group["params"] for group in state["param_groups"]] != [group["params"] for group in mine]:
        raise ValueError(f"{path} is of other parameters")
    if not isinstance(state["state"], Mapping):
        raise ValueError(f"{path}['state'] is {_said(state['state'])}")
    parameters = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
    for index, moments in state["state"].items():  # a parameter that no loss has reached yet has none
        where = f"{path}['state'][{index!r}]"
        if index not in parameters:
            raise ValueError(f"{where} is of a parameter that isn't there")
        like = dict.fromkeys(_MOMENTS, parameters[index].detach())
        _keys(moments, (*like, "step"), where)
        _alike(moments, {**like, "step": _scalar(moments["step"], f"{where}['step']")}, where)


def _scalars(losses: Any) -> dict[str, Tensor]:
    """Return the sums of losses, whose names and number are as training has met them."""
    sums = losses.get("sums") if isinstance(losses, Mapping) else None
    if not isinstance(sums, Mapping):
        raise ValueError("losses has no sums")
    return {name: _scalar(total, f"losses['sums'][{name!r}]") for name, total in sums.items()}


def _scalar(found: Any, path: str) -> Tensor:
    if not isinstance(found, Tensor) or found.dim() or not found.is_floating_point():
        raise ValueError(f"{path} is {_said(found)}, not one number in a tensor")
    return found


def _alike(found: Any, mine: Any, path: str, *, shared: bool = False) -> None:
    """Compare types, shapes and keys, or only those keys that both have."""
    if isinstance(mine, Mapping):
        if not shared:
            _keys(found, mine, path)
        elif not isinstance(found, Mapping):
            raise ValueError(f"{path} is {_said(found)}, not {_said(mine)}")
        for key in mine.keys() & found.keys():
            _alike(found[key], mine[key], f"{path}[{key!r}]", shared=shared)
        return
    if isinstance(mine, Tensor | np.ndarray):
        fits = type(found) is type(mine) and found.shape == mine.shape and found.dtype == mine.dtype
    elif isinstance(mine, list | tuple):
        fits = type(found) is type(mine) and len(found) == len(mine)
    else:
        fits = type(found) is type(mine)
    if not fits:
        raise ValueError(f"{path} is {_said(found)}, not {_said(mine)}")
    if isinstance(mine, list | tuple):
        for index, (one, other) in enumerate(zip(found, mine, strict=True)):
            _alike(one, other, f"{path}[{index}]", shared=shared)


def _keys(found: Any, mine: Any, path: str) -> None:
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} is {_said(found)}, not a dict")
    if missing := [key for key in mine if key not in found]:
        raise ValueError(f"{path} has no {missing[0]!r}")
    if unknown := [key for key in found if key not in mine]:
        raise ValueError(f"{path} has {unknown[0]!r}, which is unknown to the experiment")


def _said(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"a {type(value).__name__} of shape {list(value.shape)} and type {value.dtype}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, list | tuple) else type(value).__name__
