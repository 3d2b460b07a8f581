from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.rundir import RunDir
from acaikit.engine import Trainer


def checkpoint(run: Path, step: int) -> Path:
    return RunDir(run).checkpoints / f"step-{step:09d}.h5"


def falsify(run: Path, step: int) -> None:
    """Give every weight of a checkpoint another last bit; its hash is right."""
    checkpoints = Checkpoints(RunDir(run).checkpoints, RunDir(run).read_run()["run_id"])
    state = checkpoints.load(step)
    for weight in state["model"].values():
        weight.view(torch.int32).bitwise_xor_(1)
    checkpoints.save(step, state)


def test_a_run_that_is_well(acaikit, finished) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*.*")}
    (finished / "notes.txt").touch()
    ran = acaikit("verify", finished)
    assert "files: 4 of 4 are whole and are what their names say\nnot acaikit's: notes.txt\n" in ran.out
    assert re.search(
        r"bit for bit the same: 2 steps trained again in (?:under a second|\d+s), from step 2; "
        r"compared were \d\d\d tensors \([\d,]+ bytes\) and 1 row of metrics\n$",
        ran.out,
    )
    assert "training on cpu with 1 thread, as before" in ran.out
    assert "training from step 2 to 4 again, 2 steps" in ran.err
    (finished / "notes.txt").unlink()
    assert {file: file.stat().st_mtime_ns for file in finished.rglob("*.*")} == before


def test_json_is_one_object(acaikit, finished) -> None:
    ran = acaikit("verify", finished, "--json")
    assert ran.err == ""
    told = json.loads(ran.out)
    assert (told["run"], told["sound"]) == ("finished", True)
    assert [file["kind"] for file in told["files"]] == ["run", "checkpoint", "checkpoint", "metrics"]
    assert {file["fault"] for file in told["files"]} == {None}
    replay = told["replay"]
    assert (replay["begin"], replay["end"], replay["rows"], replay["differences"]) == (2, 4, 1, [])
    falsify(finished, 4)
    told = json.loads(acaikit("verify", finished, "--json", code=1).out)
    assert not told["sound"]
    assert len(told["replay"]["differences"]) > 5


def test_other_bits(acaikit, finished) -> None:
    assert acaikit("verify", finished, "--quiet") == (0, "", "")
    falsify(finished, 4)
    ran = acaikit("verify", finished, "--quiet", code=1)
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert re.fullmatch(
        r"error: finished: 2 steps trained again in (?:under a second|\d+s), from step 2 came to other bits in "
        r"\d+ places",
        lines[0],
    )
    for line in lines[1:6]:
        assert re.fullmatch(r"  model/[\w.]+: [\d,]+ of [\d,]+ elements, the largest difference [\d.e-]+", line)
    assert re.fullmatch(r"  and \d+ more; --json lists them all", lines[6])
    assert lines[7:] == ["what may explain it: none of the conditions known to matter has changed"]


def test_a_run_file_that_is_broken(acaikit, finished) -> None:
    (finished / "run.h5").write_bytes(b"")
    ran = acaikit("verify", finished, code=1)
    assert "error: finished: nothing was trained again, for lack of a run.h5 that is whole" in ran.err
    assert "files: 3 of 4 are whole" in ran.out


def test_a_file_that_is_broken(acaikit, finished) -> None:
    checkpoint(finished, 4).write_bytes(checkpoint(finished, 4).read_bytes()[:-1])
    ran = acaikit("verify", finished, code=1)
    assert re.search(r"error: finished/checkpoints/step-000000004.h5 .*another length", ran.err)
    assert "files: 3 of 4 are whole" in ran.out
    assert "bit for bit the same: 2 steps trained again" in ran.out
    assert "from step 0" in ran.out
    checkpoint(finished, 2).write_bytes(b"")
    ran = acaikit("verify", finished, code=1)
    assert "error: finished: nothing was trained again, for lack of a checkpoint that is whole" in ran.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nowhere"], "nowhere holds no run"),
        (["finished", "--device", "cuda"], "torch sees no GPU"),
        (["finished", "--data-dir", "nowhere"], "--data-dir nowhere is no folder"),
    ],
)
def test_what_can_not_be_verified(acaikit, finished, args: list[str], said: str) -> None:
    assert said in acaikit("verify", *args, code=2).err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_written(acaikit, finished) -> None:
    tree = [finished, *finished.rglob("*")]
    for path in tree:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        acaikit("verify", finished, "--quiet")
    finally:
        for path in tree:
            path.chmod(0o755)


def test_ctrl_c_ends_it_at_once(acaikit, finished, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(trainer: Trainer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "step", interrupted)
    assert "interrupted" in acaikit("verify", finished, code=130).err
