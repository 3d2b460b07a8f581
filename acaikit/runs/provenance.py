"""What a run remembers about where it came from, and what its bits depend on."""

from __future__ import annotations

import inspect
import os
import platform
import subprocess
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from acaikit import registry
from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.faults import BrokenFile, MissingFile
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config, read_resolved
from acaikit.config.resolve import names
from acaikit.data.base import Dataset
from acaikit.errors import RunError
from acaikit.fingerprint import fingerprint
from acaikit.words import counted

_NEEDED = {"run_id": str, "resolved": str, "fingerprint": dict, "plugins": dict}
LIBRARIES = ("acaikit", "torch", "numpy", "h5py", "gin-config")


class AbsentPlugin(RunError):
    """A run began with a plugin that is not here, or doesn't count."""


def describe(
    config: Config, overrides: list[str], seed: int, device: torch.device, data: Mapping[str, str]
) -> dict[str, Any]:
    """Return what ``run.h5`` says of a new run, a run id of its own included."""
    return {
        "run_id": uuid.uuid4().hex,
        "resolved": config.resolved,
        "sources": dict(config.sources),
        "overrides": list(overrides),
        "seed": seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "plugins": plugins(config),
        "git_commit": _commit(),
        "data": dict(data),
        "fingerprint": fingerprint(device),
    }


def run_info(directory: RunDir) -> dict[str, Any]:
    """Return what ``run.h5`` says, which holds at least what a session and a reader need.

    Raises
    ------
    BrokenFile, MissingFile
        It is damaged or gone; the message says what else is still there.
    RunError
        It needs a newer acaikit, or a folder of the run is a symbolic link.
    """
    try:
        info = directory.read_run()
        for name, kind in _NEEDED.items():
            if not isinstance(info.get(name), kind):
                raise BrokenFile(f"{directory.run_file} is broken: it doesn't say the run's {name}")
        if not isinstance(info["fingerprint"].get("device"), str):
            raise BrokenFile(f"{directory.run_file} is broken: it doesn't say the run's device")
    except (BrokenFile, MissingFile) as fault:
        steps = Checkpoints(directory.checkpoints, "").steps()
        if isinstance(fault, MissingFile) and not steps:
            raise
        newest = f" (the newest of step {steps[-1]})" if steps else ""
        found = [counted(len(steps), "checkpoint") + newest]
        there = {"metrics": directory.metrics, "evaluations": directory.eval, "pictures": directory.figures}
        for what, folder in there.items():
            files = len([*folder.glob("[!.]*")]) if folder.is_dir() else 0
            found.append(f"{counted(files, 'file')} of {what}")
        raise type(fault)(
            f"{fault}; without it the run can't go on: put a copy of it back. Still there, for h5py to read: "
            f"{', '.join(found)}"
        ) from fault
    return info


def data_protocol(dataset: Dataset, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return what the protocol of a measurement says of the data: the hash of each split, and how they are used.

    That is the dataset's parameters, as far as it keeps them as attributes of their names and they are plain values.
    Its path is left out: the same examples may lie anywhere.
    """
    parameters = inspect.signature(type(dataset)).parameters
    kept = {name: getattr(dataset, name, None) for name in parameters if name != "path"}
    plain = {name: value for name, value in kept.items() if isinstance(value, bool | int | float | str | list | tuple)}
    return {"dataset": type(dataset).__name__, **plain, **({"digests": dict(digests)} if digests else {})}


def check_data(where: Path, info: Mapping[str, Any], dataset: Dataset) -> None:
    """Raise `RunError` unless the dataset's examples are those that the run in `where` began with, as `info` says."""
    then = info.get("data", dataset.digests)
    changed = [split for split, digest in dataset.digests.items() if then.get(split, digest) != digest]
    if changed:
        splits = " and ".join(sorted(changed, reverse=True))
        raise RunError(
            f"{where} was begun with other {splits} examples than {type(dataset).__name__} has now: put the old files "
            f"back (where they are the same, another version of acaikit or of an image library read them: use that "
            f"one), or begin anew in another folder"
        )


def plugins(config: Config) -> dict[str, str]:
    """Return the distributions, with versions, whose parts the config names."""
    parts = [registry.find(name) for name in names(config)]
    return {part.distribution: part.version for part in sorted(parts, key=lambda p: p.distribution)}


def began_with(path: Path, info: Mapping[str, Any]) -> Config:
    """Return the config that the run in `path` began with, as `info` says.

    Raises
    ------
    AbsentPlugin
        If a distribution is not here whose parts it names.
    ConfigError
        If it has faults.
    """
    for name, then in info.get("plugins", {}).items():
        said = f"{path} began with {name} {then}, which"
        if registry.version(name) is None:
            again = f"install it from where you had it (pip install {name}=={then}, if it is published)"
            raise AbsentPlugin(f"{said} is not installed: {again}")
        if not registry.counts(name):
            raise AbsentPlugin(f"{said} {registry.ONLY}={os.environ[registry.ONLY]!r} leaves out")
    return read_resolved(info["resolved"], f"{path}/run.h5")


def raised_budget(path: Path, began: int, budget: int) -> list[str]:
    """Return a line about a run whose budget is another one than it began with; none where it is the same."""
    said = f"{path} began with a budget of {began:,} samples; it was raised, and {budget:,} is what counts"
    return [said] if budget != began else []


def changed_versions(info: Mapping[str, Any]) -> list[str]:
    """Return a line about each distribution that a run, as `info` says, began with in another version than is here."""
    lines = []
    for name, then in info["plugins"].items():
        now = registry.version(name)
        if now not in (None, then):
            lines.append(
                f"this run began with {name} {then}, and {now} is installed: what changed between them changes its "
                f"numbers; {then} gives the old ones"
            )
    return lines


def _commit() -> str | None:
    """Return the commit of the checkout that acaikit itself runs from, if it is one."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", __file__], capture_output=True, check=False
        )
        if tracked.returncode:
            return None
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
