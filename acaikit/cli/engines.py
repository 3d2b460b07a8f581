"""The engines of ``acaikit sweep``, as its options choose them: what runs a study's runs, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from rich.console import Console

from acaikit.cli import options
from acaikit.cli.terminal import say
from acaikit.errors import UserError
from acaikit.words import counted

if TYPE_CHECKING:
    from pathlib import Path

    from acaikit.cli.swept import Swept
    from acaikit.studies.layout import Run, StudyDir
    from acaikit.studies.queue import QueueEntry
    from acaikit.studies.slurm import Resources
    from acaikit.studies.worker import Worker


class Engine(StrEnum):
    """What runs a study."""

    local = "local"
    slurm = "slurm"
    ray = "ray"


@dataclass(frozen=True)
class Chosen:
    """What the options say of how runs are run."""

    engine: Engine
    jobs: int | None
    pack: int
    slurm: list[str]
    threads: int | None
    device: options.DeviceName
    data_dir: Path | None

    def check(self) -> None:
        """Raise `UserError` where options don't go together, or with this machine."""
        if self.slurm and self.engine is not Engine.slurm:
            raise UserError("--slurm is for --on slurm")
        if self.engine is Engine.slurm:
            self.resources()
        if self.engine is Engine.local:
            self.slots()
        if self.engine is Engine.ray and self.pack > 1 and self.device is options.DeviceName.cpu:
            raise UserError(f"--pack {self.pack} is for runs that share a GPU, and --device cpu takes none")

    def resources(self) -> Resources:
        """Return what each job of Slurm's asks for."""
        from acaikit.studies.slurm import Resources

        return Resources.read(self.slurm, self.pack, self.threads or 1)

    def slots(self) -> list[dict[str, str]]:
        """Return the slots of this machine."""
        from acaikit.studies import local

        gpus = local.gpus_here() if options.pick(self.device) == "cuda" else []
        if self.pack > 1 and not gpus:
            raise UserError(
                f"--pack {self.pack} is for runs that share a GPU, and there is none to use here: --jobs says how many "
                "run at once"
            )
        return local.slots_here(self.jobs, self.pack, gpus)

    def workers(self, study: StudyDir, runs: Sequence[Run], threads: int) -> list[Worker]:
        """Return a worker for each run; a run that has begun keeps its threads, unless --threads was given."""
        from acaikit.studies.worker import Worker

        given = [] if self.threads is None else ["--threads", str(self.threads)]
        given += [] if self.device is options.DeviceName.auto else ["--device", self.device.value]
        given += [] if self.data_dir is None else ["--data-dir", str(self.data_dir.resolve())]
        return [Worker(study.path, run.name, self.threads or threads, given) for run in runs]

    def again(self, study: StudyDir) -> str:
        """Return the command that goes on with a study."""
        words = [] if self.engine is Engine.local else ["--on", self.engine.value]
        words += [] if self.jobs is None else ["--jobs", str(self.jobs)]
        words += [] if self.pack == 1 else ["--pack", str(self.pack)]
        words += [word for text in self.slurm for word in ("--slurm", text)]
        return options.Given(self.data_dir, self.device, self.threads).command("sweep", study.path, *words)


def here(chosen: Chosen, swept: Swept, stopping: Callable[[], bool]) -> None:
    """Run what is left on this machine."""
    from acaikit.studies import local

    slots = chosen.slots()
    # Those of the whole plan, whichever runs are left, so that all have the same.
    threads = local.threads_each(min(len(slots), len(swept.plan.runs)))
    workers, slots = chosen.workers(swept.study, swept.left, threads), slots[: len(swept.left)]
    _begin(swept, f"{len(slots)} at once on this machine", workers)
    local.sweep(workers, slots, swept, stopping)


def on_ray(chosen: Chosen, swept: Swept, stopping: Callable[[], bool]) -> None:
    """Run what is left on Ray."""
    from acaikit.studies import on_ray

    workers = chosen.workers(swept.study, swept.left, 1)
    _begin(swept, "on Ray", workers)
    pack = None if chosen.device is options.DeviceName.cpu else chosen.pack
    on_ray.sweep(workers, chosen.jobs, pack, swept, stopping)


def submit(chosen: Chosen, swept: Swept) -> list[str]:
    """Hand what is left to Slurm, and return its jobs."""
    from acaikit.studies import slurm

    resources = chosen.resources()
    workers = chosen.workers(swept.study, swept.left, resources.threads)
    jobs = slurm.submit(swept.study, workers, resources, chosen.jobs)
    if jobs:
        ids = " to ".join(dict.fromkeys([jobs[0], jobs[-1]]))
        say(f"{counted(len(swept.left), 'run')} handed to Slurm, as {ids}", swept.console)
    say(f"how far they are: acaikit status {swept.study.path}", swept.console)
    return jobs


def in_queue(study: StudyDir, left: Sequence[Run], chosen: Chosen, console: Console) -> dict[str, QueueEntry] | None:
    """Return what Slurm's queue says of some runs, which every engine leaves to it; None where it can't be asked."""
    from acaikit.studies.queue import queued

    try:
        entries = queued(study) if left else {}
    except UserError as error:
        if chosen.engine is Engine.slurm:
            raise
        say(f"note: {error}", console)
        return None
    there = {run.name: entries[run.name] for run in left if run.name in entries}
    if there:
        say(f"{counted(len(there), 'run')} in Slurm's queue already, and left to it", console)
    return there


def _begin(swept: Swept, where: str, workers: Sequence[Worker]) -> None:
    threads = counted(workers[0].threads, "thread")
    say(f"{counted(len(swept.left), 'run')} of {swept.study.path} to go, {where}, with {threads} each", swept.console)
