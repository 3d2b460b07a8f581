"""A throw-away Slurm on loopback: munged, slurmctld and slurmd, started by hand in a temporary folder."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
PROGRAMS = (*DAEMONS, "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
NODE = "throwaway"
PATIENCE = 60.0
"""Seconds for what takes one or two on an idle machine."""

# Everything listens on 127.0.0.1 (the two No...InAddrAny), and nothing is kept or looked up elsewhere. A requeued job
# waits until credentials expire, and cancelled processes have KillWait: both are short. The node says to have more
# processors than the machine may have (config_overrides).
SLURM_CONF = """
ClusterName=throwaway
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={munge},cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
KillWait=2
MessageTimeout=60
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={node_port} CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes={node} MaxTime=INFINITE State=UP PriorityTier=2
"""


class Cluster:
    """A Slurm of one node that runs.

    Attributes
    ----------
    folder : Path
        Where all of its files are.
    environment : dict of str to str
        What a process needs to reach it.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, dict(environment)

    def ask(self, *command: str) -> str:
        """Run a command of Slurm's, and return what it says."""
        ran = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert ran.returncode == 0, (command, ran.stdout, ran.stderr)
        return ran.stdout.strip()

    def job(self, job: str) -> dict[str, str]:
        """Return what Slurm knows of a job: ``JobState``, ``Restarts``, ``ExitCode``, ..."""
        words = self.ask("scontrol", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)


def missing() -> str | None:
    """Return why there can be no Slurm here, if so."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    return f"{', '.join(absent)} missing (Debian: slurmctld slurmd slurm-client munge)" if absent else None


@contextmanager
def slurm_cluster(cpus: int = 4) -> Iterator[Cluster]:
    """Run a Slurm of one node while the block runs; none of its processes outlives it.

    Parameters
    ----------
    cpus : int
        How many processors the node says to have.
    """
    # Not pytest's folder: the path of a socket has 107 letters at most.
    with tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as name, ExitStack() as ending:
        folder = Path(name)
        for inner in ("state", "spool"):
            (folder / inner).mkdir()
        key, conf = folder / "munge.key", folder / "slurm.conf"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        ports = _free_ports(2)
        conf.write_text(
            SLURM_CONF.format(
                host=socket.gethostname().partition(".")[0],
                node=NODE,
                folder=folder,
                user=getpass.getuser(),
                munge=folder / "munge.socket",
                controller_port=ports[0],
                node_port=ports[1],
                cpus=cpus,
            )
        )
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SUBMITIT_"))}
        environment |= {"PATH": _path(), "SLURM_CONF": str(conf)}
        cluster = Cluster(folder, environment)
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        munge = [f"--{option}={folder}/munge.{suffix}" for option, suffix in files.items()]
        started = ending.enter_context(_all_ended(conf))
        for command in (
            ["munged", "--foreground", "--force", *munge],
            ["slurmctld", "-D"],
            ["slurmd", "-D", "-N", NODE],
        ):
            with (folder / f"{command[0]}.out").open("wb") as said:
                started.append(
                    subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
                )
        _wait_until_ready(cluster)
        yield cluster


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _free_ports(number: int) -> list[int]:
    with ExitStack() as open_:
        sockets = [open_.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _all_ended(conf: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """End this Slurm when the block ends, and also where this process is killed: its end of a pipe closes then.

    What the block puts into the yielded list are its daemons.
    """
    started: list[subprocess.Popen[bytes]] = []
    with subprocess.Popen(
        [sys.executable, __file__, str(conf)], stdin=subprocess.PIPE, start_new_session=True
    ) as keeper:
        try:
            yield started
        finally:
            keeper.communicate()
            for daemon in started:
                daemon.wait()
            assert keeper.returncode == 0


def _wait_until_ready(cluster: Cluster) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        ran = subprocess.run(["sinfo", "-h", "-o", "%T"], env=cluster.environment, capture_output=True, text=True)
        if ran.stdout.strip() == "idle":
            return
        if time.monotonic() > until:
            logs = "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in sorted(cluster.folder.glob("*.log")))
            raise AssertionError(f"Slurm isn't up: {ran.stdout}{ran.stderr}\n{logs}")
        time.sleep(0.1)


def _end_all(conf: str) -> None:
    """Kill every process that was started with this configuration: daemons, steps, jobs and what these started."""
    mark, until = f"SLURM_CONF={conf}".encode(), time.monotonic() + PATIENCE
    while (found := list(_started_with(mark))) and time.monotonic() < until:
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)
    if found:
        sys.exit(f"processes {found} outlive the Slurm of {conf}")


def _started_with(mark: bytes) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended, or is another user's
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


if __name__ == "__main__":  # see _all_ended
    sys.stdin.buffer.read()
    _end_all(sys.argv[1])
    shutil.rmtree(Path(sys.argv[1]).parent, ignore_errors=True)
