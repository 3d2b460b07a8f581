"""A state tree in an HDF5 group: every array as a dataset of its own, everything else as a JSON skeleton.

JSON has no tuples, bytes, non-string keys or non-finite numbers. Those become objects with one key that names what
they are, ``{"tuple": [...]}``, and so does a dict: ``{"dict": [[key, value], ...]}``.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from typing import Any, TypeAlias

import h5py
import numpy as np
import torch

from acaikit.artifacts.tensors import read_numpy, read_tensor, refusal, write_array
from acaikit.artifacts.text import read_text, write_text

Tree: TypeAlias = Any
"""Nested dicts (str or int keys), lists and tuples of None, bool, int, float, str, bytes, tensors and numpy arrays."""

_MAX_DEPTH = 64
_JSON_INT_BITS = 63


def write_tree(group: h5py.Group, tree: Tree, name: str = "state") -> None:
    """Store a tree: datasets ``000000``, ``000001``, ... and the JSON text ``skeleton``.

    Each dataset says in its attribute ``path`` where in the tree it belongs.

    Parameters
    ----------
    group : h5py.Group
        An empty group.
    tree : Tree
        What to store. An OrderedDict is stored as a dict, a Parameter as a tensor.
    name : str
        What to call the tree in paths.

    Raises
    ------
    TypeError
        An entry can't be stored; the message gives its path. Nothing has been written then.
    """
    arrays: list[tuple[str, torch.Tensor | np.ndarray]] = []
    skeleton = json.dumps(_encode(tree, name, 0, arrays), allow_nan=False)
    write_text(group, "skeleton", skeleton)
    for index, (path, array) in enumerate(arrays):
        dataset = write_array(group, f"{index:06d}", array)
        # HDF5 holds an attribute of at most 64 KiB.
        dataset.attrs["path"] = np.bytes_(path.encode("ascii", "backslashreplace")[:1000])


def read_tree(group: h5py.Group) -> Tree:
    """Read what `write_tree` stored: the same types, values, shapes and bits; tensors on the CPU.

    Raises
    ------
    KeyError, ValueError, RuntimeError
        The group doesn't hold a tree. `read_h5` turns these into `BrokenFile`.
    """
    return _decode(json.loads(read_text(group, "skeleton")), group)


def _encode(value: Tree, path: str, depth: int, arrays: list[tuple[str, torch.Tensor | np.ndarray]]) -> Any:
    # Types are compared exactly: a subclass (an enum, a named tuple) would come back as something else.
    kind = type(value)
    if depth > _MAX_DEPTH:
        raise TypeError(f"{path[:200]}...: more than {_MAX_DEPTH} levels can't be stored")
    if kind is list:
        return [_encode(item, f"{path}[{index}]", depth + 1, arrays) for index, item in enumerate(value)]
    if kind is tuple:
        return {"tuple": _encode(list(value), path, depth, arrays)}
    if kind is dict or kind is OrderedDict:
        for key in value:
            if type(key) not in (str, int):
                raise TypeError(f"{path}: the key {key!r} can't be stored, only str and int keys can")
        pairs = ((key, item, f"{path}[{key!r}]") for key, item in value.items())
        return {"dict": [[_scalar(key, at), _encode(item, at, depth + 1, arrays)] for key, item, at in pairs]}
    if kind is bytes:
        arrays.append((path, np.frombuffer(value, np.uint8)))
        return {"bytes": len(arrays) - 1}
    if isinstance(value, (torch.Tensor, np.ndarray)):
        if (reason := refusal(value)) is not None:
            raise TypeError(f"{path}: {reason} can't be stored")
        arrays.append((path, value))
        return {"tensor" if isinstance(value, torch.Tensor) else "array": len(arrays) - 1}
    return _scalar(value, path)


def _scalar(value: Any, path: str) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if value.bit_length() <= _JSON_INT_BITS else {"int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"float": np.array(value, ">f8").tobytes().hex()}
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise TypeError(f"{path}: a str that isn't valid Unicode can't be stored") from error
        return value
    article = "an" if kind.__name__[0].lower() in "aeiou" else "a"
    raise TypeError(f"{path}: {article} {kind.__name__} can't be stored")


def _decode(node: Any, group: h5py.Group) -> Tree:
    if isinstance(node, list):
        return [_decode(item, group) for item in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"tuple": [*items]}:
            return tuple(_decode(item, group) for item in items)
        case {"dict": [*pairs]}:
            return dict(_pair(pair, group) for pair in pairs)
        case {"int": str(digits)}:
            return int(digits, 16)
        case {"float": str(digits)}:
            return np.frombuffer(bytes.fromhex(digits), ">f8").reshape(()).item()
        case {"bytes": int(index)}:
            return read_numpy(group[f"{index:06d}"]).tobytes()
        case {"tensor": int(index)}:
            return read_tensor(group[f"{index:06d}"])
        case {"array": int(index)}:
            return read_numpy(group[f"{index:06d}"])
    raise ValueError("the skeleton has an entry of an unknown kind")


def _pair(pair: Any, group: h5py.Group) -> tuple[str | int, Tree]:
    match pair:
        case [key, item] if isinstance(key := _decode(key, group), (str, int)):
            return key, _decode(item, group)
    raise ValueError("the skeleton has a dict entry without a proper key")
