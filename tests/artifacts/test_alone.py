"""The files of a run, written and read where little else is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.rundir import RunDir

DOCUMENT = Path(__file__).parents[2] / "docs" / "rundir.md"
BLOCKED = "import sys; sys.modules |= dict.fromkeys({names}); "
OTHERS = ("torch", "gin", "typer", "rich", "matplotlib", "scipy", "sklearn")

ALL = """
import pkgutil
from importlib import import_module
from pathlib import Path
import numpy as np
import acaikit.artifacts

names = [module.name for module in pkgutil.iter_modules(acaikit.artifacts.__path__)]
modules = {name: import_module(f"acaikit.artifacts.{name}") for name in names if name != "tensors"}
loaded = {name for name in sys.modules if name.startswith("acaikit.")}
assert loaded == {"acaikit.artifacts", "acaikit.errors", *(f"acaikit.artifacts.{name}" for name in modules)}

run = modules["rundir"].RunDir(Path("run"))
run.write_run({"run_id": "r", "resolved": "x = 1", "data": {"train": "ab"}})
assert run.read_run() == {"run_id": "r", "resolved": "x = 1", "data": {"train": "ab"}}
table = modules["metrics"].Metrics(run.metrics, "r")
table.append(3, {"loss/x": 0.5})
assert table.read()["loss/x"].tolist() == [0.5]
x = np.arange(6.0)
file = modules["evaluations"].write_evaluation(run.eval, "e", 3, "r", {"a": 1.0}, {"k": 2}, {"x": x})
assert (modules["evaluations"].read_evaluation(file).arrays["x"] == x).all()
checkpoints = modules["checkpoints"].Checkpoints(run.checkpoints, "r")
checkpoints.save(3, {"weights": x, "steps": (1, None)})
step, state = checkpoints.latest(report=print)
assert step == 3 and (state["weights"] == x).all() and state["steps"] == (1, None)
with modules["lock"].RunLock(run.lock_file):
    modules["log"].Log(run.log_file).add("begun")
"""


def run(code: str, blocked: tuple[str, ...], folder: Path, *args: str) -> str:
    command = [sys.executable, "-c", BLOCKED.format(names=blocked) + code, *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_but_tensors_works_without_torch_and_the_rest_of_acaikit(tmp_path: Path) -> None:
    run(ALL, OTHERS, tmp_path)
    assert (tmp_path / "run" / "log.txt").read_text().endswith(" begun\n")


def documented(name: str) -> str:
    (script,) = re.findall(rf"<!-- file: {name} -->\n```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return f"exec({script!r})"


def test_twenty_lines_read_a_run_with_h5py_alone(tmp_path: Path) -> None:
    directory = RunDir(tmp_path)
    directory.write_run({"run_id": "r", "resolved": "Experiment.seed = 5"})
    Metrics(directory.metrics, "r").append(7, {"probe/accuracy": 99.5})
    values = np.array([1.0, -3.140625, 2.0**-100, np.inf], np.float32)  # bfloat16 has all of them exactly
    checkpoints = Checkpoints(directory.checkpoints, "r")
    checkpoints.save(6, {})
    checkpoints.save(7, {"half": torch.tensor(values).bfloat16(), "w": torch.tensor(1.5)})
    with h5py.File(checkpoints.path(7)) as file:
        stored = [data.dtype.str for data in file["state"].values() if data.attrs.get("torch_dtype") == b"bfloat16"]
    assert stored == ["<u2"]
    script = documented("read_run.py")
    assert eval(script[5:-1]).count("\n") <= 20
    code = script.replace("array.shape)", "array.tolist())")
    out = run(code, (*OTHERS, "acaikit"), tmp_path, str(tmp_path))
    assert out.splitlines()[:4] == [
        "Experiment.seed = 5",
        "{'probe/accuracy': 99.5}",
        f"state['half'] float32 {values.tolist()}",
        "state['w'] float32 1.5",
    ]


def test_the_documented_script_reads_any_tree(tmp_path: Path) -> None:
    tree = {"big": 2**70, "tuple": (1, [None, b"\x00\xff"]), 3: np.arange(3), "nan": float("nan"), "empty": {}}
    checkpoints = Checkpoints(tmp_path, "r")
    checkpoints.save(7, tree)
    code = documented("read_tree.py") + "; print(tree)"
    out = run(code, (*OTHERS, "acaikit"), tmp_path, str(checkpoints.path(7)), "state")
    assert out.splitlines()[-1] == str({**tree, 3: "X"}).replace("'X'", "array([0, 1, 2])")
