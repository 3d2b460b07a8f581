from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from acaikit.artifacts.arrays import read_numpy, refusal


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i2", ">u2", "i4", "u4", "i8", "u8", "f2", "<f4", ">f8"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3, 2)])
def test_what_can_be_stored_comes_back(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    assert refusal(array) is None
    with h5py.File(io.BytesIO(), "w") as file:
        read = read_numpy(file.create_dataset("x", data=array))
    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, shape, array.tobytes())


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array(["a"], object), "a numpy ndarray of type object"),
        (np.array(["a"]), "a numpy ndarray of type <U1"),
        (np.zeros(2, np.complex64), "a numpy ndarray of type complex64"),
        (np.zeros(2, np.longdouble), "a numpy ndarray of type float128"),
        (np.zeros(2, [("a", "i4")]), "a numpy ndarray of type [('a', '<i4')]"),
        (np.ma.masked_array([1.0], [True]), "a numpy MaskedArray of type float64"),
    ],
)
def test_what_cannot_be_stored(array: np.ndarray, said: str) -> None:
    assert refusal(array) == said


def test_only_numbers_are_read() -> None:
    with h5py.File(io.BytesIO(), "w") as file:
        for entry in (file.create_group("group"), file.create_dataset("text", data=b"ab")):
            with pytest.raises(ValueError, match="isn't a dataset of numbers"):
                read_numpy(entry)
