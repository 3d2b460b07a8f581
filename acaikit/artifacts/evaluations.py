"""The result of one evaluator at one step: scores, the protocol that gave them, and what was measured."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from acaikit.artifacts.arrays import read_numpy, refusal
from acaikit.artifacts.audit import MOST_UNPACKED
from acaikit.artifacts.h5file import read_h5, write_h5
from acaikit.artifacts.publish import is_temporary
from acaikit.artifacts.text import read_text, text_attribute, to_name, to_title, write_text
from acaikit.errors import RunError

SHORT = 8
"""Digits of a protocol's hash that people see: enough to tell the protocols of one study apart."""

_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation file holds.

    Parameters
    ----------
    name : str
        The evaluator.
    step : int
        The training step of the model that was evaluated.
    run_id : str
        The run of that model.
    scores : dict of str to float
        The numbers to report.
    protocol : dict
        How they were measured, as JSON values.
    protocol_sha256 : str
        The hash of the protocol's JSON text: scores compare only where it is equal.
    arrays : dict of str to numpy.ndarray
        What was measured: latents, labels, paths, images.
    """

    name: str
    step: int
    run_id: str
    scores: dict[str, float]
    protocol: dict[str, Any]
    protocol_sha256: str
    arrays: dict[str, np.ndarray]


def write_evaluation(
    folder: Path,
    name: str,
    step: int,
    run_id: str,
    scores: Mapping[str, float],
    protocol: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> Path:
    """Publish an evaluation as ``<name>-<step>-<hash>.h5``, replacing an earlier one of the same step and protocol.

    The hash is the beginning of the protocol's: what was measured under another protocol stays.

    Parameters
    ----------
    folder : Path
        Created where missing.
    name, step, run_id, scores, protocol, arrays
        See `Evaluation`. Arrays are of bool, integers or floats.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        The name can't be part of a file name, a title is empty, or the protocol holds a NaN or infinity.
    TypeError
        The protocol isn't JSON, or an array holds no plain numbers.
    OSError
        The file can't be written; an earlier one is intact.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"an evaluator can't be called {name!r}: only letters, digits, '_', '.' and '-' can be used")
    text = _text(protocol)
    for title, array in arrays.items():
        if (reason := refusal(array)) is not None:
            raise TypeError(f"arrays[{title!r}]: {reason} can't be stored")

    def fill(file: h5py.Group) -> None:
        file.attrs["evaluator"] = np.bytes_(name.encode())
        write_text(file, "protocol", text).attrs["sha256"] = np.bytes_(_sha256(text).encode())
        group = file.create_group("scores")
        for title, score in scores.items():
            group.create_dataset(to_name(title), data=np.float64(score))
        group = file.create_group("arrays")
        room = MOST_UNPACKED // 4  # what unpacks to much more than it is would be refused by readers
        for title, array in arrays.items():
            # Measured: gzip takes line images to 6% of their size, and floats only to 90% at ten times the time.
            image_like = array.dtype == np.uint8 and array.ndim >= 2 and 0 < array.nbytes <= room
            group.create_dataset(to_name(title), data=array, **(_COMPRESSED if image_like else {}))
            room -= array.nbytes if image_like else 0

    path = folder / f"{name}-{step:09d}-{_sha256(text)[:SHORT]}.h5"
    write_h5(path, fill, format="evaluation", run_id=run_id, step=step)
    return path


def protocol_hash(protocol: Mapping[str, Any]) -> str:
    """Return the sha256 of a protocol's JSON text, as hexadecimal digits."""
    return _sha256(_text(protocol))


def read_evaluation(path: Path) -> Evaluation:
    """Read an evaluation file.

    Raises
    ------
    RunError
        The file is missing, broken or too new; see `read_h5`.
    """
    with read_h5(path, format="evaluation") as file:
        text = read_text(file, "protocol")
        if text_attribute(file["protocol"], "sha256") != _sha256(text):
            raise ValueError("its protocol doesn't match the sha256 beside it")
        return Evaluation(
            name=text_attribute(file, "evaluator"),
            step=int(file.attrs["step"]),
            run_id=text_attribute(file, "run_id"),
            scores={to_title(title): float(read_numpy(score)) for title, score in file["scores"].items()},
            protocol=json.loads(text),
            protocol_sha256=_sha256(text),
            arrays={to_title(title): read_numpy(array) for title, array in file["arrays"].items()},
        )


def read_evaluations(folder: Path, report: Callable[[str], None]) -> list[Evaluation]:
    """Read every evaluation in a folder, by evaluator, step and protocol; none where there is no folder.

    `report` takes a line about each file that can't be read.
    """
    found = []
    for path in sorted(folder.glob("*.h5")):
        if is_temporary(path):
            continue
        try:
            found.append(read_evaluation(path))
        except RunError as error:
            report(str(error))
    return found


def _text(protocol: Mapping[str, Any]) -> str:
    return json.dumps(protocol, sort_keys=True, allow_nan=False)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
