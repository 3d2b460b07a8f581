from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from faults import tiny

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import RunLock
from acaikit.artifacts.rundir import RunDir
from acaikit.errors import UserError
from acaikit.runs.stopping import Interrupted, handling
from acaikit.studies import on_ray
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import Outcome, Stage, State
from acaikit.studies.worker import Worker

if importlib.util.find_spec("ray") is None:  # not importorskip: Ray reads its environment when it is imported
    pytest.skip("Ray is not installed", allow_module_level=True)

LIMIT = 120
"""Seconds after which what is waited for will never be."""
MARK = "ACAIKIT_TEST_OF_RAY"
"""Environment variable that all processes of a Ray have."""
LISTENING = "0A"
CPUS = 2


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class Standing:
    """Stands in for a worker: leaves word in a folder of what it does, and does what it is told there."""

    def __init__(self, folder: Path, name: str, act: str = "end", threads: int = 1) -> None:
        self.folder, self.name, self.act, self.threads = folder, name, act, threads
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1
        self.say(f"stops {self.stops}")

    def say(self, word: str) -> None:
        (self.folder / f"{self.name} {word} {time.monotonic_ns()}").touch()

    def __call__(self) -> Outcome:
        self.say(f"begins {os.getpid()}")
        if self.act == "raise":
            raise ValueError(f"{self.name} can't")
        if self.act == "die" and len(list(self.folder.glob(f"{self.name} begins *"))) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.act == "linger":
            time.sleep(0.3)
        if self.act == "meet":
            self.hold(lambda: len({file.name.split()[0] for file in self.folder.glob("* begins *")}) >= 2)
            time.sleep(0.3)
        if self.act == "stay":
            self.hold(lambda: False)
        if self.act == "stay on":
            self.hold(lambda: self.stops > 1)
        self.say("ends")
        state = {"full": "unwritable"}.get(self.act, "stopped" if self.stops else "done")
        return Outcome(State(state), Stage.TRAINING, "now", lines=(f"{self.stops} stops",))

    def hold(self, over: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not over() and (self.act == "stay on" or not self.stops) and time.monotonic() < end:
            time.sleep(0.02)


def raise_interrupted(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


class Swept(NamedTuple):
    states: dict[str, str]
    lines: dict[str, str]
    begun: dict[str, int]
    together: int


def sweep(
    folder: Path,
    *workers: Standing,
    jobs: int | None = None,
    pack: int | None = None,
    stopping: Callable[[], bool] = lambda: False,
    ended: Callable[[Any, Outcome], None] = lambda worker, outcome: None,
) -> Swept:
    """Sweep, and tell how each ended, how often each began, and how many were at work at once at most."""
    outcomes: dict[str, Outcome] = {}

    def note(worker: Any, outcome: Outcome) -> None:
        assert worker.name not in outcomes
        outcomes[worker.name] = outcome
        ended(worker, outcome)

    on_ray.sweep(workers, jobs, pack, note, stopping)  # type: ignore[arg-type]
    words = [file.name.split() for file in folder.iterdir() if file.name.split()[1] != "stops"]
    at_work = most = 0
    for word, _ in sorted(((word[1], int(word[-1])) for word in words), key=lambda said: said[1]):
        at_work += 1 if word == "begins" else -1
        most = max(most, at_work)
    begun = {worker.name: sum(word[:2] == [worker.name, "begins"] for word in words) for worker in workers}
    states = {name: outcome.state.value for name, outcome in outcomes.items()}
    return Swept(states, {name: "\n".join(outcome.lines) for name, outcome in outcomes.items()}, begun, most)


def marked(mark: str) -> set[int]:
    """Return the processes that are of a Ray, but for this one."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The state follows the name, which may have brackets itself.
            alive = (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            if alive and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
        except OSError:
            continue
    return found - {os.getpid()}


def listens(pids: set[int]) -> dict[str, str]:
    """Return the addresses at which processes listen, with the port, by the socket's inode."""
    inodes = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(str(file.readlink()).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    found = {}
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == LISTENING and fields[9] in inodes:
                number = bytes.fromhex(fields[1].partition(":")[0])
                words = [number[start : start + 4][::-1] for start in range(0, len(number), 4)]
                found[fields[9]] = socket.inet_ntop(family, b"".join(words))
    return found


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Ray of two CPUs for all tests, as a sweep starts one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (*on_ray.SILENT, *on_ray.LOOPBACK, "RAY_AUTH_TOKEN"):
            patch.setenv(name, "")
            patch.delenv(name)
        patch.delenv(on_ray.ADDRESS, raising=False)
        patch.setenv(MARK, "module")
        handler = signal.getsignal(signal.SIGTERM)
        with on_ray.connected(CPUS) as connected:
            assert signal.getsignal(signal.SIGTERM) is handler
            connected.cloudpickle.register_pickle_by_value(sys.modules[__name__])
            yield connected
        until(lambda: not marked("module"))


def test_all_run_and_as_many_at_once_as_there_are_cpus(ray: Any, tmp_path: Path) -> None:
    swept = sweep(tmp_path, *(Standing(tmp_path, name, "meet") for name in "abcd"))
    assert swept.states == dict.fromkeys("abcd", "done")
    assert swept.begun == dict.fromkeys("abcd", 1)
    assert swept.together == CPUS


def test_no_more_at_once_than_asked_for(ray: Any, tmp_path: Path) -> None:
    swept = sweep(tmp_path, *(Standing(tmp_path, name, "linger") for name in "abc"), jobs=1)
    assert swept.states == dict.fromkeys("abc", "done")
    assert swept.together == 1


def test_a_run_takes_as_many_cpus_as_it_has_threads(ray: Any, tmp_path: Path) -> None:
    swept = sweep(tmp_path, *(Standing(tmp_path, name, "linger", threads=2) for name in "abc"))
    assert swept.states == dict.fromkeys("abc", "done")
    assert swept.together == 1


def test_an_error_is_told_and_not_tried_again_and_the_others_go_on(ray: Any, tmp_path: Path) -> None:
    swept = sweep(tmp_path, Standing(tmp_path, "bad", "raise"), Standing(tmp_path, "good"))
    assert swept.states == {"bad": "failed", "good": "done"}
    assert swept.begun == {"bad": 1, "good": 1}
    assert "bad can't" in swept.lines["bad"]


def test_a_process_of_ray_that_is_killed_is_replaced(
    ray: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    swept = sweep(tmp_path, Standing(tmp_path, "killed", "die"), Standing(tmp_path, "other"))
    assert swept.states == {"killed": "done", "other": "done"}
    assert swept.begun == {"killed": 2, "other": 1}
    assert capfd.readouterr() == ("", "")


def test_what_is_at_work_stops_and_what_waits_never_begins(ray: Any, tmp_path: Path) -> None:
    workers = [Standing(tmp_path, name, "stay") for name in "abcd"]
    swept = sweep(tmp_path, *workers, stopping=lambda: len(list(tmp_path.glob("* begins *"))) == CPUS)
    assert sorted(swept.states.values()) == ["stopped"] * CPUS
    assert set(swept.lines.values()) == {"1 stops"}
    assert sum(swept.begun.values()) == CPUS


def test_what_is_at_work_ends_at_once_where_the_sweep_does(ray: Any, tmp_path: Path) -> None:
    def interrupt() -> None:
        until(lambda: list(tmp_path.glob("a stops 1 *")))
        os.kill(os.getpid(), signal.SIGINT)

    def stopping() -> bool:
        return bool(list(tmp_path.glob("a begins *")))

    with handling({signal.SIGINT: raise_interrupted}), ThreadPoolExecutor(1) as pool:
        pool.submit(interrupt)
        with pytest.raises(Interrupted):
            sweep(tmp_path, Standing(tmp_path, "a", "stay on"), Standing(tmp_path, "b"), jobs=1, stopping=stopping)
    assert len(list(tmp_path.glob("a stops 2 *"))) == 1 and len(list(tmp_path.glob("a ends *"))) == 1
    assert not list(tmp_path.glob("b *"))


def test_what_cannot_be_written_stops_the_others(ray: Any, tmp_path: Path) -> None:
    acts = {"a": "stay", "b": "full", "c": "end"}
    swept = sweep(tmp_path, *(Standing(tmp_path, name, act) for name, act in acts.items()), jobs=2)
    assert swept.states == {"a": "stopped", "b": "unwritable"}
    assert swept.begun == {"a": 1, "b": 1, "c": 0}


def test_a_process_of_ray_that_is_to_end_stops_its_run_first(ray: Any, tmp_path: Path) -> None:
    def stopping() -> bool:
        begun = list(tmp_path.glob("a begins *"))
        if len(begun) == 1 and not told:
            told.append(int(begun[0].name.split()[2]))
            os.kill(told[0], signal.SIGTERM)
        return len(begun) == 2

    told: list[int] = []
    swept = sweep(tmp_path, Standing(tmp_path, "a", "stay"), stopping=stopping)
    assert swept.states == {"a": "stopped"} and swept.begun == {"a": 2}
    assert len(list(tmp_path.glob("a ends *"))) == 2


def test_it_listens_on_this_machine_only(ray: Any) -> None:
    addresses = listens({*marked("module"), os.getpid()})
    assert len(addresses) >= 5  # raylet, GCS, this process, a process of each CPU
    assert set(addresses.values()) <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_real_runs_are_trained_and_stop_in_good_order(ray: Any, tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    runs = tuple(
        Run(name, "tiny", (f"Experiment.samples = {samples}",), 0) for name, samples in (("a", 12), ("b", 6_000_000))
    )
    study.write(Plan("study", "study.gin", runs, ()), {"tiny": tiny.recipe(2, 1)})
    outcomes: dict[str, Outcome] = {}

    def note(worker: Worker, outcome: Outcome) -> None:
        outcomes[worker.run] = outcome

    def stopping() -> bool:
        return len(outcomes) == 1 and bool(Checkpoints(RunDir(study.run("b")).checkpoints, "").steps())

    on_ray.sweep([Worker(tmp_path, name, 1, ("--device", "cpu")) for name in "ab"], None, None, note, stopping)
    assert {name: outcome.state for name, outcome in outcomes.items()} == {"a": State.DONE, "b": State.STOPPED}, (
        outcomes
    )
    assert study.outcome("a") == outcomes["a"]
    assert "stopped at step" in RunDir(study.run("b")).log_file.read_text()


def test_a_gpu_has_room_for_a_pack() -> None:
    assert on_ray.gpus_each({"CPU": 4.0}, 1) == 0
    with pytest.raises(UserError, match="--pack 2"):
        on_ray.gpus_each({"CPU": 4.0}, 2)
    assert on_ray.gpus_each({"CPU": 4.0, "GPU": 2.0}, None) == 0
    assert on_ray.gpus_each({"CPU": 4.0, "GPU": 2.0}, 1) == 1
    for pack in range(1, 100):
        units = round(on_ray.gpus_each({"GPU": 1.0}, pack) * 10_000)  # Ray's own, to which it rounds
        assert pack * units <= 10_000 < (pack + 1) * units


def test_a_run_that_no_machine_has_room_for_is_refused() -> None:
    on_ray.check_room([{"CPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}], 8, 0.5)
    with pytest.raises(UserError, match="has 9 CPUs for a run; it has 2 CPUs and 0 GPUs; 8 CPUs and 1 GPUs"):
        on_ray.check_room([{"CPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}], 9, 0)
    with pytest.raises(UserError, match=r"has 4 CPUs and 0\.5 of a GPU"):
        on_ray.check_room([{"CPU": 4.0}, {"CPU": 1.0, "GPU": 1.0}], 4, 0.5)
    with pytest.raises(UserError, match="no machine at all"):
        on_ray.check_room([], 1, 0)


def test_a_run_of_too_many_threads_is_refused_before_it_waits_for_ever(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 3 CPUs for a run; it has 2 CPUs"):
        sweep(tmp_path, Standing(tmp_path, "wide", threads=3))


def test_without_ray_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(on_ray.ADDRESS, "auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'acaikit\[ray\]'"):
        sweep(tmp_path, Standing(tmp_path, "a"))


def test_a_cluster_that_does_not_answer_is_named(ray: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv(on_ray.ADDRESS, address)
    with pytest.raises(UserError, match=f"no Ray cluster can be joined at RAY_ADDRESS={address}: .*refused"):
        sweep(tmp_path, Standing(tmp_path, "a"))


def test_what_a_killed_process_left_is_removed_by_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    names = {"gone": f"{gone.pid}-a", "elsewhere": f"{gone.pid}-b", "here": f"{os.getpid()}-a", "else": "of-x"}
    left = {name: tmp_path / f"{on_ray.PREFIX}{rest}" for name, rest in names.items()}
    for folder in left.values():
        (folder / "session").mkdir(parents=True)
    monkeypatch.setattr(on_ray, "FOLDERS", tmp_path)
    with RunLock(left["elsewhere"] / ".lock"), on_ray._folder() as made:
        assert {name for name, folder in left.items() if folder.exists()} == {"elsewhere", "here", "else"}
        assert Path(made).parent == tmp_path
    assert not Path(made).exists()
