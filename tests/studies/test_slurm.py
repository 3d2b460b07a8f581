"""Slurm for real, on a throw-away cluster; what trains is a stand-in, but where bits are compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slurm_cluster import Cluster, missing, slurm_cluster

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.metrics import read_metrics
from acaikit.artifacts.rundir import RunDir
from acaikit.config import read_recipe
from acaikit.errors import UserError
from acaikit.runs.session import open_session
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, State
from acaikit.studies.queue import QueueEntry, ask, queued, remember, submitted
from acaikit.studies.slurm import MINUTES, PROGRAMS, Resources, parse_minutes, submit
from acaikit.studies.worker import Worker

PATIENCE = 240.0
"""Seconds for what takes a few on an idle machine."""

# What a worker starts in acaikit's place: it does what the recipe says, in Python, and notes what happens to it.
STAND_IN = """
import os, signal, sys, time
from pathlib import Path

recipe = Path(sys.argv[2])
notes = recipe.with_suffix(".notes")
first = not notes.exists()

def note(word):
    with notes.open("a") as file:
        file.write(word + "\\n")

def save(number, frame):
    asked = time.monotonic()

    def end(number, frame):  # as acaikit does, unless both signals come for one reason
        if time.monotonic() - asked >= 0.5:
            note("torn")
            os._exit(143)

    signal.signal(signal.SIGTERM, end)
    time.sleep(0.7)
    note("saves")
    sys.exit(143)

def wait(until=lambda: False):
    for _ in range(5000):
        if until():
            return
        time.sleep(0.05)
    sys.exit("nothing has come")

def has_begun(other):
    return recipe.with_name(f"{other}.notes").exists()

signal.signal(signal.SIGTERM, save)
note("begins")
exec(recipe.read_text())
note("ends")
"""
STOPPED = "if first: wait()"
FAILS = "sys.exit('ValueError: no such thing')"
ARRAY = {
    "ends": "",
    "fails": FAILS,
    "killed": "if first: os.kill(os.getpid(), signal.SIGKILL)",
    "bereft": "if first: os.kill(os.getppid(), signal.SIGKILL)",
    "limit": STOPPED,
    "cancelled": STOPPED,
}
SAYS = "note(sys.argv[sys.argv.index('--threads') + 1]); note(os.environ['SLURM_CPUS_PER_TASK'])"
PACKS = {
    "left": f"wait(lambda: has_begun('right')); {SAYS}",
    "right": f"wait(lambda: has_begun('left')); {SAYS}",
    "first": FAILS,
    "second": STOPPED,
}
SLOW = """
import os, time
from acaikit.evaluators.base import Evaluator, Result

class Slow(Evaluator):
    key = "slow"

    def fits(self, trained):
        return True

    def evaluate(self, trained):
        if "SLURM_JOB_ID" in os.environ and "SLURM_RESTART_COUNT" not in os.environ:
            time.sleep(0.5)
        return Result({"slow": 0.0})
"""
RECIPE = """
Experiment.dataset = @Lines()
Experiment.encoder = @ConvEncoder()
Experiment.decoder = @ConvDecoder()
Experiment.regularizers = [@ACAI()]
Experiment.evaluators = [@Slow()]
Experiment.batch_size = 6
Experiment.samples = 1200
Experiment.evaluate_every = 60
Lines.height = 8
Lines.width = 8
Lines.test_size = 12
ConvEncoder.depth = 2
ConvEncoder.scales = 2
ConvEncoder.latent = 2
ConvDecoder.depth = 2
ConvDecoder.scales = 2
"""


def eventually(condition: Callable[[], object], what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.05)


class Handed:
    """A study whose runs are recipes in Python, of one seed and named like them, handed to Slurm."""

    def __init__(self, folder: Path, cluster: Cluster, recipes: Mapping[str, str]) -> None:
        self.study, self.cluster = StudyDir(folder / "study"), cluster
        runs = tuple(Run(name, name, (), 0) for name in recipes)
        self.study.write(Plan("study", "study.gin", runs, ()), dict(recipes))
        package = folder / "stand-in" / "acaikit"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(STAND_IN)
        self.package = package.parent

    def submit(self, names: Sequence[str], asked: str = "time=5", pack: int = 1, jobs: int | None = None) -> list[str]:
        resources = Resources.read([asked], pack)
        environment = {"PYTHONPATH": str(self.package)}
        workers = [Worker(self.study.path, name, resources.threads, (), environment) for name in names]
        return submit(self.study, workers, resources, jobs)

    def notes(self, name: str) -> list[str]:
        file = self.study.recipe(name).with_suffix(".notes")
        return file.read_text().split() if file.exists() else []

    def outcome(self, name: str) -> Outcome:
        outcome = self.study.outcome(name)
        assert outcome is not None, name
        return outcome

    def job(self, name: str) -> dict[str, str]:
        job = submitted(self.study, name)
        assert job is not None, name
        return self.cluster.job(job)

    def signal(self, name: str, *how: str) -> None:
        """Use scancel once a run has begun."""
        eventually(lambda: "begins" in self.notes(name), f"{name} begins")
        self.cluster.ask("scancel", *how, submitted(self.study, name) or "")

    def await_end(self) -> None:
        eventually(lambda: not queued(self.study), "the queue is empty")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := missing():
        pytest.skip(why)
    with pytest.MonkeyPatch.context() as patch, slurm_cluster(cpus=20) as running:
        work = tmp_path_factory.mktemp("work")
        (work / "random.py").write_text("raise SystemExit('a file of the user, beside the study')")
        patch.chdir(work)
        for name, value in running.environment.items():
            patch.setenv(name, value)
        patch.setenv("SLURM_NTASKS", "3")  # as in an interactive allocation, whose size isn't that of the jobs
        yield running


@pytest.fixture(scope="module")
def real(cluster: Cluster, preempted: Handed, tmp_path_factory: pytest.TempPathFactory) -> Handed:
    """A real run, which is slow until it is requeued."""
    handed = Handed(tmp_path_factory.mktemp("real"), cluster, {"tiny": RECIPE})
    site = tmp_path_factory.mktemp("site")
    (site / "slow.py").write_text(SLOW)
    (site / "slow-1.0.dist-info").mkdir()
    (site / "slow-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (site / "slow-1.0.dist-info" / "entry_points.txt").write_text("[acaikit.evaluators]\nSlow = slow:Slow\n")
    handed.package = site
    handed.submit(["tiny"])
    return handed


@pytest.fixture(scope="module")
def preempted(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Handed:
    """A run that an urgent job has taken the node from; it waits."""
    handed = Handed(tmp_path_factory.mktemp("preempted"), cluster, {"first": STOPPED})
    handed.submit(["first"])
    eventually(lambda: handed.notes("first"), "the first begins")
    cluster.ask("sbatch", "--wait", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true")
    return handed


@pytest.fixture(scope="module")
def packs(cluster: Cluster, preempted: Handed, tmp_path_factory: pytest.TempPathFactory) -> Handed:
    """Two packs of two runs; one run fails and its neighbour is stopped after that."""
    handed = Handed(tmp_path_factory.mktemp("packs"), cluster, PACKS)
    handed.submit(list(PACKS), "cpus_per_task=4,job_name=pair", pack=2)
    return handed


@pytest.fixture(scope="module")
def array(cluster: Cluster, real: Handed, packs: Handed, tmp_path_factory: pytest.TempPathFactory) -> Handed:
    """An array whose runs end in every way, and all of it over."""
    handed = Handed(tmp_path_factory.mktemp("array"), cluster, ARRAY)
    handed.submit(list(ARRAY))
    handed.signal("limit", "--signal=USR2")  # what --signal=USR2@90 does before the limit
    # One more while the run still saves; where it is too late for that, Slurm refuses.
    subprocess.run(["scancel", "--signal=USR2", submitted(handed.study, "limit") or ""], check=False)
    handed.signal("cancelled")
    eventually(lambda: (outcome := packs.study.outcome("first")) and outcome.ended, "a run of the pack fails")
    packs.signal("second", "--signal=USR2")
    rows = RunDir(real.study.run("tiny")).metrics
    eventually(lambda: list(rows.glob("part-*.h5")), "the real run writes metrics")
    cluster.ask("scontrol", "requeue", submitted(real.study, "tiny") or "")
    handed.await_end()
    return handed


@pytest.mark.slurm
def test_an_array_is_one_job_whose_parts_are_remembered(array: Handed) -> None:
    jobs = [submitted(array.study, name) for name in ARRAY]
    number = str(jobs[0]).partition("_")[0]
    assert jobs == [f"{number}_{place}" for place in range(len(ARRAY))]
    assert array.job("ends")["JobState"] == "COMPLETED"
    assert array.outcome("ends").state is State.DONE
    assert (array.job("ends")["TimeLimit"], array.job("ends")["JobName"]) == ("00:05:00", "acaikit-study")


@pytest.mark.slurm
def test_a_run_that_raises_has_failed_and_is_not_requeued(array: Handed) -> None:
    assert array.notes("fails") == ["begins"]
    assert array.outcome("fails").state is State.FAILED
    assert array.outcome("fails").lines[-1] == "ValueError: no such thing"
    job = array.job("fails")
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("FAILED", "1:0", "0")


@pytest.mark.slurm
def test_a_killed_run_is_tried_again_in_its_job(array: Handed) -> None:
    assert array.notes("killed") == ["begins", "begins", "ends"]
    assert (array.outcome("killed").state, array.outcome("killed").retries) == (State.DONE, 1)
    job = array.job("killed")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "0")


@pytest.mark.slurm
def test_a_job_whose_own_process_is_killed_is_requeued(array: Handed) -> None:
    assert array.notes("bereft").count("begins") == 2
    assert array.outcome("bereft").state is State.DONE
    job = array.job("bereft")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")


@pytest.mark.slurm
def test_before_its_limit_a_job_saves_and_goes_on_in_the_next(array: Handed) -> None:
    assert array.notes("limit") == ["begins", "saves", "begins", "ends"]
    assert (array.outcome("limit").state, array.outcome("limit").retries) == (State.DONE, 0)
    job = array.job("limit")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")


@pytest.mark.slurm
def test_a_cancelled_job_saves_and_is_over(array: Handed) -> None:
    assert array.notes("cancelled") == ["begins", "saves"]
    assert array.outcome("cancelled").state is State.STOPPED
    job = array.job("cancelled")
    assert (job["JobState"], job["Restarts"]) == ("CANCELLED", "0")


@pytest.mark.slurm
def test_a_job_in_an_urgent_ones_way_saves_and_goes_on_later(preempted: Handed, array: Handed) -> None:
    preempted.await_end()
    assert preempted.notes("first") == ["begins", "saves", "begins", "ends"]
    job = preempted.job("first")
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")


@pytest.mark.slurm
def test_a_pack_shares_its_job(packs: Handed, array: Handed) -> None:
    packs.await_end()
    jobs = [submitted(packs.study, name) for name in PACKS]
    assert jobs[0] == jobs[1] != jobs[2] == jobs[3]
    assert packs.notes("left") == packs.notes("right") == ["begins", "2", "4", "ends"]
    assert (packs.job("left")["JobState"], packs.job("left")["JobName"]) == ("COMPLETED", "pair")


@pytest.mark.slurm
def test_a_run_of_a_pack_that_failed_is_not_tried_again_with_the_others(packs: Handed, array: Handed) -> None:
    packs.await_end()
    assert packs.notes("first") == ["begins"]
    assert packs.notes("second") == ["begins", "saves", "begins", "ends"]
    assert packs.outcome("second").state is State.DONE
    job = packs.job("second")
    assert (job["JobState"], job["Restarts"]) == ("FAILED", "1")


@pytest.mark.slurm
def test_what_waits_is_known_and_a_full_disk_stops_it(cluster: Cluster, array: Handed, tmp_path: Path) -> None:
    full = """wait(lambda: has_begun("go")); print('{"stopped_by": "unsaved"}'); sys.exit(1)"""
    handed = Handed(tmp_path, cluster, {"full": full, "never": "", "unknown": ""})
    jobs = handed.submit(["full", "never"], jobs=1)
    eventually(lambda: handed.notes("full"), "the first begins")
    assert queued(handed.study) == {
        "full": QueueEntry(jobs[0], "RUNNING", "None"),
        "never": QueueEntry(jobs[1], "PENDING", "JobArrayTaskLimit"),
    }
    other = Handed(tmp_path / "other", cluster, {"a": ""}).study
    remember(other, "a", jobs[0])
    assert queued(other) == {}  # that number is another study's by now
    handed.study.recipe("go").with_suffix(".notes").touch()
    handed.await_end()
    assert handed.outcome("full").state is State.UNWRITABLE
    assert not handed.notes("never") and handed.study.outcome("never") is None
    assert submitted(handed.study, "never") == jobs[1]


@pytest.mark.slurm
def test_what_sbatch_refuses_is_told_in_its_words(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handed = Handed(tmp_path, cluster, {"ends": ""})
    with pytest.raises(UserError, match=r"refused.*invalid partition specified: nowhere"):
        handed.submit(["ends"], "partition=nowhere")
    assert submitted(handed.study, "ends") is None and queued(handed.study) == {}
    assert capfd.readouterr() == ("", "")


@pytest.mark.slurm
def test_jobs_that_slurm_has_forgotten_are_not_in_the_queue(cluster: Cluster) -> None:
    assert ask(["987654", "987655_1"]) == {}
    assert ask(["987654_3"]) == {}
    assert ask([]) == {}


@pytest.mark.slurm
def test_a_requeued_run_ends_in_the_same_bits(
    real: Handed, array: Handed, install: Callable[..., Path], tmp_path: Path
) -> None:
    real.await_end()
    assert real.outcome("tiny").state is State.DONE, real.outcome("tiny")
    assert real.job("tiny")["Restarts"] == "1"
    assert re.search("continued at step [1-9]", RunDir(real.study.run("tiny")).log_file.read_text())
    install("slow", "1.0", {"evaluators": {"Slow": "slow:Slow"}}, {"slow.py": SLOW})
    config = read_recipe(str(real.study.recipe("tiny")), ["Experiment.seed = 0"])
    with open_session(tmp_path / "whole", config=config) as session:
        session.train([], lambda: False)
    assert bits(real.study.run("tiny")) == bits(tmp_path / "whole")


def bits(path: Path) -> dict[str, Any]:
    """Return every bit that a run's training has made: its newest checkpoint whole, and its metrics."""
    directory = RunDir(path)
    step, state = Checkpoints(directory.checkpoints, directory.read_run()["run_id"]).latest(report=pytest.fail)
    return dict(leaves({"step": step, "state": state, "metrics": read_metrics(directory.metrics)}))


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, f"{path}/{key}")
    else:
        is_array = isinstance(tree, torch.Tensor | np.ndarray)
        yield path, (str(tree.dtype), tree.shape, np.asarray(tree).tobytes()) if is_array else tree


def test_where_slurm_cannot_be_asked_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = StudyDir(tmp_path)
    study.write(Plan("study", "study.gin", (Run("a", "a", (), 0),), ()), {"a": ""})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queued(study) == {}
    remember(study, "a", "12_3")
    with pytest.raises(UserError, match="no squeue on this machine"):
        queued(study)
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n")
    squeue.chmod(0o755)
    with pytest.raises(UserError, match="asked for its queue: slurm_load_jobs error: Unable to contact"):
        queued(study)
    (study.task("a") / "job.json").write_text("{}")
    assert submitted(study, "a") is None


def test_where_there_is_no_slurm_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no sbatch, srun, squeue, scontrol, scancel here"):
        submit(StudyDir(tmp_path), [], Resources())
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"pip install 'acaikit\[slurm\]'"):
        submit(StudyDir(tmp_path), [], Resources())


def study_of_two(folder: Path) -> tuple[StudyDir, list[Worker]]:
    study = StudyDir(folder)
    study.write(Plan("study", "study.gin", tuple(Run(name, "r", (), 0) for name in "ab"), ()), {"r": ""})
    return study, [Worker(study.path, name, 1) for name in "ab"]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Shell scripts in place of Slurm's programs: sbatch does what it is told, each notes its arguments in a file."""
    programs = tmp_path / "programs"
    programs.mkdir()
    notes = tmp_path / "notes"

    def write(sbatch: str) -> Path:
        for name in PROGRAMS:
            (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {notes}\n{sbatch * (name == "sbatch")}\n')
            (programs / name).chmod(0o755)
        return notes

    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    return write


def test_ctrl_c_loses_no_job_that_was_handed_over(stub: Callable[[str], Path], tmp_path: Path) -> None:
    stub("kill -INT $PPID; kill -INT $$; echo Submitted batch job 7")
    study, workers = study_of_two(tmp_path / "study")
    assert submit(study, workers, Resources()) == ["7_0", "7_1"]
    assert [submitted(study, name) for name in "ab"] == ["7_0", "7_1"]


def test_jobs_that_cannot_be_remembered_are_cancelled(
    stub: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = stub("echo Submitted batch job 7")
    study, workers = study_of_two(tmp_path / "study")
    (study.path / "tasks").mkdir()
    (study.path / "tasks" / "b").touch()
    with pytest.raises(UserError, match="study can't be written, so that Slurm was handed nothing"):
        submit(study, workers, Resources())
    assert notes.read_text().splitlines()[-1] == "scancel 7"


def test_more_jobs_than_slurm_takes_are_refused_with_advice(stub: Callable[[str], Path], tmp_path: Path) -> None:
    stub("echo 'sbatch: error: Batch job submission failed: Invalid job array specification' >&2; exit 1")
    study, workers = study_of_two(tmp_path / "study")
    with pytest.raises(UserError, match=r"Invalid job array specification \(2 jobs at once; fewer: --pack"):
        submit(study, workers, Resources())


def test_a_folder_that_slurm_would_misread_is_refused(stub: Callable[[str], Path], tmp_path: Path) -> None:
    notes = stub("echo Submitted batch job 7")
    study, workers = study_of_two(tmp_path / "100%aug")
    with pytest.raises(UserError, match=r"a path has %.*--dir"):
        submit(study, workers[:1], Resources())
    assert not notes.exists()


def test_resources_are_read_from_options() -> None:
    texts = ["partition=a,b,time=1-0,exclude=n[1-3],n5", "cpus_per_task=8,mem_per_cpu=2G,exclusive="]
    read = Resources.read(texts, pack=3)
    others = {"partition": "a,b", "exclude": "n[1-3],n5", "mem-per-cpu": "2G", "exclusive": True}
    assert read == Resources(1440, 8, 3, others)
    assert read.threads == 2
    exported = Resources.read(["export=ALL,DATA=/data,gres=gpu:1"])
    assert exported.others == {"export": "ALL,DATA=/data", "gres": "gpu:1"}
    assert Resources.read([], pack=2) == Resources(MINUTES, 2, 2, {})
    assert Resources.read(["cpus_per_task=1"], pack=2).threads == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu", "'gpu' is no KEY=VALUE"),
        ("=gpu", "'=gpu' is no KEY=VALUE"),
        ("array=0-3", "acaikit sets this itself"),
        ("ntasks_per_node=2", "acaikit sets this itself"),
        ("cpus-per-task=many", "write a number"),
        ("cpus_per_task=0", "write a number"),
        ("time=soon", "write minutes, M:S, H:M:S, D-H"),
        ("time=2", "would be left"),
        ("time=", "write minutes"),
        ("job_name=", "write a name"),
        ("comment=a\n#SBATCH --array=0-3", "one line"),
    ],
)
def test_resources_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        Resources.read([text])


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
@settings(deadline=None)
def test_times_of_slurms_are_minutes(days: int, hours: int, minutes: int, seconds: int) -> None:
    up = seconds > 0
    assert parse_minutes(str(minutes)) == minutes
    assert parse_minutes(f"{minutes}:{seconds:02}") == minutes + up
    assert parse_minutes(f"{hours}:{minutes:02}:{seconds:02}") == 60 * hours + minutes + up
    assert parse_minutes(f"{days}-{hours}") == 60 * (24 * days + hours)
    assert parse_minutes(f"{days}-{hours}:{minutes}") == 60 * (24 * days + hours) + minutes
    assert parse_minutes(f"{days}-{hours}:{minutes}:{seconds}") == 60 * (24 * days + hours) + minutes + up


@given(st.text("0123456789:-dm ", max_size=12))
@settings(deadline=None)
def test_every_other_time_is_refused(text: str) -> None:
    numbers = r"[0-9]+"
    formats = [numbers, f"{numbers}:{numbers}", f"{numbers}:{numbers}:{numbers}"]
    if any(re.fullmatch(rf"({numbers}-)?{each}", text) for each in formats):
        return
    with pytest.raises(UserError):
        parse_minutes(text)
