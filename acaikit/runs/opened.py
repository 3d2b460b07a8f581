"""A run opened for reading: its model, metrics and config. Nothing is written and no lock is taken."""

from __future__ import annotations

import os
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.h5file import faults_of
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import build
from acaikit.errors import Note, RunError
from acaikit.evaluators.base import Trained
from acaikit.experiment import Experiment
from acaikit.fit import check_model
from acaikit.model import Autoencoder
from acaikit.probe import Probe
from acaikit.runs.provenance import began_with, changed_versions, run_info


class OpenRun:
    """A run directory, read-only.

    Attributes
    ----------
    path : Path
        The run directory.
    config : str
        The resolved recipe, as gin text.
    info : dict
        What ``run.h5`` holds: config, overrides, provenance.
    experiment : Experiment
        What the config describes.
    step, samples, budget : int
        The checkpoint's optimizer steps and training examples shown, and how many are to be shown in all.
    notes : list of str
        A line about each newer checkpoint that was passed over because it is damaged.
    """

    def __init__(self, path: Path, step: int | None = None, device: torch.device | str = "cpu") -> None:
        self.path, self.directory, self.device = path, RunDir(path), torch.device(device)
        self.info: dict[str, Any] = run_info(self.directory)
        config = began_with(path, self.info)
        for line in changed_versions(self.info):
            warnings.warn(f"{path}: {line}", Note, stacklevel=3)
        self.config: str = self.info["resolved"]
        self.experiment: Experiment = build(config)
        self.checkpoints = Checkpoints(self.directory.checkpoints, self.info["run_id"])
        self.notes: list[str] = []
        self.step, self._state = self._load(step)
        self.samples, self.budget = (_number(self._state, name, self._checkpoint) for name in ("samples", "budget"))

    def _load(self, step: int | None) -> tuple[int, dict[str, Any]]:
        if step is None:
            latest = self.checkpoints.latest(report=self.notes.append)
            if latest is None:
                raise RunError("\n".join([f"{self.path} has no checkpoint yet that can be read", *self.notes]))
            return latest
        if step not in self.checkpoints.steps():
            have = ", ".join(map(str, self.checkpoints.steps())) or "none"
            raise RunError(f"{self.path} has no checkpoint of step {step}; those kept: {have}")
        return step, self.checkpoints.load(step)

    def check(self) -> None:
        """Raise `RunError` unless the checkpoint fits the model that the config describes, which takes no memory here.

        Opening doesn't ask, since a dataset's shape may have to be read from its files.
        """
        check_model(self.experiment, self._state, self.path)

    @property
    def _checkpoint(self) -> Path:
        return self.checkpoints.path(self.step)

    @property
    def trained_under(self) -> dict[str, Any]:
        """The fingerprint of the checkpoint's last step."""
        return {**self.info["fingerprint"], **self._state.get("fingerprint", {})}

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.samples >= self.budget

    @cached_property
    def _modules(self) -> tuple[Autoencoder, Probe | None]:
        self.check()
        model, probe = self.experiment.build()
        with faults_of(self._checkpoint):
            model.load_state_dict(self._state["model"])
            if probe is not None:
                probe.load_state_dict(self._state["probe"])
        for module in (model, probe):
            if module is not None:
                # The layout that it was trained in: another one would change the last bits.
                module.to(self.device, memory_format=torch.channels_last).requires_grad_(False).eval()  # type: ignore[call-overload]
        return model, probe

    @property
    def model(self) -> Autoencoder:
        """The trained model; latents are deterministic unless a sample is asked for."""
        return self._modules[0]

    @property
    def probe(self) -> Probe | None:
        """The tandem probe, where the run has one."""
        return self._modules[1]

    @cached_property
    def trained(self) -> Trained:
        """What evaluators look at."""
        return Trained(self.model, self.probe, self.experiment.dataset)

    def metrics(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the metrics table: int64 ``step``; every loss and score as float64, NaN where not measured."""
        return read_metrics(self.directory.metrics)


def _number(state: Any, name: str, path: Path) -> int:
    value = state.get(name) if isinstance(state, dict) else None
    if type(value) is not int:
        raise BrokenFile(f"{path} is broken: it doesn't say the {name}")
    return value


def open_run(path: str | os.PathLike[str], step: int | None = None, device: torch.device | str = "cpu") -> OpenRun:
    """Open a run directory for reading; safe while the run is training.

    Parameters
    ----------
    path : str or path
        The run directory.
    step : int, optional
        Which checkpoint; the newest that passes its checks, if left out.
    device : torch.device or str
        Where to put the model.

    Warns
    -----
    Note
        If acaikit or a plugin that the run names has another version than the run began with.

    Raises
    ------
    RunError
        If it is no run, has no such checkpoint, began with a plugin that is not installed, or a file of it is broken.
        `OpenRun.model` raises it where the checkpoint doesn't fit the model that the config describes, before that
        model takes memory.
    """
    return OpenRun(Path(path), step, device)
