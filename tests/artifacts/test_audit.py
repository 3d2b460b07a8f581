from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.artifacts import audit as rules
from acaikit.artifacts import messages, structure
from acaikit.artifacts.audit import audit
from acaikit.artifacts.structure import Dataset, Group, Structure

TYPES = [
    f"{order}{kind}" for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8") for order in "<>"
]


def build(fill: Callable[[h5py.File], object]) -> bytes:
    image = io.BytesIO()
    with h5py.File(image, "w", userblock_size=512, libver="earliest") as file:
        fill(file)
    return image.getvalue()[512:]


def parse(data: bytes) -> Group:
    def fetch(address: int, size: int) -> bytes:
        return data[address : address + size]

    found = Structure(fetch, len(data), 512)
    audit(found, fetch, len(data))
    return found.root


def described(group: Group) -> dict[str, object]:
    return {
        name: described(member)
        if isinstance(member, Group)
        else (member.shape, member.itemsize, sorted(member.attributes))
        for name, member in group.members.items()
    }


def by_h5py(group: h5py.Group) -> dict[str, object]:
    return {
        name: by_h5py(member)
        if isinstance(member, h5py.Group)
        else (member.shape, member.dtype.itemsize, sorted(member.attrs))
        for name, member in group.items()
    }


arrays = st.builds(
    lambda dtype, shape, chunked: (dtype, tuple(shape), chunked),
    st.sampled_from(["?", *TYPES]),
    st.lists(st.integers(0, 6), max_size=4),
    st.booleans(),
)
names = st.text("abc0%2F_", min_size=1, max_size=3).filter(lambda name: "%" not in name)
trees = st.recursive(arrays, lambda inner: st.dictionaries(names, inner, max_size=12), max_leaves=15)


def write(group: h5py.Group, name: str, tree: object) -> None:
    if isinstance(tree, dict):
        inner = group.create_group(name)
        for key, value in tree.items():
            write(inner, key, value)
        return
    dtype, shape, chunked = tree
    how = {"chunks": tuple(max(1, n // 2) for n in shape), "compression": 1, "shuffle": True, "fletcher32": True}
    packed = chunked and shape and 0 not in shape
    made = group.create_dataset(name, data=np.ones(shape, dtype), **(how if packed else {}))
    made.attrs["kind"] = np.bytes_(str(dtype))
    made.attrs["one"] = np.ones((), dtype)


@settings(deadline=None, max_examples=15)
@given(trees)
def test_it_sees_what_h5py_sees(tree: object) -> None:
    data = build(lambda file: write(file, "top", tree))
    with h5py.File(io.BytesIO(data), "r") as file:
        assert described(parse(data)) == by_h5py(file)


def test_trees_of_several_levels() -> None:
    def fill(file: h5py.File) -> None:
        for index in np.random.default_rng(0).permutation(700):
            file.create_dataset(f"{index:06d}", data=np.float32(index))
        file.create_dataset("long", data=np.arange(9000.0), chunks=(2,), maxshape=(None,))
        file.create_dataset("wide", data=np.arange(900.0).reshape(30, 30), chunks=(4, 7))
        del file["000003"]

    root = parse(build(fill))
    assert len(root.members) == 701
    assert len(root.members["long"].chunks) == 4500
    assert len(root.members["wide"].chunks) == 8 * 5


@pytest.mark.parametrize("dtype", ["?", *TYPES])
def test_each_type_of_number_is_known_by_what_hdf5_calls_it(dtype: str) -> None:
    encoded = h5py.h5t.py_create(np.dtype(dtype), logical=True).encode()[2:]
    assert messages.number_size(encoded + bytes(-len(encoded) % 8)) == np.dtype(dtype).itemsize


def test_where_an_array_lies() -> None:
    data = build(lambda file: file.create_dataset("x", data=np.arange(5)))
    found = parse(data).members["x"]
    assert isinstance(found, Dataset)
    assert np.frombuffer(data, np.int64, 5, found.layout.address).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", [".", "..", "a/b", "", "a\x00", "\x1b", "%2f", "%", "a" * 9000, "ä"])
def test_unsafe_names(name: str) -> None:
    with pytest.raises(ValueError, match="name that isn't safe"):
        rules._audit_name(name)


@pytest.mark.parametrize("name", ["a", "000000", "loss%2Ftrain", "psnr, dB", "%2Ea", "a..b", "x=[1]", "~"])
def test_safe_names(name: str) -> None:
    rules._audit_name(name)


@pytest.mark.parametrize(
    ("module", "limit", "value", "said"),
    [
        (structure, "MOST_OBJECTS", 5, "objects"),
        (structure, "MOST_GROUPS", 2, "groups"),
        (structure, "DEEPEST", 1, "deep"),
        (structure, "MOST_MESSAGES", 20, "too much to say"),
        (structure, "MOST_CHUNKS", 3, "chunks"),
        (rules, "MOST_ATTRIBUTES", 1, "attributes"),
        (rules, "MOST_CHUNK_BYTES", 23, "a chunk of"),
    ],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, module: object, limit: str, value: int, said: str) -> None:
    data = build(lambda file: [file.create_dataset("a/b/x", data=np.arange(12.0), chunks=(3,)), set_two(file)])
    parse(data)
    monkeypatch.setattr(module, limit, value)
    with pytest.raises(ValueError, match=said):
        parse(data)


def set_two(file: h5py.File) -> None:
    file["a/b/y"], file["a/b/z"] = 1.0, 2.0
    file.attrs["one"] = file.attrs["two"] = 1


def test_expansion(monkeypatch: pytest.MonkeyPatch) -> None:
    data = build(lambda file: file.create_dataset("x", data=np.zeros(10**6, "u1"), chunks=(10**5,), compression="gzip"))
    monkeypatch.setattr(rules, "MOST_UNPACKED", 8 * 10**5)
    parse(data)
    monkeypatch.setattr(rules, "MOST_EXPANSION", 2)
    with pytest.raises(ValueError, match="unpack to 1,000,000"):
        parse(data)


@pytest.mark.parametrize("position", [8, 13, 16, 24, 32, 40, 48, 64])
def test_a_superblock_of_another_form(position: int) -> None:
    data = bytearray(build(lambda file: None))
    data[position] ^= 0x41
    with pytest.raises(ValueError, match=r"it|root"):
        parse(bytes(data))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_bytes_end_in_a_verdict(data: st.DataObject) -> None:
    sound = bytearray(
        build(lambda file: [file.create_dataset("x", data=np.ones(20), chunks=(3,)), file.create_group("g")])
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(sound) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        sound[at : at + len(piece)] = piece[: len(sound) - at]
    with suppress(ValueError):
        parse(bytes(sound))
