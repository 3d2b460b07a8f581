from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import acaikit as package
from acaikit.artifacts import lock
from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import RunLock
from acaikit.cli import options
from acaikit.engine import Trainer
from acaikit.report import pictures
from acaikit.runs import stopping
from acaikit.runs.session import Session


def weights(path: Path) -> dict[str, torch.Tensor]:
    return package.open_run(path).model.state_dict()


def the_same(a: Path, b: Path) -> bool:
    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_a_dry_run_builds_everything_and_writes_nothing(acaikit, tiny) -> None:
    ran = acaikit("run", "quickstart", *tiny, "--seed", 3, "--dry-run")
    assert "ACAI's critic" in ran.out
    assert "nothing was trained; without --dry-run this runs in runs/quickstart-s3 on " in ran.out
    told = json.loads(acaikit("run", "quickstart", *tiny, "--dry-run", "--json").out)
    assert told["budget"] == 256
    assert told["samples"] == 0
    assert list(Path().iterdir()) == []


def test_a_run_trains_reports_and_draws(acaikit, tiny) -> None:
    ran = acaikit("run", "quickstart", *tiny)
    path = Path("runs/quickstart-s0")
    assert package.open_run(path).finished
    assert package.open_run(path).metrics()["samples"].tolist() == [128, 256]
    for said in ("128/256", "256/256", "factor/mean_distance", "median of last 20", f"acaikit eval {path}"):
        assert said in ran.out
    assert {file.name for file in (path / "figures").iterdir()} == {"interpolation.png", "reconstruction.png"}


def test_the_seed_decides(acaikit, tiny, finished) -> None:
    acaikit("run", "quickstart", *tiny, "--dir", "same", "--quiet")
    acaikit("run", "quickstart", *tiny, "--dir", "other", "--seed", 1, "--quiet")
    assert the_same(finished, Path("same"))
    assert not the_same(finished, Path("other"))


def test_a_run_keeps_its_precision(acaikit, tiny) -> None:
    rough = "run", "quickstart", *tiny, "--precision", "bf16", "--dir", "rough"
    assert re.search(r"this runs in rough on cpu, in bf16$", acaikit(*rough, "--dry-run").out.rstrip())
    assert re.search(r"training in rough on cpu with \d+ threads?, in bf16, seed 0\n", acaikit(*rough).out)
    assert package.open_run("rough").info["fingerprint"]["precision"] == "bf16"
    assert re.search(
        r"continuing rough .* with \d+ threads?, in bf16\n", acaikit("resume", "rough", "--samples", 384).out
    )
    assert re.search(r"trained on cpu, threads \d+, precision bf16\n", acaikit("show", "rough").out)
    finished = acaikit("resume", "rough", "--precision", "float32").out
    assert "left as it is, computed in bf16: --precision float32 is for what is trained from here on" in finished
    acaikit("resume", "rough", "--samples", 512, "--precision", "float32", "--quiet")
    log = Path("rough/log.txt").read_text()
    begun = [line for line in log.splitlines() if "on-nan" in line]
    assert [line.split()[-1] for line in begun] == ["bf16", "bf16", "float32"]
    assert "precision bf16 -> float32: products are rounded differently; --precision bf16 gives the same bits" in log


def test_quiet_prints_nothing(acaikit, tiny) -> None:
    ran = acaikit("run", "quickstart", *tiny, "--quiet")
    assert (ran.out, ran.err) == ("", "")


def test_json_is_one_object(acaikit, tiny) -> None:
    ran = acaikit("run", "quickstart", *tiny, "--dir", "r", "--json")
    told = json.loads(ran.out)
    keys = ("run", "step", "samples", "budget", "finished", "saved", "stopped_by", "resume")
    assert {key: told[key] for key in keys} == {
        "run": "r",
        "step": 4,
        "samples": 256,
        "budget": 256,
        "finished": True,
        "saved": True,
        "stopped_by": None,
        "resume": "acaikit resume r",
    }
    assert told["scores"]["reconstruction/mse"]["n"] == 2
    assert [Path(file).is_file() for file in told["figures"]] == [True, True]


def test_running_a_finished_run_again_says_so_and_changes_nothing(acaikit, tiny, finished) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*.*")}
    ran = acaikit("run", "quickstart", *tiny, "--dir", finished)
    assert "finished is finished (256 samples); more with: acaikit resume finished --samples N" in ran.out
    assert "factor/mean_distance" in ran.out and "left as it is" not in ran.out
    assert {file: file.stat().st_mtime_ns for file in finished.rglob("*.*")} == before
    told = json.loads(acaikit("run", "quickstart", *tiny, "--dir", finished, "--json").out)
    assert (told["finished"], told["samples"]) == (True, 256)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_another_experiment_in_the_same_folder_is_refused_with_what_differs(acaikit, tiny, finished, dry) -> None:
    ran = acaikit("run", "quickstart", *tiny, "--set", "ACAI.weight=1.0", "--seed", 4, "--dir", finished, *dry, code=2)
    assert "finished holds another experiment" in ran.err
    assert "ACAI.weight: 0.5 -> 1.0" in ran.err
    assert "Experiment.seed: 0 -> 4" in ran.err
    assert "gamma" not in ran.err
    assert ran.out == ""


def test_resume_trains_beyond_the_budget_as_a_longer_run_would(acaikit, tiny, finished) -> None:
    ran = acaikit("resume", finished, "--samples", 384)
    assert "continuing finished from 256 samples" in ran.out
    longer = [word.replace("samples=256", "samples=384") for word in tiny]
    acaikit("run", "quickstart", *longer, "--dir", "long", "--quiet")
    assert package.open_run(finished).samples == package.open_run(finished).budget == 384
    assert the_same(finished, Path("long"))


def test_resume_of_a_finished_run_says_so(acaikit, finished) -> None:
    assert "is finished" in acaikit("resume", finished).out


def test_resume_takes_no_budget_that_is_spent(acaikit, finished) -> None:
    assert "256 samples already" in acaikit("resume", finished, "--samples", 200, code=2).err


def test_max_time_stops_in_good_order(acaikit, tiny, finished) -> None:
    ran = acaikit("run", "quickstart", *tiny, "--dir", "r", "--max-time", "0s")
    assert "stopped at 0 of 256 samples, saved; continue with: acaikit resume r" in ran.out
    told = json.loads(acaikit("resume", "r", "--max-time", "0s", "--json").out)
    assert (told["finished"], told["samples"], told["saved"], told["stopped_by"]) == (False, 0, True, "max-time")
    assert "continuing r from 0 samples" in acaikit("run", "quickstart", *tiny, "--dir", "r").out
    assert the_same(Path("r"), finished)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_in_good_order_with_its_exit_code(
    acaikit, tiny, finished, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    step = Trainer.step

    def interrupted(trainer: Trainer) -> object:
        losses = step(trainer)
        if trainer.steps == 1:
            os.kill(os.getpid(), number)
        return losses

    monkeypatch.setattr(Trainer, "step", interrupted)
    ran = acaikit("run", "quickstart", *tiny, "--dir", "r", code=code)
    assert "stopped at 64 of 256 samples, saved" in ran.out
    acaikit("resume", "r", "--quiet")
    assert the_same(Path("r"), finished)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("at", ["step", "save", "pictures", "extend"])
def test_a_second_signal_stops_at_once(acaikit, tiny, finished, monkeypatch, number: int, code: int, at: str) -> None:
    """Whatever is being done."""
    kind, name = {
        "step": (Trainer, "step"),
        "save": (Checkpoints, "save"),
        "pictures": (pictures, "draw"),
        "extend": (Session, "extend"),
    }[at]
    real = getattr(kind, name)

    def interrupted(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), number)
        return real(*arguments)

    monkeypatch.setattr(stopping, "TOGETHER", 0.0)
    monkeypatch.setattr(kind, name, interrupted)
    ran = acaikit("resume", finished, "--samples", 320, "--threads", 1, code=code)
    assert "interrupted; what was saved before stands, continue with: acaikit resume finished --threads 1\n" in ran.err
    log = Path(finished, "log.txt").read_text().splitlines()
    assert log[-1].endswith(f"interrupted by a second signal, {signal.Signals(number).name}")
    assert package.open_run(finished).step == (5 if at == "pictures" else 4)


def test_a_signal_that_comes_twice_at_once_is_one(acaikit, tiny, monkeypatch) -> None:
    step = Trainer.step

    def interrupted(trainer: Trainer) -> object:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", interrupted)
    told = json.loads(acaikit("run", "quickstart", *tiny, "--dir", "r", "--json", code=130).out)
    assert (told["step"], told["saved"], told["stopped_by"]) == (1, True, "SIGINT")


@pytest.mark.parametrize("command", [["run", "quickstart"], ["resume"]])
def test_a_save_that_is_asked_for_before_training_is_made(acaikit, tiny, monkeypatch, command: list[str]) -> None:
    acaikit("run", "quickstart", *tiny, "--dir", "r", "--max-time", "0s", "--quiet")
    apply = options.apply

    def asked(*arguments: object, **more: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        apply(*arguments, **more)

    monkeypatch.setattr(options, "apply", asked)
    ran = acaikit(*command, *([*tiny, "--dir"] if command[0] == "run" else []), "r")
    assert "saved on request at step 0, 0 of 256 samples\n" in ran.err


def test_a_signal_saves_and_training_goes_on(acaikit, tiny, monkeypatch) -> None:
    step = Trainer.step

    def asked(trainer: Trainer) -> object:
        if trainer.steps == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", asked)
    ran = acaikit("run", "quickstart", *tiny, "--dir", "r")
    assert "saved on request at step 3, 192 of 256 samples\n" in ran.err
    assert "256/256" in ran.out


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunLock]:
    """Hold the lock of r while ``--wait`` looks at it three times, and call what is given then."""

    def hold(then: Callable[[], object] = lambda: None) -> RunLock:
        def sleep(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                held.__exit__(None, None, None)
                then()

        looks: list[float] = []
        monkeypatch.setattr(lock.time, "sleep", sleep)
        held = RunLock(Path("r/.lock"))
        return held.__enter__()

    return hold


WAITED = r"r is being trained by process \d+ on .+ since .+; waiting for it to end\n"


def test_a_run_that_another_process_holds_is_waited_for(acaikit, tiny, finished, waiting) -> None:
    command = "run", "quickstart", *tiny, "--dir", "r"
    waiting()
    ran = acaikit(*command, "--wait", "--max-time", "0s", "--json")
    assert re.fullmatch(WAITED, ran.err)
    assert (json.loads(ran.out)["samples"], json.loads(ran.out)["resume"]) == (0, "acaikit resume r")
    waiting()
    ran = acaikit("resume", "r", "--wait")
    assert re.fullmatch(WAITED, ran.err)
    assert "continuing r from 0 samples" in ran.out
    assert "being trained" not in Path("r/log.txt").read_text()
    assert the_same(Path("r"), finished)
    waiting()
    assert acaikit(*command, "--wait", "--quiet") == (0, "", "")
    assert "r is finished (256 samples)" in acaikit(*command, "--wait").out


def test_without_waiting_who_holds_a_run_is_an_error(acaikit, tiny, waiting) -> None:
    with waiting():
        for command in (["run", "quickstart", *tiny, "--dir"], ["run", "quickstart", *tiny, "--quiet", "--dir"]):
            assert re.fullmatch(r"error: r is being trained by process .+\)\n", acaikit(*command, "r", code=2).err)


def test_what_was_begun_meanwhile_decides(acaikit, tiny, waiting, monkeypatch) -> None:
    begun = ["run", "quickstart", *tiny, "--set", "ACAI.weight=1.0", "--dir", "r", "--max-time", "0s", "--quiet"]

    def begin() -> None:
        monkeypatch.setattr(sys, "argv", ["acaikit", *begun])
        with pytest.raises(SystemExit, match="0"):
            package.cli.main()

    waiting(begin)
    ran = acaikit("run", "quickstart", *tiny, "--dir", "r", "--wait", code=2)
    assert "error: r holds another experiment" in ran.err


def test_the_device_is_chosen_after_the_waiting(acaikit, tiny, waiting, monkeypatch) -> None:
    """It is that of the run, which may have been begun meanwhile."""
    held, pick = [], options.pick

    def picked(*arguments: object) -> str:
        held.append(RunLock(Path("r/.lock")).holder() is not None)
        return pick(*arguments)

    monkeypatch.setattr(options, "pick", picked)
    for command in (["run", "quickstart", *tiny, "--max-time", "0s", "--dir"], ["resume"]):
        waiting()
        acaikit(*command, "r", "--wait")
        assert held[-1] is False


def test_another_experiment_is_not_waited_for(acaikit, tiny, finished) -> None:
    with RunLock(finished / ".lock"):
        ran = acaikit("run", "quickstart", *tiny, "--seed", 1, "--dir", finished, "--wait", code=2)
    assert ran.err.startswith("error: finished holds another experiment")


def test_a_signal_ends_the_waiting_at_once(acaikit, tiny, finished, monkeypatch) -> None:
    def interrupted(seconds: float) -> None:
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGINT)

    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*")}
    monkeypatch.setattr(lock.time, "sleep", interrupted)
    with RunLock(finished / ".lock") as held:
        for command in (["run", "quickstart", *tiny, "--dir"], ["resume"]):
            ran = acaikit(*command, finished, "--wait", code=130)
            assert re.fullmatch(r"finished is being trained .+; waiting for it to end\ninterrupted\n", ran.err)
        assert held.holder().pid == os.getpid()
    assert {file: file.stat().st_mtime_ns for file in finished.rglob("*")} == before


@pytest.fixture
def diverging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the weights be NaN in the last step."""
    step = Trainer.step

    def poisoned(trainer: Trainer) -> object:
        if trainer.steps == 3:
            next(iter(trainer.model.parameters())).data.fill_(float("nan"))
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", poisoned)


def test_a_run_that_diverges(acaikit, tiny, diverging) -> None:
    ran = acaikit("run", "quickstart", *tiny, "--dir", "r", "--threads", 1, "--json", code=3)
    for said in (
        "error: training diverged in step 4: ",
        "the checkpoint of step 2 stands. To try:",
        "  acaikit resume r --on-nan skip --threads 1  # ",
        "  acaikit resume r --on-nan rewind --threads 1  # ",
        "a smaller learning rate than 0.001: --set Experiment.learning_rate=0.0001",
    ):
        assert said in ran.err
    told = json.loads(ran.out)
    assert (told["finished"], told["stopped_by"], told["diverged"]["step"]) == (False, "diverged", 4)
    assert told["saved"] is False
    assert "reconstruction" in told["diverged"]["terms"]
    assert any("encoder." in name for name in told["diverged"]["tensors"])
    assert len(told["diverged"]["tensors"]) == 10
    # What was asked for is remembered; these weights stay what they are, whatever is drawn.
    ran = acaikit("resume", "r", "--on-nan", "rewind", code=3)
    assert ran.err.count("going back to step 2") == 3
    assert "--on-nan skip" in ran.err and "--on-nan rewind" not in ran.err


@pytest.mark.parametrize(
    ("rate", "advice"), [("1e3", "than 1000: --set Experiment.learning_rate=0.0001"), ("1e-2", "than 0.01: --set Ex")]
)
def test_what_is_advised_against_divergence_is_sensible(acaikit, tiny, diverging, rate: str, advice: str) -> None:
    """Before a first checkpoint."""
    late = [word.replace("evaluate_every=128", "evaluate_every=256") for word in tiny]
    late += ["--set", f"Experiment.learning_rate={rate}"]
    ran = acaikit("run", "quickstart", *late, "--dir", "late", "--quiet", code=3)
    assert "there is no checkpoint. To try:" in ran.err
    assert "--on-nan rewind  # begin again with other draws; what isn't chance happens again\n" in ran.err
    assert f"a smaller learning rate {advice}" in ran.err


def test_scores_that_were_not_finite_before_it_diverged_are_said(acaikit, tiny, diverging, monkeypatch) -> None:
    scores = {"reconstruction/mse": float("nan"), "factor/mean_distance": float("inf")}
    monkeypatch.setattr(Trainer, "evaluate", lambda trainer: scores)
    ran = acaikit("run", "quickstart", *tiny, "--dir", "r", "--quiet", code=3)
    assert "the checkpoint of step 2 stands, but no score was finite any more at step 2. To try:\n" in ran.err


@pytest.mark.parametrize(("way", "step", "by"), [("continue", 4, None), ("stop", 2, "unsaved")])
def test_a_run_that_can_not_be_saved(acaikit, tiny, monkeypatch, way: str, step: int, by: str | None) -> None:
    left = [256, 64, 32, 16]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, f"No space left on device: {left.pop()} bytes are free")

    monkeypatch.setattr(Checkpoints, "save", full)
    ran = acaikit("run", "quickstart", *tiny, "--dir", "r", "--on-save-error", way, "--json", code=1)
    told = json.loads(ran.out)
    assert (told["step"], told["saved"], told["stopped_by"]) == (step, False, by)
    first, last = ran.err.splitlines()
    assert first.endswith("No space left on device: 16 bytes are free); there is none before it")
    assert last == (
        f"error: the end, at {64 * step} of 256 samples, is NOT saved: the checkpoint ([Errno 28] No space left on "
        f"device: {16 * step} bytes are free); there is no checkpoint. Once the cause is mended, begin anew in another "
        "folder, with --dir"
    )


def test_a_run_that_is_finished_and_not_saved_says_so_at_its_end(acaikit, tiny, monkeypatch) -> None:
    save = Checkpoints.save

    def full(checkpoints: Checkpoints, step: int, tree: object) -> None:
        if step == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(checkpoints, step, tree)

    monkeypatch.setattr(Checkpoints, "save", full)
    ran = acaikit("run", "quickstart", *tiny, "--dir", "r", code=1)
    assert "the checkpoint of step 2 stands. Once the cause is mended, continue with: acaikit resume r\n" in ran.err
    assert "Scores" in ran.out and "next:" not in ran.out


def test_output_that_nobody_reads_loses_nothing(acaikit, tiny, monkeypatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        monkeypatch.setattr(sys, "stderr", closed)
        acaikit("run", "quickstart", *tiny, "--dir", "r")
    assert package.open_run("r").finished


@pytest.mark.parametrize("time", ["", "5x", "-1", "1h 30m", "abc", "nan", "1e3"])
def test_max_time_that_is_no_duration(acaikit, tiny, time: str) -> None:
    ran = acaikit("run", "quickstart", *tiny, "--max-time", time, code=2)
    assert "is no duration: write for example 45s, 30m, 2h or 1h30m" in ran.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", [["run", "quickstart"], ["resume", "finished"], ["eval", "finished"]])
@pytest.mark.parametrize("folder", ["nowhere", "file"])
def test_a_data_folder_that_is_none(acaikit, finished, command: list[str], folder: str) -> None:
    Path("file").touch()
    ran = acaikit(*command, "--data-dir", folder, code=2)
    assert ran.err == f"error: --data-dir {folder} is no folder that can be read\n"


def test_missing_data_files_are_named_before_anything_is_written(acaikit) -> None:
    Path("data").mkdir()
    ran = acaikit("run", "mnist_acai_32", "--data-dir", "data", code=2)
    assert "data/mnist/train-images-idx3-ubyte.gz is missing" in ran.err
    assert "--data-dir" in ran.err
    assert [file.name for file in Path().iterdir()] == ["data"]


def test_a_recipe_needs_no_data_to_be_checked(acaikit) -> None:
    assert json.loads(acaikit("run", "mnist_acai_32", "--dry-run", "--json").out)["data_shape"] == [1, 32, 32]


@pytest.mark.parametrize(
    ("folder", "said"),
    [(".", "exists and is no run"), ("file", "exists and is no run"), ("file/below", "can't be written")],
)
def test_a_run_directory_that_is_none(acaikit, tiny, folder: str, said: str) -> None:
    Path("file").write_text("precious")
    assert said in acaikit("run", "quickstart", *tiny, "--dir", folder, code=2).err
    assert Path("file").read_text() == "precious"


@pytest.mark.parametrize("command", ["resume", "eval"])
@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_run_that_is_not_there(acaikit, command: str, folder: str) -> None:
    assert f"{folder} holds no run" in acaikit(command, folder, code=2).err


def test_odd_folder_names_are_shown_as_they_are(acaikit, tiny) -> None:
    ran = acaikit("run", "quickstart", *tiny, "--dir", "a:x: [red]é b")
    assert "training in a:x: [red]é b on" in ran.out
    assert "a:x: [red]é b is finished" in acaikit("resume", "a:x: [red]é b").out
