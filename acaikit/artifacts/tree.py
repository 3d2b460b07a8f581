"""A state tree in an HDF5 group: every array as a dataset of its own, everything else as a JSON skeleton.

torch is imported where there are tensors, and not before: trees of plain values and numpy arrays do without it.

JSON has no tuples, bytes, non-string keys or non-finite numbers. Those become objects with one key that names what
they are, ``{"tuple": [...]}``, and so does a dict: ``{"dict": [[key, value], ...]}``.
"""

from __future__ import annotations

import json
import math
import sys
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import h5py
import numpy as np

from acaikit.artifacts.arrays import read_numpy, refusal
from acaikit.artifacts.skeleton import LONGEST, parse_skeleton
from acaikit.artifacts.text import read_text, write_text

if TYPE_CHECKING:
    from torch import Tensor

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
    arrays: list[tuple[str, Tensor | np.ndarray]] = []
    skeleton = json.dumps(_encode(tree, name, 0, arrays), allow_nan=False)
    if len(skeleton) > LONGEST:
        raise TypeError(f"{name}: {len(skeleton):,} characters of plain values can't be stored, only {LONGEST:,} can")
    write_text(group, "skeleton", skeleton)
    for index, (path, array) in enumerate(arrays):
        dataset = _write(group, f"{index:06d}", array)
        # HDF5 holds an attribute of at most 64 KiB.
        dataset.attrs["path"] = np.bytes_(path.encode("ascii", "backslashreplace")[:1000])


def read_tree(group: h5py.Group) -> Tree:
    """Read what `write_tree` stored: the same types, values, shapes and bits; tensors on the CPU.

    Raises
    ------
    KeyError, ValueError, RuntimeError
        The group doesn't hold a tree. `read_h5` turns these into `BrokenFile`.
    """
    indices = count()
    tree = _decode(parse_skeleton(read_text(group, "skeleton")), group, indices)
    if len(group) != next(indices) + 1:
        raise ValueError("it holds more datasets than its skeleton names")
    return tree


def _encode(value: Tree, path: str, depth: int, arrays: list[tuple[str, Tensor | np.ndarray]]) -> Any:
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
    if isinstance(value, np.ndarray) or _is_tensor(value):
        if (reason := _refusal(value)) is not None:
            raise TypeError(f"{path}: {reason} can't be stored")
        arrays.append((path, value))
        return {"array" if isinstance(value, np.ndarray) else "tensor": len(arrays) - 1}
    return _scalar(value, path)


def _is_tensor(value: Any) -> TypeGuard[Tensor]:
    # Where nobody has imported torch, nothing can be one.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _refusal(value: Tensor | np.ndarray) -> str | None:
    if isinstance(value, np.ndarray):
        return refusal(value)
    from acaikit.artifacts import tensors

    return tensors.refusal(value)


def _write(group: h5py.Group, name: str, value: Tensor | np.ndarray) -> h5py.Dataset:
    if isinstance(value, np.ndarray):
        return group.create_dataset(name, data=value)
    from acaikit.artifacts import tensors

    return tensors.write_tensor(group, name, value)


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
    plain = type(value.item()) if isinstance(value, np.generic) else None
    hint = f": write {plain.__name__}(...)" if plain in (bool, int, float, str, bytes) else ""
    article = "an" if kind.__name__[0].lower() in "aeiou" else "a"
    raise TypeError(f"{path}: {article} {kind.__name__} can't be stored{hint}")


def _decode(node: Any, group: h5py.Group, indices: Iterator[int]) -> Tree:
    if isinstance(node, list):
        return [_decode(item, group, indices) for item in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"tuple": [*items]}:
            return tuple(_decode(item, group, indices) for item in items)
        case {"dict": [*pairs]}:
            found = dict(_pair(pair, group, indices) for pair in pairs)
            if len(found) != len(pairs):
                raise ValueError("the skeleton has a dict with one key twice")
            return found
        case {"int": str(digits)}:
            return int(digits, 16)
        case {"float": str(digits)}:
            return np.frombuffer(bytes.fromhex(digits), ">f8").reshape(()).item()
        case {"bytes": int(index)}:
            return read_numpy(_dataset(group, index, indices)).tobytes()
        case {"tensor": int(index)}:
            from acaikit.artifacts.tensors import read_tensor

            return read_tensor(_dataset(group, index, indices))
        case {"array": int(index)}:
            return read_numpy(_dataset(group, index, indices))
    raise ValueError("the skeleton has an entry of an unknown kind")


def _dataset(group: h5py.Group, index: int, indices: Iterator[int]) -> h5py.Dataset:
    # Each dataset is named once and in order: a small file can't become a large tree by naming one often.
    if index != next(indices):
        raise ValueError(f"the skeleton names dataset {index} out of turn")
    return group[f"{index:06d}"]


def _pair(pair: Any, group: h5py.Group, indices: Iterator[int]) -> tuple[str | int, Tree]:
    match pair:
        case [key, item] if type(key := _decode(key, group, indices)) in (str, int):
            return key, _decode(item, group, indices)
    raise ValueError("the skeleton has a dict entry without a proper key")
