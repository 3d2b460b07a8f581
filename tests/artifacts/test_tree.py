from __future__ import annotations

import enum
import random
import struct
from collections import OrderedDict, namedtuple
from io import BytesIO
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.artifacts.h5file import read_h5, write_h5
from acaikit.artifacts.text import write_text
from acaikit.artifacts.tree import read_tree, write_tree

# torch says so whenever a complex32 tensor is made.
pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")

NAMES = """bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 bfloat16 complex32 complex64
complex128 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu""".split()  # noqa: SIM905
DTYPES = [getattr(torch, name) for name in NAMES if hasattr(torch, name)]


def round_trip(tree: Any) -> Any:
    image = BytesIO()
    with h5py.File(image, "w") as file:
        write_tree(file, tree)
    with h5py.File(image, "r") as file:
        return read_tree(file)


def raw(tensor: torch.Tensor) -> bytes:
    # contiguous() would keep the odd strides of an axis of length 0 or 1.
    plain = tensor.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
    return bytes(plain.reshape(-1).view(torch.uint8).tolist())


def assert_same(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert [(type(key), key) for key in left] == [(type(key), key) for key in right]
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, float):
        assert struct.pack("<d", left) == struct.pack("<d", right)
    elif isinstance(left, torch.Tensor):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        assert raw(left) == raw(right)
    elif isinstance(left, np.ndarray):
        assert (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
    else:
        assert left == right


def laid_out(tensor: torch.Tensor, draw: st.DrawFn) -> torch.Tensor:
    """Give the same values in another memory layout."""
    kind = draw(st.sampled_from(["as it is", "reversed axes", "every second", "expanded", "channels last"]))
    if kind == "reversed axes":
        return tensor.permute(tuple(range(tensor.dim()))[::-1])
    if kind == "every second" and tensor.dim():
        return tensor[::2]
    if kind == "expanded":
        return tensor.expand(2, *tensor.shape)
    if kind == "channels last" and tensor.dim() == 4 and tensor.numel():
        return tensor.to(memory_format=torch.channels_last)
    return tensor


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype == torch.bool:
        data = bytes(byte & 1 for byte in data)
    flat = torch.frombuffer(bytearray(data), dtype=dtype) if size else torch.empty(0, dtype=dtype)
    return laid_out(flat.reshape(shape), draw)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(["?", "u1", "<u2", ">u4", "<i8", ">i2", "<f2", ">f4", "<f8"])))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        data = bytes(byte & 1 for byte in data)
    array = np.frombuffer(data, dtype).reshape(shape)
    match draw(st.sampled_from(["as it is", "backwards", "every second", "transposed", "broadcast"])):
        case "backwards" if array.ndim:
            return np.flip(array)
        case "every second" if array.ndim:
            return array[::-2]
        case "transposed":
            return array.T
        case "broadcast":
            return np.broadcast_to(array, (2, *array.shape))
    return array


text = st.text(st.characters(exclude_categories=["Cs"]))
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 200), 1 << 200)
    | st.floats(allow_nan=True)
    | text
    | st.binary()
    | tensors()
    | arrays()
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(text | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(trees)
def test_round_trip_is_exact(tree: Any) -> None:
    assert_same(tree, round_trip(tree))


@settings(max_examples=20, deadline=None)
@given(trees)
def test_round_trip_through_a_published_file_is_exact(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.h5"
    write_h5(path, lambda file: write_tree(file.create_group("state"), tree), format="tree", run_id="r", step=0)
    with read_h5(path, format="tree") as file:
        assert_same(tree, read_tree(file["state"]))


@settings(max_examples=200, deadline=None)
@given(tensors())
def test_tensors_keep_every_bit(tensor: torch.Tensor) -> None:
    assert_same(tensor, round_trip(tensor))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 3, 2), (2, 3)])
def test_every_dtype_in_every_kind_of_shape(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape)) * dtype.itemsize
    data = bytearray(random.Random(0).randbytes(size) if dtype != torch.bool else bytes([1] * size))
    tensor = (torch.frombuffer(data, dtype=dtype) if size else torch.empty(0, dtype=dtype)).reshape(shape)
    assert_same(tensor, round_trip(tensor))


def test_floats_keep_every_bit() -> None:
    bits = [0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 1, 0x8000000000000000]
    floats = [struct.unpack("<d", struct.pack("<Q", value))[0] for value in bits] + [0.1, 1e22, 1.0]
    assert_same(floats, round_trip(floats))


def test_integers_of_any_size() -> None:
    # Python refuses to turn integers of more than 4,300 digits into decimals.
    numbers = [sign * ((1 << bits) + add) for sign in (-1, 1) for bits in (62, 63, 64, 128, 20_000) for add in (-1, 0)]
    assert_same(numbers, round_trip(numbers))


def test_views_and_parameters() -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    views = [base.mT, base[:, ::2], base.expand(5, 2, 3, 4), torch.nn.Parameter(base), torch.tensor([1 + 2j]).conj()]
    for view in views:
        back = round_trip(view)
        assert type(back) is torch.Tensor
        assert torch.equal(back, view.detach())


def test_tensors_read_are_writable_and_their_own() -> None:
    back = round_trip([torch.zeros(3), torch.zeros(())])
    back[0] += 1
    back[1] += 1
    assert back[0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", ["?", "<u2", "<i8", "<f2", "<f4", ">f8"])
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_numpy_arrays(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    assert_same(array, round_trip(array))


def test_a_training_state() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).to(torch.bfloat16)
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 2, dtype=torch.bfloat16)).sum().backward()
    adam.step()
    generator = np.random.default_rng(0)
    state = {
        "model": dict(model.state_dict()),
        "optimizer": adam.state_dict(),
        "torch": torch.get_rng_state(),
        "python": random.Random(0).getstate(),
        "numpy": generator.bit_generator.state,
    }
    back = round_trip(state)
    assert_same(state, back)
    assert_same(dict(model.state_dict()), round_trip(model.state_dict()))
    random.Random(1).setstate(back["python"])
    generator.bit_generator.state = back["numpy"]
    adam.load_state_dict(back["optimizer"])


def test_stored_form_is_plain_hdf5() -> None:
    image = BytesIO()
    with h5py.File(image, "w") as file:
        write_tree(file, {"model": {"weight": torch.ones(2, dtype=torch.bfloat16)}, "é": torch.ones(1)})
    with h5py.File(image, "r") as file:
        assert sorted(file) == ["000000", "000001", "skeleton"]
        assert file["000000"].dtype == np.uint16
        assert file["000000"].attrs["torch_dtype"] == b"bfloat16"
        assert file["000000"].attrs["path"] == b"state['model']['weight']"
        assert bytes(file["skeleton"][:]).decode().startswith('{"dict": [["model"')


def test_h5py_and_numpy_alone_give_the_values_of_types_that_numpy_lacks() -> None:
    values = [0.0, -0.0, 1.5, -3.25, float("inf"), float("-inf"), 2.0**-133]
    image = BytesIO()
    with h5py.File(image, "w") as file:
        write_tree(file, {"bf16": torch.tensor(values, dtype=torch.bfloat16), "complex": torch.tensor([1 - 2j])})
    with h5py.File(image, "r") as file:
        bits = file["000000"]
        assert (bits.dtype.str, bits.attrs["torch_dtype"]) == ("<u2", b"bfloat16")
        # A bfloat16 is the upper half of a float32.
        wide = (bits[:].astype("<u4") << 16).view("<f4")
        assert wide.tobytes() == np.array(values, "<f4").tobytes()
        assert (file["000001"].attrs["torch_dtype"], file["000001"][:].tolist()) == (b"complex64", [[1.0, -2.0]])


Pair = namedtuple("Pair", "a b")


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({1}, "a set can't be stored"),
        (object(), "an object can't be stored"),
        (np.float64(1), "a float64 can't be stored: write float(...)"),
        (np.bool_(True), "a bool can't be stored: write bool(...)"),
        (Colour.RED, "a Colour can't be stored"),
        (Pair(1, 2), "a Pair can't be stored"),
        (torch.Size([1]), "a Size can't be stored"),
        (1j, "a complex can't be stored"),
        (np.array([None]), "a numpy ndarray of type object can't be stored"),
        (np.array(["a"]), "a numpy ndarray of type <U1 can't be stored"),
        (torch.eye(2).to_sparse(), "a tensor without plain values"),
        (torch.empty(2, device="meta"), "a tensor without plain values"),
        ("\ud800", "valid Unicode"),
        ({1.5: 0}, "the key 1.5 can't be stored"),
        ({True: 0}, "the key True can't be stored"),
        ({None: 0}, "the key None can't be stored"),
    ],
)
def test_anything_else_is_refused_with_its_path(value: Any, reason: str) -> None:
    image = BytesIO()
    tree = {"optimizers": OrderedDict(model=[0, torch.ones(2), (5,), value])}
    with h5py.File(image, "w") as file:
        with pytest.raises(TypeError) as caught:
            write_tree(file, tree)
        assert list(file) == []
    assert str(caught.value).startswith("state['optimizers']['model'][3]")
    assert reason in str(caught.value)


def test_a_cycle_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeError, match="more than 64 levels"):
        round_trip(loop)


@pytest.mark.parametrize(
    "skeleton",
    [
        "",
        "{",
        "{}",
        '{"pickle": "x"}',
        '{"tuple": 1}',
        '{"dict": [[1]]}',
        '{"dict": [[[], 1]]}',
        '{"dict": [1]}',
        '{"tensor": "../x"}',
        '{"tensor": 5}',
        '{"float": "00"}',
        '{"float": ""}',
        '{"int": "x"}',
        "[" * 100_000,
    ],
)
def test_a_malformed_skeleton_is_refused(skeleton: str) -> None:
    with h5py.File(BytesIO(), "w") as file:
        write_text(file, "skeleton", skeleton)
        with pytest.raises((KeyError, ValueError, RuntimeError)):
            read_tree(file)


def test_a_dataset_that_contradicts_its_dtype_is_refused() -> None:
    with h5py.File(BytesIO(), "w") as file:
        write_tree(file, torch.ones(3))
        for name in (b"bfloat16", b"complex64", b"int32", b"load"):
            file["000000"].attrs["torch_dtype"] = np.bytes_(name)
            with pytest.raises(ValueError, match="can't hold a tensor"):
                read_tree(file)
