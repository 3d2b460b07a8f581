from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from . import kills

pytestmark = pytest.mark.slow


def test_a_run_killed_again_and_again_ends_in_the_bits_of_one_left_alone() -> None:
    report = kills.run(10)
    assert report.faults == []
    assert report.did == 10
    assert report.found["run to its end"] >= 1


def test_a_digest_sees_every_bit_type_and_shape() -> None:
    state = {"weight": torch.zeros(2, 3), "steps": 3, "name": ["a", None]}
    others = [
        {**state, "weight": torch.tensor([[0.0, 0, 0], [0, 0, -0.0]])},
        {**state, "weight": torch.zeros(3, 2)},
        {**state, "weight": torch.zeros(2, 3, dtype=torch.int32)},
        {**state, "weight": np.zeros((2, 3))},
        {**state, "steps": 3.0},
        {**state, "name": ["a"]},
        {"weight": state["weight"], "steps": 3},
    ]
    assert len({kills.digest(one) for one in [state, *others]}) == 8
    assert kills.digest(state) == kills.digest({**state, "weight": np.zeros((2, 3), np.float32)})


def test_other_bits_and_lost_files_are_found(tmp_path: Path) -> None:
    straight = kills.Straight(tmp_path, "vae")
    path = tmp_path / "vae-straight"
    assert straight.differs(path) is None
    before, last = kills.steps(path)[-2:]
    newest = path / "checkpoints" / f"step-{last:09d}.h5"
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    assert "sha256" in str(straight.differs(path))
    assert straight.differs(path, {newest}) is None
    straight.states[before] = "other"
    assert straight.differs(path, {newest}) == f"the checkpoint of step {before} has other bits"
    other = {**straight.rows, "samples": straight.rows["samples"] + 1}
    assert straight.wrong(other) == "samples has other values"
