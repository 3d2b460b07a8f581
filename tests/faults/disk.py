"""A disk that loses its power: what saves do is recorded, and every state that they may leave is recovered from.

A process that is killed leaves what a prefix of its operations made. A loss of power leaves less, and in any order:
what happened to a name is sure only once its folder was synchronised, and bytes only once their file was. Until then a
name may be there or not, and bytes may be there, missing, zeros, or anything.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from acaikit.artifacts import h5file, metrics, publish, quarantine
from acaikit.artifacts.checkpoints import MIN_KEEP, Checkpoints
from acaikit.artifacts.evaluations import read_evaluations, write_evaluation
from acaikit.artifacts.metrics import Metrics
from acaikit.artifacts.rundir import RunDir

from .layer import Call, layer
from .report import Report

SECTOR = 512
RUN_ID = "run"
INFO = {"run_id": RUN_ID, "resolved": "Experiment.seed = 0", "seed": 0}
DAMAGED = "step-000000010.h5"
STALE = ".step-000000006.h5.1.0123456789abcdef.tmp"
HALF = b"half a checkpoint"
WHAT = (
    "The saves of a run (its description, checkpoints and their pruning, metrics, evaluations, a resume, a move into "
    "quarantine) cut off between two operations, within a write, or by a loss of power that drops, tears, zeroes or "
    "scrambles what was not synchronised. All that was acknowledged loads, nothing wrong does, and the run goes on. "
    "Without the fsync of the file, the fsync of the folder, or the rename, this must fail; and without the fsync that "
    "follows a removal of metrics or a move into quarantine it must fail just before the next one."
)


@dataclass(frozen=True)
class Known:
    """What a run has promised to keep; numbers beside a step tell which of its lives made it."""

    run: bool = False
    checkpoint: tuple[int, int] = (0, 0)
    rows: tuple[tuple[int, int], ...] = ()
    evaluations: tuple[tuple[int, int], ...] = ()
    moved: bool = False


class Op(NamedTuple):
    """An operation: on names (create, mkdir, replace, unlink), on bytes (write, cut), a sync, or an acknowledgement."""

    kind: str
    path: str = ""
    target: str = ""
    inode: int = -1
    offset: int = 0
    data: bytes = b""
    known: Known | None = None

    @property
    def folders(self) -> set[str]:
        """The folders whose synchronisation makes it sure."""
        return {str(PurePosixPath(path).parent) for path in (self.path, self.target) if path}


class Recorder:
    """Notes what is done below a folder while it is entered."""

    def __init__(self, root: Path) -> None:
        self.root, self.ops, self.known = root, list[Op](), Known()
        self._inodes: dict[str, int] = {}
        self._descriptors: dict[int, int] = {}

    def acknowledge(self, **changes: Any) -> None:
        """Note what is promised from here on."""
        self.known = replace(self.known, **changes)
        self.ops.append(Op("acknowledge", known=self.known))

    def __call__(self, call: Call) -> Any:
        """Carry out a call and note it."""
        inode = self._descriptors.get(call.args[0], -1) if call.name in ("write", "fsync", "close") else -1
        offset = os.lseek(call.args[0], 0, os.SEEK_CUR) if call.name == "write" else 0
        new = call.name == "open" and not (self.root / call.path).exists()
        result = call.do()
        match call.name:
            case "open" if new:
                self._inodes[call.path] = len(self.ops)
                self.ops.append(Op("create", call.path, inode=len(self.ops)))
            case "open" if call.args[0] & os.O_TRUNC:
                self.ops.append(Op("cut", inode=self._inodes[call.path]))
            case "write":
                self.ops.append(Op("write", inode=inode, offset=offset, data=bytes(call.args[1][:result])))
            case "fsync":
                self.ops.append(Op("sync", inode=inode) if inode >= 0 else Op("sync folder", call.path))
            case "mkdir" | "unlink":
                self.ops.append(Op(call.name, call.path))
            case "replace" | "rename":
                self._inodes[call.args[0]] = self._inodes.pop(call.path)
                self.ops.append(Op("replace", call.path, call.args[0]))
        if call.name == "open":
            self._descriptors[result] = self._inodes.get(call.path, -1)
        return result


class State(NamedTuple):
    """What a disk holds: its folders, and its files with their content."""

    folders: frozenset[str]
    files: tuple[tuple[str, bytes], ...]

    def put(self, root: Path) -> None:
        """Make it so in an empty folder."""
        for folder in sorted(self.folders):
            (root / folder).mkdir()
        for path, data in self.files:
            (root / path).write_bytes(data)


def contents(ops: Sequence[Op]) -> dict[int, tuple[bytes, bytes]]:
    """Return each file's bytes as they are surely on the disk, and as a process sees them."""
    sure, seen = dict[int, bytes](), dict[int, bytes]()
    for op in ops:
        match op.kind:
            case "create":
                sure[op.inode] = seen[op.inode] = b""
            case "cut":
                seen[op.inode] = b""
            case "write":
                old = seen[op.inode]
                seen[op.inode] = old[: op.offset] + op.data + old[op.offset + len(op.data) :]
            case "sync":
                sure[op.inode] = seen[op.inode]
    return {inode: (sure[inode], seen[inode]) for inode in seen}


def state(
    ops: Sequence[Op], lost: Set[int] = frozenset(), content: Callable[[bytes, bytes], bytes] = lambda _, seen: seen
) -> State:
    """Return what is there after some operations, of which those on names in `lost` never reached the disk.

    `content` makes of the bytes that are surely there, and of those that a process sees, the bytes that are found.
    """
    folders, names = {"."}, dict[str, int]()
    for number, op in enumerate(ops):
        if number in lost or not op.folders <= folders:
            continue
        match op.kind:
            case "create":
                names[op.path] = op.inode
            case "mkdir":
                folders.add(op.path)
            case "unlink":
                names.pop(op.path, None)
            case "replace":
                # The temporary name may have been lost: a rename brings its file with it.
                inode = names.pop(op.path, None)
                names[op.target] = _inode(ops[:number], op.path) if inode is None else inode
    held = contents(ops)
    files = {path: content(*held[inode]) for path, inode in names.items()}
    return State(frozenset(folders - {"."}), tuple(sorted(files.items())))


def _inode(ops: Sequence[Op], path: str) -> int:
    return next(op.inode for op in reversed(ops) if op.kind == "create" and op.path == path)


def unsure(ops: Sequence[Op]) -> list[int]:
    """List the operations on names that no synchronised folder has made sure."""
    pending = set[int]()
    for number, op in enumerate(ops):
        if op.kind in ("create", "mkdir", "unlink", "replace"):
            pending.add(number)
        elif op.kind == "sync folder":
            pending -= {other for other in pending if op.path in ops[other].folders}
    return sorted(pending)


class Tear:
    """What becomes of bytes that were not synchronised, in one of several ways."""

    WAYS = ("lost", "whole", "cut short", "zeros", "garbage", "mixed sectors")

    def __init__(self, way: str, rng: random.Random) -> None:
        self.way, self.rng = way, rng

    def __call__(self, sure: bytes, seen: bytes) -> bytes:
        """Return what a file holds whose bytes `sure` were synchronised and `seen` were not."""
        if sure == seen:
            return sure
        match self.way:
            case "lost":
                return sure
            case "whole":
                return seen
            case "cut short":
                return seen[: self.rng.randrange(len(seen) + 1)]
            case "zeros":
                return bytes(len(seen))
            case "garbage":
                return self.rng.randbytes(len(seen))
        parts = []
        for start in range(0, len(seen), SECTOR):
            whole = seen[start : start + SECTOR]
            parts.append(self.rng.choice([whole, whole, sure[start : start + SECTOR], bytes(len(whole))]))
        return b"".join(parts)


class Crash(NamedTuple):
    """A state that a crash may leave, with what had been promised before and what was about to be."""

    what: str
    state: State
    before: Known
    after: Known


def crashes(ops: Sequence[Op], rng: random.Random, only: int | None = None) -> Iterator[Crash]:
    """Yield states without end, each once: all simple ones in random order, then any.

    `only` crashes after so many operations, and yields nothing but the simple ones.

    The simple ones: killed after each operation, and within each write at each sector; power lost after each operation,
    with all, none, one, or all but one of the unsure names, each with the unsynchronised bytes torn in each way.
    """

    def crash(what: str, at: int, found: State) -> Crash:
        promises = [op.known for op in ops[:at] if op.known] or [Known()]
        return Crash(what, found, promises[-1], next((op.known for op in ops[at:] if op.known), promises[-1]))

    def killed(at: int, written: int = 0) -> Crash:
        begun = [ops[at]._replace(data=ops[at].data[:written])] if written else []
        return crash("killed within a write" if begun else "killed", at, state([*ops[:at], *begun]))

    def lost_power(at: int, lost: set[int], way: str) -> Crash:
        return crash(f"power lost, {way}", at, state(ops[:at], lost, Tear(way, rng)))

    moments = range(len(ops) + 1) if only is None else [only]
    simple: list[tuple[Callable[..., Crash], tuple[Any, ...]]] = [(killed, (at,)) for at in moments]
    for at in moments:
        data = ops[at].data if at < len(ops) else b""
        simple += [(killed, (at, written)) for written in range(SECTOR, len(data), SECTOR)]
    for at in moments:
        names = unsure(ops[:at])
        losses = [set(), set(names), *({name} for name in names), *({*names} - {name} for name in names)]
        simple += [(lost_power, (at, lost, way)) for lost in losses for way in Tear.WAYS]
    rng.shuffle(simple)

    def every() -> Iterator[Crash]:
        for make, arguments in simple:
            yield make(*arguments)
        while only is None:
            at = rng.randrange(len(ops) + 1)
            lost = {name for name in unsure(ops[:at]) if rng.random() < 0.5}
            yield lost_power(at, lost, rng.choice(Tear.WAYS))
            if at < len(ops) and len(ops[at].data) > 1:
                yield killed(at, rng.randrange(1, len(ops[at].data)))

    seen = set[int]()
    for found in every():
        if (key := hash(found[1:])) not in seen:
            seen.add(key)
            yield found


def before_sync(ops: Sequence[Op], kind: str, folder: str) -> int:
    """Return after how many operations the first synchronisation of a folder comes that follows one in `folder`."""
    since = next(at for at, op in enumerate(ops) if op.kind == kind and folder in op.folders)
    return next(at for at in range(since, len(ops)) if ops[at].kind == "sync folder")


def tree(step: int, life: int) -> dict[str, Any]:
    """Return a checkpoint's content that no other one has."""
    return {"step": step, "life": life, "weights": np.arange(100) * step + life}


def live(recorder: Recorder) -> None:
    """Let a run live twice, noting what it promises: it dies with rows after its last checkpoint, and is resumed."""
    run = RunDir(recorder.root / "run")
    run.write_run(INFO)
    recorder.acknowledge(run=True)
    checkpoints, table = Checkpoints(run.checkpoints, RUN_ID), Metrics(run.metrics, RUN_ID)

    def row(step: int, life: int) -> None:
        table.append(step, {"loss": step / 7, "life": life})
        recorder.acknowledge(rows=(*recorder.known.rows, (step, life)))

    def save(step: int, life: int) -> None:
        checkpoints.save(step, tree(step, life))
        recorder.acknowledge(checkpoint=(step, life))

    def measure(step: int, life: int) -> None:
        write_evaluation(run.eval, "probe", step, RUN_ID, {"life": life}, {}, {"latents": np.full(50, life)})
        recorder.acknowledge(evaluations=tuple(sorted({**dict(recorder.known.evaluations), step: life}.items())))

    def leave(name: str) -> None:
        descriptor = os.open(run.checkpoints / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, HALF)
        os.fsync(descriptor)
        os.close(descriptor)

    for step in range(1, 6):
        row(step, 0)
        save(step, 0)
    measure(4, 0)
    row(6, 0)
    row(7, 0)
    leave(STALE)

    publish.remove_stale(run.checkpoints)
    table = Metrics(run.metrics, RUN_ID)
    table.truncate(5)
    recorder.acknowledge(rows=recorder.known.rows[:5])
    for step in range(6, 10):
        row(step, 1)
        save(step, 1)
        measure(4 + step % 2, step)

    leave(DAMAGED)
    publish.sync_folder(run.checkpoints)
    checkpoints.latest(report=lambda line: None, quarantine=run.quarantine)
    recorder.acknowledge(moved=True)
    row(10, 1)


def record() -> list[Op]:
    """Return the operations of `live`.

    Raises
    ------
    AssertionError
        Done again they don't give what is on the disk: something was written past the layer.
    """
    with tempfile.TemporaryDirectory() as folder, small_parts():
        recorder = Recorder(Path(folder))
        with unsynchronised(), layer(recorder.root, recorder):
            live(recorder)
        files = [path for path in recorder.root.rglob("*") if path.is_file()]
        found = {str(path.relative_to(recorder.root)): path.read_bytes() for path in files}
    assert dict(state(recorder.ops).files) == found
    return recorder.ops


def small_parts() -> contextlib.AbstractContextManager[Any]:
    """Seal the parts of a metrics table after 3 rows."""
    return mock.patch.object(metrics, "SEAL_ROWS", 3)


def unsynchronised() -> contextlib.AbstractContextManager[Any]:
    """Synchronise nothing, for speed: no power is lost in fact."""
    return mock.patch.object(os, "fsync")


def recover(root: Path, crash: Crash) -> list[str]:
    """Do what a resume does in a folder that a crash left; return what was lost, wrong, or in the way."""
    run, said = RunDir(root / "run"), list[str]()
    aside = run.quarantine / DAMAGED
    if crash.before.moved and (not aside.exists() or aside.read_bytes() != HALF):
        said.append(f"{DAMAGED} isn't where it was moved to")
    for folder in (run.path, run.checkpoints, run.metrics, run.eval):
        publish.remove_stale(folder)
    if run.exists():
        if run.read_run() != INFO:
            said.append("run.h5 is wrong")
    elif crash.before.run:
        said.append("run.h5 is lost")
    else:
        run.write_run(INFO)

    checkpoints = Checkpoints(run.checkpoints, RUN_ID)

    def report(line: str) -> None:
        if DAMAGED not in line:
            said.append(line)

    step, found = checkpoints.latest(report=report, quarantine=run.quarantine) or (0, None)
    allowed = [known.checkpoint for known in (crash.before, crash.after)]
    if step not in dict(allowed):
        said.append(f"the newest checkpoint is of step {step}, not {allowed}")
    elif found is not None and not same(found, tree(step, dict(allowed)[step])):
        said.append(f"the checkpoint of step {step} is wrong")

    if len(kept := checkpoints.steps()) < min(MIN_KEEP, crash.before.checkpoint[0]):
        said.append(f"only the checkpoints of steps {kept} are left")

    table = Metrics(run.metrics, RUN_ID)
    rows = rows_of(table)
    fewer, more = sorted((crash.before.rows, crash.after.rows), key=len)
    if len(rows) < len(fewer) or rows != more[: len(rows)]:
        said.append(f"the rows are {rows}, not {more} or {fewer}")
    table.truncate(step)
    if rows_of(table) != tuple(row for row in more if row[0] <= step):
        said.append(f"the rows up to step {step} are {rows_of(table)}")

    measured = {each.step: each for each in read_evaluations(run.eval, said.append)}
    old, new = dict(crash.before.evaluations), dict(crash.after.evaluations)
    if not old.keys() <= measured.keys() <= new.keys():
        said.append(f"evaluations of steps {list(measured)}, not {list(old)} or {list(new)}")
    for at, each in measured.items():
        life = each.scores["life"]
        if life not in (old.get(at), new.get(at)) or (each.arrays["latents"] != life).any():
            said.append(f"the evaluation of step {at} is wrong")

    table.append(step + 1, {"loss": 0.0, "life": 2})
    checkpoints.save(step + 1, tree(step + 1, 2))
    if not same(checkpoints.load(step + 1), tree(step + 1, 2)) or rows_of(table)[-1] != (step + 1, 2):
        said.append("it can't go on")
    said += [f"{path.name} is left" for path in run.path.rglob("*.tmp")]
    return said


def rows_of(table: Metrics) -> tuple[tuple[int, int], ...]:
    """Return the step and the life of each row."""
    found = table.read()
    return tuple(zip(found["step"].tolist(), map(int, found.get("life", ())), strict=True))


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Say whether two checkpoints' contents are equal."""
    return found.keys() == expected.keys() and all(np.array_equal(found[key], expected[key]) for key in found)


def faults_of(crash: Crash) -> list[str]:
    """Put a crash's state into a folder, recover from it, and return what is amiss."""
    root = Path(tempfile.mkdtemp())
    try:
        crash.state.put(root)
        with unsynchronised(), small_parts():
            return recover(root, crash)
    except Exception as error:
        return [f"recovery raises {error!r}"]
    finally:
        shutil.rmtree(root)


def _publish_in_place(path: Path, data: bytes | memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    publish.sync_folder(path.parent)


class _FoldersOnly:
    """The module `os`, but for an fsync that leaves files alone."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)


@contextlib.contextmanager
def without(what: str) -> Iterator[None]:
    """Take out a step: of publishing the "fsync", the "folder fsync" or the "rename", or another of `SPOTS`."""
    patched: tuple[Any, str, Any] = {
        "fsync": (publish, "os", _FoldersOnly()),
        "folder fsync": (publish, "sync_folder", lambda folder: None),
        "rename": (h5file, "publish", _publish_in_place),
        "fsync of a removal": (metrics, "sync_folder", lambda folder: None),
        "fsync of a move": (quarantine, "sync_folder", lambda folder: None),
    }[what]
    with mock.patch.object(*patched):
        yield


SPOTS = {"fsync of a removal": ("unlink", "run/metrics"), "fsync of a move": ("replace", "run/quarantine")}
"""What matters for a moment only, and the operation and the folder that it follows."""


def run(count: int, seed: int = 0) -> Report:
    """Recover from `count` distinct states, and from some for each step taken out of publishing."""
    start, report = time.perf_counter(), Report("disk", count, WHAT)
    kinds = Counter[str]()
    for crash in islice(crashes(record(), random.Random(seed)), count):
        kinds[crash.what] += 1
        report.faults += [f"{crash.what}: {fault}" for fault in faults_of(crash)]
    report.found = dict(sorted(kinds.items()))
    some = max(count // 10, 30)
    for step in ("fsync", "folder fsync", "rename", *SPOTS):
        with without(step):
            ops = record()
        at = before_sync(ops, *SPOTS[step]) if step in SPOTS else None
        states = list(islice(crashes(ops, random.Random(seed), at), some))
        found = sum(bool(faults_of(crash)) for crash in states)
        report.found[f"on purpose without the {step}: damage found (of {len(states)})"] = found
        if not found:
            report.faults.append(f"nothing is amiss without the {step}: these states can't tell")
    report.seconds = time.perf_counter() - start
    return report
