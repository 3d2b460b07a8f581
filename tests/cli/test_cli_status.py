from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import RunLock
from acaikit.artifacts.publish import make_folder
from acaikit.artifacts.rundir import RunDir
from acaikit.errors import UserError
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.progress import newest
from acaikit.studies.queue import QueueEntry

BEGAN, ENDED = "2026-01-01T00:00:00+00:00", "2026-01-01T00:01:40+00:00"


def note(study: StudyDir, seed: int, state: State, ended: str = ENDED, **others: Any) -> None:
    make_folder(study.task(f"r-s{seed}"))
    Outcome(state, Stage.TRAINING, BEGAN, ended, "node7", **others).store(study.outcome_file(f"r-s{seed}"))


def finish(study: StudyDir, seed: int) -> None:
    run = study.run(f"r-s{seed}")
    RunDir(run).write_run({"run_id": "0"})
    Checkpoints(run / "checkpoints", "").save(1, {"samples": 100, "budget": 100})
    note(study, seed, State.DONE, checkpoint=newest(run))


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    """One run is done, one failed, one seems to be running, one waits."""
    made = StudyDir(tmp_path / "quick")
    make_folder(made.path)
    made.write(Plan("quick", "quick.gin", tuple(Run(f"r-s{seed}", "r", (), seed) for seed in range(4)), ()), {})
    finish(made, 0)
    note(made, 1, State.FAILED, lines=("error: NaN",), retries=1)
    note(made, 2, State.RUNNING, "")
    return made


def test_elsewhere_than_in_a_terminal_it_is_shown_once(acaikit: Any, study: StudyDir) -> None:
    with RunLock(study.task_lock("r-s2")):
        ran = acaikit("status", study.path)
    assert "✓ 1 done   ● 1 running   ✗ 1 failed   · 1 waiting" in ran.out
    assert "    NaN " in ran.out and str(study.log("r-s1")) in ran.out
    assert "r  ✓ ✗ ● ·" in ran.out
    assert ran.err == "" and "\x1b" not in ran.out


def test_json_says_all_of_every_run(acaikit: Any, study: StudyDir) -> None:
    told = json.loads(acaikit("status", study.path, "--json").out)
    assert told["counts"] == {"done": 1, "running": 0, "failed": 1, "waiting": 2}
    assert (told["study"], told["left_s"], told["busy"], told["note"]) == ("quick", None, False, None)
    assert [run["state"] for run in told["runs"]] == ["done", "failed", "waiting", "waiting"]
    done, failed, *_, waiting = told["runs"]
    assert (done["run"], done["directory"]) == ("r-s0", str(study.run("r-s0")))
    assert (done["samples"], done["budget"], waiting["samples"], waiting["budget"]) == (100, 100, 0, None)
    assert told["others"] == []
    assert (failed["said"], failed["retries"], failed["seed"], failed["where"]) == ("NaN", 1, 1, "node7")
    assert failed["log"] == str(study.log("r-s1"))


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_no_study_is_a_mistake(acaikit: Any, tmp_path: Path, there: bool) -> None:
    folder = tmp_path if there else tmp_path / "nowhere"
    ran = acaikit("status", folder, code=2)
    assert ran.err.startswith(f"error: {folder} holds no study")
    assert ran.out == ""


@pytest.mark.parametrize("given", ["quick", "quick.gin", "studies/quick/runs", "studies/quick/runs/r-s0"])
def test_what_is_close_to_a_study_leads_to_it(acaikit: Any, study: StudyDir, given: str) -> None:
    Path("studies").mkdir()
    shutil.copytree(study.path, "studies/quick")
    ran = acaikit("status", given, code=2)
    assert ran.err == f"error: {given} holds no study: did you mean studies/quick?\n"


def test_a_file_is_no_study(acaikit: Any) -> None:
    Path("mine.gin").touch()
    ran = acaikit("status", "mine.gin", code=2)
    assert ran.err == "error: mine.gin is a file, not the folder that acaikit sweep makes of a study\n"


def test_a_queue_that_cannot_be_asked_is_told_in_one_line(
    acaikit: Any, study: StudyDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(study: StudyDir) -> dict[str, QueueEntry]:
        raise UserError("Slurm can't be asked for its queue: no answer\nat all")

    monkeypatch.setattr("acaikit.studies.queue.queued", fail)
    ran = acaikit("status", study.path)
    assert ran.err == "note: Slurm can't be asked for its queue: no answer; at all\n"
    assert "1 failed" in ran.out
    told = json.loads(acaikit("status", study.path, "--json").out)
    assert told["note"] == "Slurm can't be asked for its queue: no answer; at all"


def test_what_the_queue_says_is_shown(acaikit: Any, study: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"r-s3": QueueEntry("12_3", "PENDING", "Resources")}
    monkeypatch.setattr("acaikit.studies.queue.queued", lambda study: entries)
    row = next(line for line in acaikit("status", study.path).out.splitlines() if line.startswith("r-s3"))
    assert row.split() == ["r-s3", "pending", "(Resources)", "job", "12_3"]


class Terminal:
    """A terminal for `acaikit status`, and what happens in it instead of each pause between two looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
        self.events: list[Callable[[], None]] = []
        monkeypatch.setattr("acaikit.cli.status.out", self.console)
        monkeypatch.setattr("acaikit.cli.status.time.sleep", lambda seconds: self.events.pop(0)())

    def screens(self) -> list[str]:
        """What was shown, from one picture to the next, and what is left at the end."""
        assert isinstance(self.console.file, io.StringIO)
        return self.console.file.getvalue().split("\x1b[H")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(monkeypatch)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_in_a_terminal_it_is_kept_up_to_date_until_nothing_runs(
    acaikit: Any, study: StudyDir, terminal: Terminal
) -> None:
    lock = RunLock(study.task_lock("r-s2"))

    def end() -> None:
        finish(study, 2)
        lock.__exit__(None, None, None)

    terminal.events = [lambda: None, end]
    with lock:
        acaikit("status", study.path)
    assert not terminal.events
    screens = terminal.screens()
    assert any("1 done" in screen and "1 running" in screen for screen in screens)
    left = screens[-1].partition("\x1b[?1049l")[2]  # after the screen of its own is left
    assert "2 done" in left and "0 running" in left and "NaN" in left


def test_ctrl_c_leaves_the_view_and_the_study_alone(acaikit: Any, study: StudyDir, terminal: Terminal) -> None:
    terminal.events = [lambda: None, interrupt]
    with RunLock(study.task_lock("r-s2")):
        ran = acaikit("status", study.path, code=0)
    assert "interrupted" not in ran.err
    assert "1 running" in terminal.screens()[-1].partition("\x1b[?1049l")[2]


@pytest.mark.parametrize(("options", "busy"), [(["--once"], True), ([], False)])
def test_asked_to_or_where_nothing_runs_a_terminal_too_is_shown_it_once(
    acaikit: Any, study: StudyDir, terminal: Terminal, options: list[str], busy: bool
) -> None:
    with RunLock(study.task_lock("r-s2")) if busy else nullcontext():
        acaikit("status", study.path, *options)
    (shown,) = terminal.screens()
    assert "1 failed" in shown and "\x1b[?1049h" not in shown


def test_the_queue_is_asked_now_and_then_only(
    acaikit: Any, study: StudyDir, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("acaikit.studies.queue.queued", lambda study: asked.append(study) or {})
    monkeypatch.setattr("acaikit.cli.status.time.monotonic", lambda: 100.0 + 5 * (6 - len(terminal.events)))
    terminal.events = [*[lambda: None] * 5, interrupt]
    with RunLock(study.task_lock("r-s2")):
        acaikit("status", study.path)
    assert len(asked) == 2  # at the beginning, and after 15 of 25 seconds


def test_neither_torch_nor_what_trains_is_imported(study: StudyDir) -> None:
    script = """
import json, sys
from acaikit.cli import main
sys.argv = ["acaikit", "status", sys.argv[1]]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", script, str(study.path)], capture_output=True, text=True, check=False)
    modules = set(json.loads(ran.stderr.splitlines()[-1]))
    assert "acaikit.studies.status" in modules and "1 failed" in ran.stdout
    assert not {"torch", "sklearn", "scipy", "matplotlib", "submitit", "ray", "gin", "rich.live"} & modules
