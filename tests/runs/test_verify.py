from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from acaikit.artifacts import h5file
from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.h5file import write_h5
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.parts import part_path, read_part, write_part
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config
from acaikit.engine import Trainer
from acaikit.errors import RunError
from acaikit.rng import global_states, seed_globals
from acaikit.runs import evaluation
from acaikit.runs import files as module
from acaikit.runs.opened import open_run
from acaikit.runs.session import Session, open_session
from acaikit.runs.states import compare, leaves, sizes
from acaikit.runs.verify import verify

Recipe = Callable[..., Config]
Train = Callable[..., Session]


@pytest.fixture
def quick(recipe: Recipe, recipe_file: Path) -> Recipe:
    """The recipe, measured in little time."""
    text = recipe_file.read_text().replace(
        "[@FactorBenchmark(), @ProbeAccuracy(), @Reconstruction()]", "[@Reconstruction()]"
    )
    recipe_file.write_text("\n".join(line for line in text.splitlines() if not line.startswith("FactorBenchmark")))
    return recipe


@pytest.fixture(scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "run"


@pytest.fixture
def run(_run: Path, tmp_path: Path, quick: Recipe, train: Train) -> Path:
    """A finished run of ACAI with checkpoints of steps 4, 8 and 12: a copy of one's own."""
    if not _run.exists():
        train(_run, quick("acai"))
    return Path(shutil.copytree(_run, tmp_path / "run"))


def files(path: Path) -> dict[Path, tuple[int, bytes]]:
    return {f: (f.stat().st_mtime_ns, f.read_bytes() if f.is_file() else b"") for f in [path, *path.rglob("*")]}


def checkpoint(path: Path, step: int) -> Path:
    return RunDir(path).checkpoints / f"step-{step:09d}.h5"


def rewrite(path: Path, step: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Save a checkpoint again, changed, with a hash that is right."""
    checkpoints = Checkpoints(RunDir(path).checkpoints, RunDir(path).read_run()["run_id"])
    state = checkpoints.load(step)
    change(state)
    checkpoints.save(step, state)


def spoil(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_run_that_is_well(run: Path) -> None:
    opened = open_run(run)
    evaluation.measure(opened, opened.experiment.evaluators[0], evaluation.destination(run, None), pytest.fail)
    before, told = files(run), []
    seed_globals(5)
    states, threads = global_states(), torch.get_num_threads()
    verdict = verify(run, say=told.append)
    assert verdict.sound
    assert [file.kind for file in verdict.files.checked] == ["run", *3 * ["checkpoint"], "metrics", "evaluation"]
    assert verdict.files.unknown == verdict.files.temporary == verdict.files.quarantined == verdict.changes == []
    found = verdict.replay
    assert (found.begin, found.end, found.rewound, found.rows, found.differences) == (8, 12, False, 1, [])
    state = Checkpoints(RunDir(run).checkpoints, opened.info["run_id"]).load(12)
    arrays = [leaf for _, leaf in leaves(state) if hasattr(leaf, "dtype")]
    assert (found.tensors, found.bytes) == (len(arrays), sum(a.nbytes for a in arrays)) == sizes(state)
    assert told == ["training on cpu with 1 thread, as before"]
    assert files(run) == before
    assert compare(states, global_states()) == []
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("keep", "begin", "rows"), [([4], 0, 1), ([12], 0, 3), ([4, 12], 4, 2)])
def test_the_stretch_begins_at_the_checkpoint_before_or_at_the_start(
    keep: list[int], begin: int, rows: int, run: Path
) -> None:
    for step in {4, 8, 12} - set(keep):
        checkpoint(run, step).unlink()
    verdict = verify(run)
    assert verdict.sound
    assert (verdict.replay.begin, verdict.replay.end, verdict.replay.rows) == (begin, keep[-1], rows)


def test_one_bit_of_one_weight(run: Path) -> None:
    name = "encoder.layers.0.weight"

    def change(state: dict[str, Any]) -> None:
        state["model"][name].view(torch.int32)[0, 0, 0, 0] ^= 1

    rewrite(run, 12, change)
    verdict = verify(run)
    assert not verdict.sound
    assert verdict.files.faults == []
    (difference,) = verdict.replay.differences
    assert difference.where == f"model/{name}"
    size = open_run(run).model.state_dict()[name].numel()
    assert difference.what.startswith(f"1 of {size:,} elements, the largest difference ")


def test_a_score_and_a_loss_that_training_does_not_come_to(run: Path) -> None:
    path = part_path(RunDir(run).metrics, 0)
    steps, columns = read_part(path)
    run_id = RunDir(run).read_run()["run_id"]
    columns["loss/ACAI"][2] += 1
    columns["reconstruction/mse"][0] = 0  # lies outside the stretch
    write_part(path, steps, columns, run_id=run_id)
    assert [d.where for d in verify(run).replay.differences] == ["metrics/12/loss/ACAI"]
    write_part(path, steps[:2], {name: column[:2] for name, column in columns.items()}, run_id=run_id)
    differences = verify(run).replay.differences
    assert {"metrics/12/samples", "metrics/12/reconstruction/mse"} <= {d.where for d in differences}
    assert {d.what for d in differences} == {"found, but not saved"}


def test_every_fault_of_a_file_is_told(run: Path, tmp_path: Path, quick: Recipe, train: Train) -> None:
    train(tmp_path / "other", quick("acai"))
    spoil(checkpoint(run, 12))
    shutil.copy(checkpoint(run, 8), checkpoint(run, 10))
    shutil.copy(checkpoint(tmp_path / "other", 4), checkpoint(run, 6))
    rewrite(run, 8, lambda state: state["model"].update({"encoder.layers.0.weight": torch.zeros(3)}))
    checkpoint(run, 2).symlink_to(checkpoint(run, 4))
    (RunDir(run).eval).mkdir()
    shutil.copy(RunDir(run).run_file, RunDir(run).eval / "probe-000000012-01234567.h5")
    part = part_path(RunDir(run).metrics, 0)
    shutil.copy(part, part_path(RunDir(run).metrics, 2))
    steps, _ = read_part(part)

    def fill(file: h5py.Group) -> None:
        file.create_dataset("step", data=steps)
        file.create_group("columns")

    write_h5(part, fill, format="metrics", run_id=RunDir(run).read_run()["run_id"], step=99)
    verdict = verify(run)
    assert not verdict.sound
    faults = {file.name: file.fault for file in verdict.files.faults}
    said = {
        "checkpoints/step-000000012.h5": "doesn't match the sha256",
        "checkpoints/step-000000010.h5": "holds step 8",
        "checkpoints/step-000000008.h5": "doesn't fit the experiment",
        "checkpoints/step-000000006.h5": "belongs to run",
        "checkpoints/step-000000002.h5": "symbolic link",
        "eval/probe-000000012-01234567.h5": "of kind 'run'",
        "metrics/part-000000.h5": "doesn't end at step 99",
        "metrics": "part-000001.h5 is missing",
    }
    assert faults.keys() == said.keys()
    for name, words in said.items():
        assert words in faults[name]
    assert (verdict.replay.begin, verdict.replay.end, verdict.replay.rows) == (0, 4, 0)


def test_what_else_lies_there_is_listed_and_not_blamed(run: Path) -> None:
    left = ["notes.txt", "checkpoints/backup", "photos"]
    for name in left[:2]:
        (run / name).touch()
    (run / "photos").mkdir()
    (run / "photos" / "cat.png").touch()
    (run / "figures").mkdir()
    (run / "figures" / "strips.png").touch()
    (run / "checkpoints" / ".step-000000016.h5.123.0123456789abcdef.tmp").touch()
    (run / "quarantine").mkdir()
    (run / "quarantine" / "step-000000010.h5").touch()
    verdict = verify(run)
    assert verdict.sound
    assert sorted(verdict.files.unknown) == sorted(left)
    assert verdict.files.temporary == ["checkpoints/.step-000000016.h5.123.0123456789abcdef.tmp"]
    assert verdict.files.quarantined == ["quarantine/step-000000010.h5"]


def test_a_run_whose_own_file_is_broken(run: Path) -> None:
    spoil(RunDir(run).run_file)
    verdict = verify(run)
    assert (verdict.sound, verdict.replay) == (False, None)
    assert [file.name for file in verdict.files.faults] == ["run.h5"]
    assert len(verdict.files.checked) == 5


def test_no_checkpoint_that_is_whole(run: Path) -> None:
    for step in (4, 8, 12):
        spoil(checkpoint(run, step))
    verdict = verify(run)
    assert (verdict.sound, verdict.replay, len(verdict.files.faults)) == (False, None, 3)


def test_what_can_not_be_verified(tmp_path: Path, run: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        verify(tmp_path)
    with pytest.raises(RunError, match="was trained on cpu: on cuda other bits come out, so use --device cpu"):
        verify(run, device="cuda")
    shutil.rmtree(RunDir(run).checkpoints)
    with pytest.raises(RunError, match="no checkpoint yet"):
        verify(run)


def test_data_that_have_changed(tmp_path: Path, quick: Recipe, recipe_file: Path, train: Train) -> None:
    lines = recipe_file.read_text().splitlines()
    recipe_file.write_text("\n".join(x for x in lines if not x.startswith(("Lines", "Experiment.dataset"))))
    file = tmp_path / "x.npz"

    def write(seed: int) -> None:
        x = np.random.default_rng(seed).integers(0, 256, (20, 1, 8, 8), np.uint8)
        np.savez(file, x=x, x_test=np.zeros_like(x), y=np.arange(20) % 2, y_test=np.arange(20) % 2)

    write(0)
    own = quick("denoising", "Experiment.dataset = @Arrays()", f"Arrays.path = {str(file)!r}")
    train(tmp_path / "run", own, steps=9)
    verdict = verify(tmp_path / "run")
    assert verdict.sound
    assert (verdict.replay.begin, verdict.replay.end) == (8, 9)
    write(1)
    with pytest.raises(RunError, match="was begun with other train examples than Arrays has now"):
        verify(tmp_path / "run")


@pytest.mark.parametrize("lost", [[], [12]])
def test_an_extended_run(lost: list[int], tmp_path: Path, quick: Recipe, train: Train) -> None:
    """Its first budget ends between two rows, and the row of that end is written all the same."""
    path = tmp_path / "run"
    train(path, quick("acai", "Experiment.samples = 60"))
    with open_session(path, say=pytest.fail) as session:
        session.extend(96)
        session.train([], lambda: session.trainer.steps >= 13)
    assert read_metrics(RunDir(path).metrics)["step"].tolist() == [4, 8, 10, 12]
    for step in (10, *lost):
        checkpoint(path, step).unlink()
    verdict = verify(path)
    assert verdict.sound, verdict.replay.differences
    assert (verdict.replay.begin, verdict.replay.end) == (0 if lost else 12, 13)


def faulty(monkeypatch: pytest.MonkeyPatch, steps: tuple[int, ...], rewinds: int = 0) -> None:
    """Let training meet a NaN in the steps, unless it was rewound so often."""
    batch = Trainer._batch

    def poisoned(trainer: Trainer) -> Any:
        x, y = batch(trainer)
        bad = trainer.steps + 1 in steps and trainer.rewinds <= rewinds
        return (x * torch.nan if bad else x), y

    monkeypatch.setattr(Trainer, "_batch", poisoned)


def test_a_run_that_skipped_updates(
    tmp_path: Path, quick: Recipe, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty(monkeypatch, (10,))
    train(tmp_path / "run", quick("acai"), steps=9)
    with open_session(tmp_path / "run", say=lambda line: None, on_nan="skip") as session:
        session.train([], lambda: False)
    verdict = verify(tmp_path / "run")
    assert verdict.sound, verdict.replay.differences
    assert (verdict.replay.begin, verdict.replay.end) == (9, 12)
    monkeypatch.undo()
    assert not verify(tmp_path / "run").sound


@pytest.mark.parametrize(("step", "begin"), [(10, 8), (2, 0)])
def test_a_run_that_was_rewound(
    step: int, begin: int, tmp_path: Path, quick: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty(monkeypatch, (step,), rewinds=1)
    with open_session(tmp_path / "run", config=quick("acai"), say=lambda line: None, on_nan="rewind") as session:
        session.train([], lambda: session.trainer.steps >= begin + 4)
        assert session.trainer.rewinds == 2
    verdict = verify(tmp_path / "run")
    assert verdict.sound, verdict.replay.differences
    assert (verdict.replay.begin, verdict.replay.end, verdict.replay.rewound) == (begin, begin + 4, True)


class Verifier:
    """Verifies the run while it is being trained."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[tuple[bool, int, int]] = []

    def on_step(self, trainer: Trainer, losses: object) -> None:
        if trainer.steps in (6, 11):
            verdict = verify(self.path)
            self.found.append((verdict.sound, verdict.replay.begin, verdict.replay.end))

    def on_row(self, *_: object) -> None:
        pass


def test_while_it_is_training(tmp_path: Path, quick: Recipe, train: Train) -> None:
    verifier = Verifier(tmp_path / "run")
    train(tmp_path / "run", quick("acai"), callbacks=[verifier])
    assert verifier.found == [(True, 0, 4), (True, 4, 8)]
    assert verify(tmp_path / "run").sound


def test_a_checkpoint_pruned_meanwhile_is_nobodys_fault(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = module.read_h5

    def pruning(path: Path, **kind: str) -> Any:
        checkpoint(run, 8).unlink(missing_ok=True)
        return read(path, **kind)

    monkeypatch.setattr(module, "read_h5", pruning)
    verdict = verify(run)
    assert verdict.sound
    assert (verdict.replay.begin, verdict.replay.end) == (4, 12)


def test_every_file_is_read_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = h5file.read_bytes, list[Path]()
    monkeypatch.setattr(h5file, "read_bytes", lambda path: seen.append(path) or read(path))
    assert verify(run).sound
    # Whether the newest fits the config is found out before anything large is made.
    assert sorted(seen) == sorted([*run.rglob("*.h5"), checkpoint(run, 12)])


def test_rows_that_are_missing(run: Path) -> None:
    shutil.rmtree(RunDir(run).metrics)
    verdict = verify(run)
    assert not verdict.sound
    assert [file.fault for file in verdict.files.faults] == ["metrics: 3 of the rows up to step 12 are missing"]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def go_on(path: Path, samples: int | None = None) -> None:
    with open_session(path, say=lambda line: None) as session:
        if samples is not None:
            session.extend(samples)
        else:
            session.train([], lambda: False)


def test_a_stretch_is_trained_as_the_session_did_that_saved_it(
    tmp_path: Path, quick: Recipe, train: Train, request: pytest.FixtureRequest
) -> None:
    path, told = tmp_path / "run", list[str]()
    train(path, quick("denoising", "Experiment.samples = 60"), steps=8)
    request.getfixturevalue("two_threads")
    go_on(path)
    torch.set_num_threads(1)
    go_on(path, samples=72)  # saves step 10 again, which it hasn't trained
    verdict = verify(path, say=told.append)
    assert verdict.sound
    assert (verdict.replay.begin, verdict.replay.end) == (8, 10)
    assert told == ["training on cpu with 2 threads, as before"]
    go_on(path)
    verify(path, say=told.append)
    assert told[1:] == ["training on cpu with 1 thread, as before"]


@pytest.mark.parametrize("threads", [None, 0, 10**7, 2.0])
def test_a_stranger_sets_no_absurd_number_of_threads(threads: object, run: Path) -> None:
    rewrite(run, 12, lambda state: state["fingerprint"].update(threads=threads))
    with pytest.raises(RunError, match="choose a number with --threads"):
        verify(run)
    assert verify(run, threads=1).sound


@pytest.mark.parametrize("fingerprint", [3, {"torch": ["2"]}, {"torch": 2**70}])
def test_a_fingerprint_that_is_none(fingerprint: object, run: Path) -> None:
    rewrite(run, 12, lambda state: state.update(fingerprint=fingerprint))
    (fault,) = verify(run).files.faults
    assert "doesn't fit the experiment: fingerprint" in fault.fault


def test_a_run_that_does_not_say_where_it_was_trained(run: Path) -> None:
    directory = RunDir(run)
    info = directory.read_run()
    for device in ("nowhere", np.arange(2)):
        directory.run_file.unlink()
        directory.write_run(info | {"fingerprint": {"device": device}})
        if isinstance(device, str):
            with pytest.raises(RunError, match="doesn't say where it was trained"):
                verify(run)
    assert any("doesn't say the run's device" in str(file.fault) for file in verify(run).files.faults)


def test_other_conditions_are_told_before(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acaikit.runs.verify.fingerprint", lambda *given: {"torch": "0.4"})
    told: list[str] = []
    verdict = verify(run, threads=2, say=told.append)
    (change,) = verdict.changes
    assert change.startswith(f"torch {open_run(run).info['fingerprint']['torch']} -> 0.4: ")
    assert told == [*verdict.changes, "training on cpu with 2 threads, as asked for"]


SHAKE = """
import random
from acaikit.regularizers import Regularizer
class Shake(Regularizer):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", __import__("torch").zeros(()))
    def corrupt(self, x, noise):
        return x if noise is None else x + 0.1 * random.random()
    def after_step(self, step):
        self.seen += 1
"""


def test_a_plugins_regularizer_that_draws_from_a_global_generator(
    tmp_path: Path, quick: Recipe, train: Train, install: Callable[..., Path]
) -> None:
    install("acai-shake", "1.0", {"regularizers": {"Shake": "shake:Shake"}}, {"shake.py": SHAKE})
    train(tmp_path / "run", quick("baseline", "Experiment.regularizers = [@Shake()]"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert verify(tmp_path / "run").sound


@pytest.mark.parametrize(
    ("saved", "found", "what"),
    [
        (0.0, -0.0, "saved 0.0, found -0.0"),
        (1, True, "saved 1, found True"),
        ([1], (1, 2), "found, but not saved"),
        ({}, {"a": 1}, "found, but not saved"),
        (torch.zeros(2), torch.zeros(3), "saved torch.float32 [2], found torch.float32 [3]"),
        (torch.zeros(2), np.zeros(2, np.float32), "saved torch.float32 [2], found float32 [2]"),
        (torch.zeros(2), torch.tensor([0.0, -0.0]), "1 of 2 elements, the largest difference 0"),
        (
            torch.tensor(1, dtype=torch.uint8),
            torch.tensor(4, dtype=torch.uint8),
            "1 of 1 elements, the largest difference 3",
        ),
        (np.array([1.0, 2.0]), np.array([1.5, 0.0]), "2 of 2 elements, the largest difference 2"),
        (torch.tensor([1 + 0j]), torch.tensor([1 + 1j]), "1 of 1 elements, the largest difference 1"),
        (
            torch.ones(2, dtype=torch.bfloat16),
            torch.zeros(2, dtype=torch.bfloat16),
            "2 of 2 elements, the largest difference 1",
        ),
    ],
)
def test_how_leaves_differ(saved: Any, found: Any, what: str) -> None:
    differences = compare({"x": saved}, {"x": found})
    assert [d.what for d in differences] == [what]


@pytest.mark.parametrize("leaf", [None, float("nan"), "a", b"a", torch.tensor([]), torch.tensor([torch.nan])])
def test_the_same_leaves(leaf: Any) -> None:
    assert compare({"x": [leaf, 1]}, {"x": [leaf, 1]}) == []


def test_tensors_laid_out_otherwise_hold_the_same() -> None:
    x = torch.arange(24.0).view(1, 2, 3, 4)
    assert compare({"x": x}, {"x": x.to(memory_format=torch.channels_last)}) == []
