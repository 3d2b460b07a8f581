from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from acaikit.artifacts.evaluations import protocol_hash, read_evaluation, read_evaluations, write_evaluation
from acaikit.artifacts.faults import BrokenFile
from acaikit.artifacts.h5file import write_h5
from acaikit.artifacts.text import write_text

SCORES = {"accuracy": 0.1, "distance/mean": float("nan"), "count": 3}
PROTOCOL = {"pairs": 1024, "steps": [0.0, 0.5], "é": None}
ARRAYS = {
    "latents": np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32),
    "labels": np.arange(50, dtype=np.uint8),
    "images": np.zeros((20, 32, 32), np.uint8),
    "no images": np.zeros((0, 32, 32), np.uint8),
    "mask": np.array(True),
}


def write(folder: Path, **changes: Any) -> Path:
    given = {"name": "lines", "step": 4096, "run_id": "run", "scores": SCORES, "protocol": PROTOCOL, "arrays": ARRAYS}
    return write_evaluation(folder, **(given | changes))


def test_round_trip(tmp_path: Path) -> None:
    path = write(tmp_path / "eval")
    found = read_evaluation(path)
    assert path == tmp_path / "eval" / f"lines-000004096-{found.protocol_sha256[:8]}.h5"
    assert (found.name, found.step, found.run_id) == ("lines", 4096, "run")
    assert found.protocol == PROTOCOL
    assert list(found.scores) == sorted(SCORES)
    np.testing.assert_array_equal([found.scores[title] for title in SCORES], list(SCORES.values()))
    assert found.arrays.keys() == ARRAYS.keys()
    for title, array in ARRAYS.items():
        assert found.arrays[title].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[title], array)


def test_bare_h5py_reads_it(tmp_path: Path) -> None:
    with h5py.File(write(tmp_path), "r") as file:
        text = bytes(file["protocol"][:])
        assert json.loads(text) == PROTOCOL
        assert file["protocol"].attrs["sha256"].decode() == hashlib.sha256(text).hexdigest()
        assert file["scores/accuracy"][()] == 0.1
        assert file["arrays/latents"].chunks is None
        assert file["arrays/labels"].chunks is None
        images = file["arrays/images"]
        assert (images.compression, images.compression_opts, images.shuffle) == ("gzip", 1, True)


def test_all_of_a_folder(tmp_path: Path) -> None:
    lines: list[str] = []
    assert read_evaluations(tmp_path / "none", lines.append) == []
    write(tmp_path, name="probe")
    write(tmp_path, protocol={"pairs": 2})
    write(tmp_path, step=8)
    write(tmp_path)
    (tmp_path / "zz-000000001-00000000.h5").write_bytes(b"no HDF5")
    found = read_evaluations(tmp_path, lines.append)
    assert [(e.name, e.step) for e in found] == [("lines", 8), ("lines", 4096), ("lines", 4096), ("probe", 4096)]
    assert {e.protocol_sha256 for e in found} == {protocol_hash(PROTOCOL), protocol_hash({"pairs": 2})}
    assert len(lines) == 1 and "zz-000000001" in lines[0]


def test_equal_protocols_have_equal_hashes(tmp_path: Path) -> None:
    one = read_evaluation(write(tmp_path)).protocol_sha256
    reordered = dict(reversed(PROTOCOL.items()))
    assert read_evaluation(write(tmp_path, protocol=reordered)).protocol_sha256 == one
    assert read_evaluation(write(tmp_path, protocol=PROTOCOL | {"pairs": 1})).protocol_sha256 != one


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "../x"}, ValueError, "can't be called"),
        ({"name": ""}, ValueError, "can't be called"),
        ({"protocol": {"x": float("nan")}}, ValueError, "JSON"),
        ({"protocol": {"x": {1}}}, TypeError, "JSON"),
        ({"arrays": {"x": np.array(["a"])}}, TypeError, r"arrays\['x'\].*<U1"),
        ({"scores": {"": 1.0}}, ValueError, "empty"),
    ],
)
def test_refusals(tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        write(tmp_path / "eval", **changes)
    assert list(tmp_path.iterdir()) == []


def test_damage_and_a_wrong_protocol_hash(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenFile):
        read_evaluation(path)

    def fill(file: h5py.Group) -> None:
        write_text(file, "protocol", "{}").attrs["sha256"] = np.bytes_(b"0" * 64)

    write_h5(path, fill, format="evaluation", run_id="run", step=1)
    with pytest.raises(BrokenFile, match="protocol"):
        read_evaluation(path)
