from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.data import idx
from acaikit.errors import DataError

SHAPE = (5, 3, 2)
PIXELS = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
WHOLE = struct.pack(">BBBBIII", 0, 0, 8, 3, *SHAPE) + PIXELS.tobytes()
DIGEST = hashlib.md5(WHOLE).hexdigest()


def put(folder: Path, content: bytes, name: str = "images") -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return file


@pytest.mark.parametrize("name", ["images.gz", "images"])
@pytest.mark.parametrize("digest", [None, DIGEST])
def test_packed_and_unpacked_files(tmp_path: Path, name: str, digest: str | None) -> None:
    array = idx.read(put(tmp_path, WHOLE, name), SHAPE, digest)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, PIXELS)


def test_a_file_that_was_unpacked_and_kept_its_name(tmp_path: Path) -> None:
    file = tmp_path / "images.gz"
    file.write_bytes(WHOLE)
    np.testing.assert_array_equal(idx.read(file, SHAPE, DIGEST), PIXELS)


def test_another_sets_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images is That's file of that name"):
        idx.read(put(tmp_path, WHOLE), SHAPE, None, {DIGEST: "That"})


def test_one_axis(tmp_path: Path) -> None:
    file = put(tmp_path, bytes([0, 0, 8, 1, 0, 0, 1, 2]) + bytes(258))
    np.testing.assert_array_equal(idx.read(file, (258,)), np.zeros(258))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no IDX file of 3 axes"),
        (b"\x00\x00\x08\x01" + WHOLE[4:], "starts with 00 00 08 01, not 00 00 08 03"),
        (b"<!DOCTYPE html>", "no IDX file of 3 axes"),
        (WHOLE[:4], "less than its header of 16"),
        (WHOLE[:6], "less than its header of 16"),
        (WHOLE[:15], "less than its header of 16"),
        (WHOLE[:4] + struct.pack(">I", 6) + WHOLE[8:], r"\[6, 3, 2\], but \[5, 3, 2\] is expected"),
        (WHOLE[:-1], "holds 29 bytes of data, but 30 are expected"),
        (WHOLE + b"!", "holds 31 bytes of data, but 30 are expected"),
        (WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]), f"not the published content .*{DIGEST}"),
    ],
    ids=[
        "empty",
        "one axis",
        "html",
        "magic alone",
        "half a size",
        "half a header",
        "count",
        "short",
        "long",
        "altered",
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, content: bytes, said: str) -> None:
    for file in (put(tmp_path, content), put(tmp_path, content, "images.gz")):
        with pytest.raises(DataError, match=said) as caught:
            idx.read(file, SHAPE, DIGEST)
        assert str(file) in str(caught.value)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_damaged_gzip_file_never_passes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    packed = bytearray(gzip.compress(WHOLE, mtime=0))
    if data.draw(st.booleans(), "cut"):
        packed = packed[: data.draw(st.integers(0, len(packed) - 1), "length")]
    else:
        packed[data.draw(st.integers(10, len(packed) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    file = tmp_path_factory.mktemp("idx") / "images.gz"
    file.write_bytes(packed)
    said = ""
    try:
        # Some bits of a gzip file mean nothing: the content is whole then.
        np.testing.assert_array_equal(idx.read(file, SHAPE, DIGEST), PIXELS)
    except DataError as error:
        said = str(error)
    assert not said or str(file) in said
