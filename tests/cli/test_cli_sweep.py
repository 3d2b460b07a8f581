"""Studies from the command line: most with a shell script in place of the processes that train, some for real."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.kills import digest
from faults.tiny import recipe
from rich.console import Console

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import RunLock
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.cli import sweep as command
from acaikit.cli.swept import Swept
from acaikit.errors import UserError
from acaikit.studies import local, queue, slurm
from acaikit.studies import worker as module
from acaikit.studies.layout import StudyDir
from acaikit.studies.outcome import State

LIMIT = 120
"""Seconds after which what is waited for will never be."""
DONE, SAMPLES = 32, 64
STAND_IN = """
echo "$*" >> "$here/calls"
while [ $# -gt 0 ]; do case "$1" in --dir) run="$2";; esac; shift; done
training() { mkdir -p "$run" && cp -r "$here/trained/." "$run"; }
until_told() { trap 'exit 143' TERM; : > "$here/at-${run##*/}"; while :; do sleep 0.02; done; }
if [ -f "$here/${run##*/}.sh" ]; then . "$here/${run##*/}.sh"; else training; fi
"""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Scripted:
    """A study file ``study.gin`` of recipe ``a`` in the working directory, whose runs are the script's doing."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.dir = folder, StudyDir(Path("studies/study"))
        state = {"samples": SAMPLES, "budget": SAMPLES}
        Checkpoints(RunDir(folder / "trained").checkpoints, "id").save(SAMPLES, state)
        RunDir(folder / "trained").write_run({"run_id": "id"})
        Path("a.gin").write_text(recipe(2, 1))
        self.write()

    def write(self, *lines: str, seeds: str = "[0, 1, 2]") -> None:
        Path("study.gin").write_text("\n".join(["Study.recipes = ['a.gin']", f"Study.seeds = {seeds}", *lines]))

    def acts(self, run: str, script: str) -> None:
        """Say what the process of a run is to do from here on."""
        (self.folder / f"{run}.sh").write_text(script)

    def calls(self) -> list[str]:
        """Return the arguments of the processes since this was asked last."""
        file = self.folder / "calls"
        if not file.exists():
            return []
        lines = file.read_text().splitlines()
        file.unlink()
        return lines

    def trained(self) -> list[str]:
        """Return the runs that processes were started for since then, in their order."""
        return [re.findall(r" --dir \S*/runs/(\S+) ", call)[0] for call in self.calls()]


@pytest.fixture
def study(acaikit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    made = Scripted(tmp_path / "script")
    script = made.folder / "acaikit.sh"
    script.write_text(f"here={made.folder}\n{STAND_IN}")
    monkeypatch.setattr(module, "COMMAND", ("/bin/sh", "--", str(script)))
    return made


def test_every_run_is_trained_and_told(acaikit, study) -> None:
    ran = acaikit("sweep", "study.gin", "--jobs", 1)
    first, *over = ran.out.splitlines()[:4]
    assert (
        first
        == f"3 runs of studies/study to go, 1 at once on this machine, with {local.cores()} threads each".replace(
            "1 threads", "1 thread"
        )
    )
    for number, line in enumerate(over):
        assert re.fullmatch(rf"{number + 1}/3 a-s{number}: done in \d+s", line)
    assert "3 of 3 runs of study are done, in studies/study\nnext:\n  acaikit table studies/study\n" in ran.out
    assert "--paper" not in ran.out
    assert study.trained() == ["a-s0", "a-s1", "a-s2"]


def test_what_is_done_is_left_alone(acaikit, study) -> None:
    acaikit("sweep", "study.gin")
    study.calls()
    for name in ("study.gin", "studies/study"):
        assert "3 of 3 runs of study are done" in acaikit("sweep", name).out
    assert acaikit("sweep", "study.gin", "--quiet").out == ""
    assert study.calls() == []
    acaikit("sweep", "study.gin", "--seeds", "0:5")
    assert sorted(study.trained()) == ["a-s3", "a-s4"]
    shutil.rmtree(study.dir.run("a-s1"))
    acaikit("sweep", "studies/study")
    assert study.trained() == ["a-s1"]


def test_json_is_one_object(acaikit, study) -> None:
    study.acts("a-s1", "echo no good >&2; exit 1")
    ran = acaikit("sweep", "study.gin", "--json", code=1)
    told = json.loads(ran.out)
    assert (told["study"], told["path"]) == ("study", "studies/study")
    assert told["counts"] == {"done": 2, "running": 0, "failed": 1, "waiting": 0}
    assert [run["state"] for run in told["runs"]] == ["done", "failed", "done"]
    assert told["runs"][1] == {
        "run": "a-s1",
        "directory": "studies/study/runs/a-s1",
        "recipe": "a",
        "overrides": [],
        "seed": 1,
        "state": "failed",
        "retries": 0,
        "said": "no good",
        "log": "studies/study/tasks/a-s1/log.txt",
    }


def test_all_commands_speak_of_a_study_in_the_same_words(acaikit, study) -> None:
    study.acts("a-s1", "exit 1")
    asked = (["sweep", "study.gin", "--dry-run"], ["sweep", "study.gin"], ["status", "studies/study"])
    codes = (0, 1, 0)
    before, swept, status = (
        json.loads(acaikit(*words, "--json", code=code).out) for words, code in zip(asked, codes, strict=True)
    )
    for told in (before, swept, status):
        assert set(before) <= set(told)
        for one, other in zip(told["runs"], status["runs"], strict=True):
            same = ("run", "directory", "recipe", "overrides", "seed", "log")
            assert [one[key] for key in same] == [other[key] for key in same]
    assert before["counts"] == {"done": 0, "running": 0, "failed": 0, "waiting": 3}
    assert swept["counts"] == status["counts"] == {"done": 2, "running": 0, "failed": 1, "waiting": 0}
    assert [run["state"] for run in swept["runs"]] == [run["state"] for run in status["runs"]]


def test_a_failure_is_told_with_its_last_line_and_the_rest_goes_on(acaikit, study) -> None:
    study.acts("a-s0", "echo Traceback >&2; echo 'ValueError: [red]7[/] is \033[1m no number' >&2; exit 1")
    ran = acaikit("sweep", "study.gin", "--jobs", 1, code=1)
    log = "studies/study/tasks/a-s0/log.txt"
    told = f"a-s0: failed: ValueError: [red]7[/] is ?[1m no number; the rest: {log}"
    assert "1/3 a-s0: failed\n" in ran.out
    assert ran.err.count(f"  {told}\n") == 1
    assert "1 of 3 runs failed. Once the cause is mended, go on with: acaikit sweep studies/study --jobs 1" in ran.err
    assert "2 of 3 runs of study are done" in ran.out
    assert "Traceback\nValueError" in Path(log).read_text()
    assert study.trained() == ["a-s0", "a-s1", "a-s2"]
    assert told in acaikit("sweep", "studies/study", "--quiet", code=1).err
    study.acts("a-s0", "training")
    acaikit("sweep", "studies/study")
    assert study.trained() == ["a-s0", "a-s0"]


def test_one_run_is_a_run_and_a_failure_has_its_cause_alone(acaikit, study) -> None:
    advice = "; there is no checkpoint. To try:"
    study.acts("a-s0", f"echo 'error: training diverged{advice}' >&2; echo '  another rate' >&2; exit 3")
    ran = acaikit("sweep", "study.gin", "--seeds", 0, code=1)
    assert "0 of 1 run of study is done" in ran.out
    assert "  a-s0: failed: training diverged; there is no checkpoint; the rest: " in ran.err
    assert "\n1 of 1 run failed." in ran.err


def test_what_signals_killed_is_told_with_how_often_it_began_again(acaikit, study) -> None:
    study.acts("a-s0", "kill -9 $$")
    ran = acaikit("sweep", "study.gin", "--seeds", 0, code=1)
    assert "1/1 a-s0: failed, begun again 3 times\n" in ran.out
    assert "  a-s0: failed, begun again 3 times: killed by signal 9" in ran.err
    study.acts("a-s0", "if [ -f $here/once ]; then training; else : > $here/once; kill -9 $$; fi")
    assert re.search(r"1/1 a-s0: done in \d+s, begun again 1 time\n", acaikit("sweep", "studies/study").out)


def test_the_paper_is_named_where_it_prints_something(acaikit, study) -> None:
    Path("lines_vae_64.gin").write_text(Path("a.gin").read_text())
    study.write("Study.recipes = ['a.gin', 'lines_vae_64.gin']", seeds="[0]")
    Path("study.gin").write_text(Path("study.gin").read_text().replace("Study.recipes = ['a.gin']\n", ""))
    assert "  acaikit table studies/study --paper " in acaikit("sweep", "study.gin").out


def test_the_frame_in_a_terminal_ends_in_an_empty_line(acaikit, study) -> None:
    """There the terminal writes its ^C; at the end of a full line that would be one line more than is wiped out."""
    acaikit("sweep", "study.gin")
    console = Console(force_terminal=True, width=60, height=40)
    live = command._shown(Swept(study.dir, study.dir.read(), [], {}, console))
    lines = console.render_lines(live.get_renderable(), console.options.update(height=None), pad=False)
    assert len(lines) > 3
    assert "".join(segment.text for segment in lines[-1]) == ""


def test_runs_in_the_queue_of_slurm_are_left_to_it(acaikit, study, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"a-s1": queue.QueueEntry("7_1", "PENDING", "Resources")}
    monkeypatch.setattr(queue, "queued", lambda study: entries)
    ran = acaikit("sweep", "study.gin", "--jobs", 1)
    assert "1 run in Slurm's queue already, and left to it\n2 runs of studies/study to go" in ran.out
    assert "2 of 3 runs of study are done" in ran.out
    assert ran.out.endswith("how far the others are: acaikit status studies/study\n")
    assert study.trained() == ["a-s0", "a-s2"]
    entries.clear()
    acaikit("sweep", "study.gin")
    assert study.trained() == ["a-s1"]


def test_a_queue_that_cannot_be_asked_is_no_hindrance_here(acaikit, study, monkeypatch: pytest.MonkeyPatch) -> None:
    def queued(study: StudyDir) -> None:
        raise UserError("no squeue here")

    monkeypatch.setattr(queue, "queued", queued)
    assert "note: no squeue here\n3 runs of studies/study to go" in acaikit("sweep", "study.gin").out
    assert "no squeue" not in acaikit("sweep", "study.gin").out


def test_what_is_handed_to_slurm_waits(acaikit, study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "submit", lambda study, workers, *more: [f"7_{n}" for n in range(len(workers))])
    monkeypatch.setattr(slurm, "check_programs", lambda: None)
    told = json.loads(acaikit("sweep", "study.gin", "--on", "slurm", "--json").out)
    assert told["submitted"] == ["7_0", "7_1", "7_2"]
    assert told["counts"] == {"done": 0, "running": 0, "failed": 0, "waiting": 3}
    assert "3 runs handed to Slurm, as 7_0 to 7_2\n" in acaikit("sweep", "study.gin", "--on", "slurm").out


def test_a_full_disk_ends_the_study(acaikit, study) -> None:
    study.acts("a-s1", 'echo \'{"stopped_by": "unsaved"}\'; echo No room >&2; exit 1')
    ran = acaikit("sweep", "study.gin", "--jobs", 1, code=1)
    assert "  a-s1: failed: No room; the rest: studies/study/tasks/a-s1/log.txt\n" in ran.err
    assert "studies/study can't be written any more; what is done stands. Once it can, go on with: acaikit" in ran.err
    assert study.trained() == ["a-s0", "a-s1"]
    assert [study.dir.outcome(f"a-s{seed}") and study.dir.outcome(f"a-s{seed}").state for seed in range(3)] == [
        State.DONE,
        State.UNWRITABLE,
        None,
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_in_good_order(acaikit, study, number: signal.Signals) -> None:
    study.acts("a-s1", "until_told")

    def send() -> None:
        until((study.folder / "at-a-s1").exists)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    ran = acaikit("sweep", "study.gin", "--jobs", 1, "--threads", 1, "--device", "cpu", code=128 + number)
    sender.join()
    again = "acaikit sweep studies/study --jobs 1 --threads 1 --device cpu"
    assert f"stopped; what was saved stands, go on with: {again}\n" in ran.err
    assert ran.out.count("stopping: what runs is saved first") == 1
    assert "2/3 a-s1: stopped\n1 of 3 runs of study are done" in ran.out
    assert study.trained() == ["a-s0", "a-s1"]
    study.acts("a-s1", "training")
    acaikit(*again.split()[1:])
    assert study.trained() == ["a-s1", "a-s2"]


def test_a_run_has_its_share_of_the_cores_whichever_runs_are_left(
    acaikit, study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "cores", lambda: 8)
    study.acts("a-s1", "exit 1")
    acaikit("sweep", "study.gin", "--jobs", 2, code=1)
    acaikit("sweep", "study.gin", "--jobs", 2, code=1)
    acaikit("sweep", "study.gin", code=1)
    threads = [re.findall(r"--threads (\d+)", call)[0] for call in study.calls()]
    assert threads == ["4"] * 4 + ["2"]


def test_options_are_passed_on(acaikit, study, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    acaikit("sweep", "study.gin", "--seeds", 4, "--threads", 3, "--device", "cpu", "--data-dir", tmp_path / "data")
    (call,) = study.calls()
    assert call.endswith(f"--threads 3 --device cpu --data-dir {tmp_path / 'data'}")
    assert call.startswith(f"run {Path('studies/study/recipes/a.gin').resolve()} --seed 4 ")


@pytest.mark.parametrize(
    ("text", "seeds"), [("0:3", [0, 1, 2]), ("0,3,7", [0, 3, 7]), ("4", [4]), ("7, 1:3", [7, 1, 2])]
)
def test_seeds_are_a_range_or_a_list(acaikit, study, text: str, seeds: list[int]) -> None:
    ran = acaikit("sweep", "study.gin", "--seeds", text, "--dry-run")
    assert ran.out.splitlines()[:-1] == [f"a-s{seed}" for seed in seeds]
    told = json.loads(acaikit("sweep", "study.gin", "--seeds", text, "--dry-run", "--json").out)
    assert [run["seed"] for run in told["runs"]] == seeds
    assert acaikit("sweep", "study.gin", "--dry-run", "--quiet").out == ""
    assert not Path("studies").exists()
    assert study.calls() == []


@pytest.mark.parametrize("text", ["", "x", "0:", "3:3", "-1", "0:20000", "1,,2", "0-5", "٣"])
def test_what_is_no_seed_is_refused(acaikit, study, text: str) -> None:
    assert "--seeds" in acaikit("sweep", "study.gin", f"--seeds={text}", code=2).err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["study.gin", "--slurm", "partition=x"], "--slurm is for --on slurm"),
        (["study.gin", "--data-dir", "nowhere"], "--data-dir nowhere is no folder"),
        (["study.gin", "--set", "Study.overrides=['Lines.hight = 8']"], "did you mean height?"),
        (["study.gin", "--seeds", "1,1"], "1 twice"),
        (["study.gin", "--pack", 2, "--device", "cpu"], "--pack 2 is for runs that share a GPU"),
        (["study.gin", "--dir", "a.gin"], "a.gin is no folder"),
        (["study.gin", "--dir", "a.gin/in/it"], "a.gin/in/it can't be written: "),
        (["nothing"], "nothing"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(acaikit, study, arguments: list[str], said: str) -> None:
    for more in ([], ["--dry-run"]):
        assert said in acaikit("sweep", *arguments, *more, code=2).err
    assert not Path("studies").exists()


@pytest.mark.parametrize("more", [["--seeds", "3"], ["--set", "Study.seeds=[3]"], ["--dir", "other"]])
def test_a_folder_is_swept_as_it_was_planned(acaikit, study, more: list[str]) -> None:
    acaikit("sweep", "study.gin", "--seeds", 0)
    Path("study.gin").unlink()
    Path("a.gin").unlink()
    assert "studies/study is swept as it was planned" in acaikit("sweep", "studies/study", *more, code=2).err
    assert "1 of 1 run of study is done" in acaikit("sweep", "studies/study").out


def test_data_that_cannot_be_had_are_told_before_anything_begins(acaikit, study) -> None:
    study.write("Study.overrides = ['Experiment.dataset = @ImageFolder()', \"ImageFolder.path = 'nowhere'\"]")
    kept = [line for line in recipe(2, 1).splitlines() if not line.startswith(("Lines.", "Factor", "Experiment.eval"))]
    Path("a.gin").write_text("\n".join(kept))
    ran = acaikit("sweep", "study.gin", code=2)
    assert "nowhere" in ran.err
    assert not study.dir.exists()
    assert study.calls() == []


def test_one_sweep_at_a_time(acaikit, study) -> None:
    study.dir.path.mkdir(parents=True)
    with RunLock(study.dir.lock_file):
        ran = acaikit("sweep", "study.gin", code=2)
    assert f"studies/study is being swept by process {os.getpid()} on " in ran.err
    assert not study.dir.exists()
    acaikit("sweep", "study.gin")


def test_runs_that_are_no_part_any_more_stay(acaikit, study) -> None:
    acaikit("sweep", "study.gin")
    ran = acaikit("sweep", "study.gin", "--seeds", "2:8")
    assert "no part of the study any more, and left where they are: a-s0, a-s1\n" in ran.err
    assert study.dir.run("a-s0").is_dir()
    assert [run.seed for run in study.dir.read().runs] == [2, 3, 4, 5, 6, 7]


# What follows is trained for real: two experiments that end well, and one that diverges.

STEPS, EVERY = 100, 10
STUDY = """
Study.recipes = ['real.gin']
Study.seeds = [0]
Study.grid = {'Experiment.learning_rate': [1e-3, 2e-3]}
"""
GOOD = ("real,learning_rate=0.001-s0", "real,learning_rate=0.002-s0")
BAD = "real,learning_rate=1e+30-s0"
OPTIONS = ("--jobs", "2", "--threads", "1", "--device", "cpu")
PROGRAM = (sys.executable, "-m", "acaikit")


def write_real(folder: Path, study: str = STUDY) -> None:
    (folder / "real.gin").write_text(recipe(STEPS, EVERY))
    (folder / "real-study.gin").write_text(study)


def steps(run: Path) -> list[int]:
    return Checkpoints(RunDir(run).checkpoints, "").steps()


def bits(run: Path) -> tuple[str, dict[str, bytes]]:
    """Return a hash of the state at a run's end, and its metrics."""
    directory = RunDir(run)
    state = Checkpoints(directory.checkpoints, directory.read_run()["run_id"]).load(STEPS)
    return digest(state), {name: column.tobytes() for name, column in read_metrics(directory.metrics).items()}


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def trainer(run: Path) -> int:
    """Return the process that trains a run."""
    holder = RunLock(RunDir(run).lock_file).holder()
    assert holder is not None
    return holder.pid


def processes(folder: Path) -> list[int]:
    """List the processes that have to do with a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if bytes(folder) in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder, swept without being disturbed; an experiment diverges, beside those that end well."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    write_real(folder, STUDY.replace("2e-3]", "2e-3, 1e30]"))
    command = [*PROGRAM, "sweep", "real-study.gin", *OPTIONS]
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 1
    return folder / "studies/real-study"


@pytest.mark.slow
def test_a_run_that_fails_does_so_alone(uninterrupted: Path) -> None:
    study = StudyDir(uninterrupted)
    assert [run.name for run in study.read().runs] == [*GOOD, BAD]
    good = [study.outcome(name) for name in GOOD]
    bad = study.outcome(BAD)
    assert [outcome and outcome.state for outcome in good] == [State.DONE, State.DONE]
    assert bad is not None
    assert (bad.state, bad.retries) == (State.FAILED, 0)
    assert any("training diverged in step" in line for line in bad.lines)


@pytest.mark.slow
def test_killed_and_stopped_it_ends_in_the_same_bits_and_the_same_table(
    acaikit, uninterrupted: Path, tmp_path: Path
) -> None:
    """As in a terminal: Ctrl-C reaches the whole process group, which the processes that train aren't in."""
    work = tmp_path / "work"
    study = StudyDir(work / "studies/real-study")
    killed, stopped = map(study.run, GOOD)
    write_real(work)
    pipe = subprocess.PIPE
    command = [*PROGRAM, "sweep", "real-study.gin", *OPTIONS]
    sweep = subprocess.Popen(command, cwd=work, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        until(lambda: steps(stopped))
        os.kill(paused := trainer(stopped), signal.SIGSTOP)  # so that there is something to stop later on
        until(lambda: steps(killed))
        reached = steps(killed)[-1]
        os.kill(trainer(killed), signal.SIGKILL)
        until(lambda: steps(killed)[-1] > reached)
        os.killpg(sweep.pid, signal.SIGINT)
        os.kill(paused, signal.SIGCONT)
        said, errors = sweep.communicate(timeout=LIMIT)
        assert processes(work) == []
    finally:
        for pid in [sweep.pid, *processes(work)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert sweep.returncode == 130
    assert (
        f"stopped; what was saved stands, go on with: acaikit sweep studies/real-study {' '.join(OPTIONS)}\n" in errors
    )
    assert said.count("stopping: ") == 1
    assert 0 < steps(stopped)[-1] < STEPS
    assert len(re.findall("^== .* acaikit run ", study.log(GOOD[0]).read_text(), re.MULTILINE)) == 2

    acaikit("sweep", "studies/real-study", *OPTIONS)
    assert [bits(run) for run in (killed, stopped)] == [bits(uninterrupted / "runs" / name) for name in GOOD]
    straight = acaikit("table", *(uninterrupted / "runs" / name for name in GOOD)).out
    assert "learning_rate = 0.002" in straight
    assert acaikit("table", *map(study.run, GOOD)).out == straight


@pytest.mark.slow
def test_a_full_disk_leaves_what_is_done(acaikit, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may be large enough for what is written at a run's beginning, and not for a checkpoint."""
    study = StudyDir(Path(shutil.copytree(uninterrupted, "full")))
    shutil.rmtree(study.run(GOOD[1]))
    before, log = files(study.run(GOOD[0])), study.log(BAD).read_text()
    script = f'ulimit -f 64; exec {shlex.join(PROGRAM)} "$@"'
    monkeypatch.setattr(module, "COMMAND", ("/bin/sh", "-c", script, "sh"))
    ran = acaikit("sweep", "full", "--jobs", 1, "--threads", 1, "--device", "cpu", code=1)
    assert f"2/3 {GOOD[1]}: failed\n" in ran.out
    assert "File too large" in ran.err
    assert "full can't be written any more; what is done stands" in ran.err
    assert files(study.run(GOOD[0])) == before
    assert study.log(BAD).read_text() == log


@pytest.mark.slow
def test_another_experiment_is_refused_before_anything_begins(acaikit, uninterrupted: Path) -> None:
    before = files(Path(shutil.copytree(uninterrupted, "changed")))
    write_real(Path(), f"{STUDY}Study.overrides = ['Lines.test_size = 16']")
    for more in ([], ["--dry-run"]):
        ran = acaikit("sweep", "real-study.gin", "--dir", "changed", *more, code=2)
        assert "changed has other experiments under names of this study's runs" in ran.err
        assert f"\n  {', '.join(GOOD)}: Lines.test_size: 12 -> 16\n" in ran.err
        assert "sweep into another folder with --dir" in ran.err
    assert files(Path("changed")) == before
