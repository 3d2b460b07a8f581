"""One torch tensor as one contiguous HDF5 dataset, bit for bit: the only file of this package that needs torch."""

from __future__ import annotations

import h5py
import numpy as np
import torch

from acaikit.artifacts.arrays import read_numpy
from acaikit.artifacts.text import text_attribute

_PLAIN = {"bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
_PLAIN |= {"float16", "float32", "float64"}

_FLOAT8 = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]
_VIEWED = {"bfloat16": torch.uint16, **dict.fromkeys(_FLOAT8, torch.uint8)}
"""Types that numpy lacks, and the integers of the same width that hold their bits."""

_COMPLEX = {"complex32", "complex64", "complex128"}
"""Stored as pairs of reals along one more axis: plain numbers in every HDF5 reader."""


def refusal(value: torch.Tensor) -> str | None:
    """Say what makes a tensor impossible to store, or None where it can be stored."""
    if value.is_meta or value.is_quantized or value.is_nested or value.layout != torch.strided:
        return f"a tensor without plain values ({value.device}, {value.layout}, {value.dtype})"
    if _name(value.dtype) not in {*_PLAIN, *_VIEWED, *_COMPLEX}:
        return f"a tensor of type {value.dtype}"
    return None


def write_tensor(group: h5py.Group, name: str, value: torch.Tensor) -> h5py.Dataset:
    """Store a tensor that `refusal` lets through.

    Parameters
    ----------
    group : h5py.Group
        Where the dataset goes.
    name : str
        The dataset's name.
    value : torch.Tensor
        Any shape, 0-d and empty ones included; any device and memory layout.

    Returns
    -------
    h5py.Dataset
        Contiguous, of the same shape (complex: one more axis of size 2), with the tensor's type in the attribute
        ``torch_dtype``.
    """
    plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if plain.is_complex():
        plain = torch.view_as_real(plain)
    elif (viewed := _VIEWED.get(_name(plain.dtype))) is not None:
        plain = plain.view(viewed)
    dataset = group.create_dataset(name, data=plain.numpy())
    dataset.attrs["torch_dtype"] = np.bytes_(_name(value.dtype).encode())
    return dataset


def read_tensor(dataset: h5py.Dataset) -> torch.Tensor:
    """Read a dataset as the CPU tensor that was stored.

    Raises
    ------
    KeyError
        It wasn't stored from a tensor.
    ValueError
        Its values don't fit the type that it names.
    """
    tensor = torch.from_numpy(read_numpy(dataset))
    if tensor.numel() == 0:
        # numpy gives empty arrays strides of 0, which torch can't view as another type.
        tensor = torch.empty(tensor.shape, dtype=tensor.dtype)
    name = text_attribute(dataset, "torch_dtype")
    if name in _PLAIN and name == _name(tensor.dtype):
        return tensor
    if name in _VIEWED and tensor.dtype == _VIEWED[name]:
        return tensor.view(getattr(torch, name))
    if name in _COMPLEX and tensor.shape[-1:] == (2,) and tensor.is_floating_point():
        dtype: torch.dtype = getattr(torch, name)
        if 2 * tensor.element_size() == dtype.itemsize:
            return tensor.view(dtype).squeeze(-1)
    raise ValueError(f"a dataset of type {dataset.dtype} can't hold a tensor of type {name!r}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
