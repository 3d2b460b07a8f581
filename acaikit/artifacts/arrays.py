"""One numpy array as one contiguous HDF5 dataset, bit for bit."""

from __future__ import annotations

import h5py
import numpy as np


def refusal(value: np.ndarray) -> str | None:
    """Say what makes an array impossible to store, or None where it can be stored.

    Arrays of bool, integers and floats of at most 64 bits can, whatever their shape, strides and byte order.
    """
    fine = type(value) is np.ndarray and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8
    return None if fine else f"a numpy {type(value).__name__} of type {value.dtype}"


def read_numpy(dataset: h5py.Dataset) -> np.ndarray:
    """Read a dataset as a numpy array, 0-d ones included.

    Raises
    ------
    ValueError
        It isn't a dataset of numbers.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "biuf":
        raise ValueError("an entry isn't a dataset of numbers")
    return np.asarray(dataset[...])
