"""The Ray engine: each run is a task of a Ray cluster, or of a Ray of its own on this machine."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from acaikit.artifacts.lock import RunLock, is_running
from acaikit.errors import RunError, UserError
from acaikit.runs.stopping import handling
from acaikit.studies.drive import LOOK, drive, outcome_of
from acaikit.studies.outcome import Outcome
from acaikit.studies.worker import Worker
from acaikit.threads import cores

ADDRESS = "RAY_ADDRESS"
"""Environment variable that says where there is a cluster to join, as Ray's own programs read it."""
OWN = "local"
"""The address that stands for a Ray of its own."""
RETRIES = 3
"""How often a turn is begun again because the machine or Ray's process that it was in is no more."""
PATIENCE = 30
"""Seconds that runs have to end when the sweep itself ends at once."""
FOLDERS = Path("/tmp")
"""Where Ray's folder is made. Its sockets' paths may have 107 bytes, of which Ray takes 60."""
PREFIX = "acaikit_ray-"
"""What its name begins with; the process follows."""
ANSWERED = 10
"""Seconds in which a cluster has to answer."""
PARTS = 10_000
"""Ray counts GPUs in ten thousandths."""
STORE = 80 * 2**20
"""Bytes of Ray's object store, which hold an outcome at a time; Ray takes no fewer than 75 MiB."""
SILENT = {"RAY_DEDUP_LOGS_SKIP_REGEX": "^"}
"""Environment that keeps what Ray's daemons have to say out of the terminal."""
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""Environment in which Ray listens on 127.0.0.1 only, as it does on a Mac by itself, and reports to nobody."""


def sweep(
    workers: Iterable[Worker],
    jobs: int | None,
    pack: int | None,
    ended: Callable[[Worker, Outcome], None],
    stopping: Callable[[], bool],
) -> None:
    """Call every worker in a task of Ray's, and return when all that began are over.

    A task takes as many CPUs as its worker has threads, and waits in Ray until some machine has them. Where that
    machine, or Ray's process on it, is lost, Ray begins the task anew. See `acaikit.studies.drive.drive`, also for the
    parameters that aren't named here.

    The cluster is the one this process is connected to, or else the one at ``RAY_ADDRESS``, whose machines need the
    same Python environment and the study's folder under the same path; without either, a Ray of its own is started on
    this machine, which listens on 127.0.0.1 only and ends with the sweep.

    Parameters
    ----------
    jobs : int, optional
        How many run at once at most; left out, as many as there are CPUs, or GPUs, for.
    pack : int, optional
        How many share a GPU, where the cluster has any; left out, none is asked for.

    Raises
    ------
    UserError
        If Ray is not installed, can't be reached or started, or no machine has room for a run.
    """
    waiting = list(workers)
    threads = max((worker.threads for worker in waiting), default=1)
    with connected(jobs * threads if jobs else cores()) as ray:
        gpus = gpus_each(ray.cluster_resources(), pack)
        check_room([node["Resources"] for node in ray.nodes() if node["Alive"]], threads, gpus)
        task = ray.remote(max_retries=RETRIES, retry_exceptions=False, num_gpus=gpus)(turn)
        tasks: dict[Worker, tuple[Any, Future[Outcome]]] = {}

        def start(worker: Worker) -> Future[Outcome]:
            reference = task.options(num_cpus=worker.threads).remote(worker)
            # Not ray.wait, out of which each exception of a signal's handler comes as a plain KeyboardInterrupt.
            future: Future[Outcome] = reference.future()
            tasks[worker] = reference, future
            return future

        def stop(working: Sequence[Worker], at_once: bool) -> None:
            for worker in reversed(working):  # those first that wait: none of them begins where another makes room
                ray.cancel(tasks[worker][0])
            if at_once:
                wait([tasks[worker][1] for worker in working], PATIENCE)

        drive(waiting, jobs, start, stop, ended, stopping, ray.exceptions.TaskCancelledError)


def turn(worker: Worker) -> Outcome:
    """Call a worker, in one of Ray's processes, and stop it when Ray cancels the task.

    Ray does that by an interrupt of the main thread, which has to come by for it: the worker has a thread of its own.
    """
    with ThreadPoolExecutor(1) as executor, handling({signal.SIGINT: lambda number, frame: worker.stop()}):
        future = executor.submit(worker)
        try:
            while not future.done():
                wait([future], LOOK)
        except BaseException:  # Ray's process is told to end, as when its machine is to go
            worker.stop()
            raise
        return outcome_of(future)


def gpus_each(resources: Mapping[str, float], pack: int | None) -> float:
    """Return what a run takes of a GPU, in Ray's units, so that `pack` of them fit; none where there is no GPU.

    Parameters
    ----------
    resources : mapping of str to float
        What the cluster has, as ``ray.cluster_resources()`` says.
    pack : int, optional
        How many share a GPU; None for none.

    Raises
    ------
    UserError
        Several are to share one, and there is none.
    """
    if pack is None or not resources.get("GPU"):
        if (pack or 1) > 1:
            raise UserError(f"--pack {pack} is for runs that share a GPU, and the Ray cluster has none")
        return 0.0
    return max(1, PARTS // pack) / PARTS


def check_room(machines: Iterable[Mapping[str, float]], threads: int, gpus: float) -> None:
    """Raise `UserError` where no machine could ever run a task, which Ray would wait with in silence."""
    found = [(machine.get("CPU", 0), machine.get("GPU", 0)) for machine in machines]
    if not any(cpus >= threads and there >= gpus for cpus, there in found):
        has = "; ".join(f"{cpus:g} CPUs and {there:g} GPUs" for cpus, there in found) or "no machine at all"
        needed = f"{threads} CPU{'s' * (threads > 1)}" + (f" and {gpus:g} of a GPU" if gpus else "")
        raise UserError(
            f"no machine of the Ray cluster has {needed} for a run; it has {has}: choose fewer threads for each run"
        )


@contextmanager
def connected(cpus: int) -> Iterator[Any]:
    """Connect to Ray while the block runs, and start one of so many CPUs where there is none to join."""
    address = os.environ.get(ADDRESS) or OWN
    os.environ.update(SILENT)
    if address == OWN:
        os.environ.update(LOOPBACK)
        # Otherwise Ray would leave one in the user's home.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray  # reads the environment
    except ImportError as error:
        raise UserError("Ray is not installed: pip install 'acaikit[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    with ExitStack() as stack:
        given: dict[str, Any] = {}
        if address == OWN:
            given = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE}
            given["_temp_dir"] = stack.enter_context(_folder())
        try:
            _check_reached(address)
            with _signals_kept():
                ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **given)
        except (OSError, RuntimeError, ValueError) as error:
            what = "Ray can't be started" if address == OWN else f"no Ray cluster can be joined at {ADDRESS}={address}"
            raise UserError(f"{what}: {error}") from error
        stack.callback(ray.shutdown)
        yield ray


@contextmanager
def _folder() -> Iterator[str]:
    """Make a folder for Ray, which is removed after the block, and remove those of processes that were killed in it."""
    for left in FOLDERS.glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError, IndexError, RunError):
            if left.lstat().st_uid == os.getuid() and not is_running(int(left.name.split("-")[1])):
                with RunLock(left / ".lock"):  # in another container, whose processes aren't seen here, it is held
                    shutil.rmtree(left, ignore_errors=True)
    made = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=FOLDERS, ignore_cleanup_errors=True)
    with made as folder, RunLock(Path(folder) / ".lock"):
        yield folder


def _check_reached(address: str) -> None:
    """Raise `OSError` where nothing answers at host:port, which Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), ANSWERED).close()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which Ray replaces, and SIGHUP from the daemons that are started.

    A terminal that is closed sends it to them too, and without them the runs can't be told to stop.
    """
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if main:
            signal.signal(signal.SIGTERM, handler)
