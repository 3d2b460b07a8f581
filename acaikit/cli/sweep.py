"""``acaikit sweep``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from acaikit.cli import options
from acaikit.cli.completion import complete_binding, complete_study
from acaikit.cli.lasting import lasting_output
from acaikit.cli.terminal import out, print_json, say
from acaikit.errors import UserError
from acaikit.runs.stopping import Interrupted, Starting, Stopper

if TYPE_CHECKING:
    from acaikit.studies.layout import Plan, Run, StudyDir
    from acaikit.studies.outcome import Outcome
    from acaikit.studies.worker import Worker

MOST = 10_000
"""Seeds that a study has at most."""


class Engine(StrEnum):
    """What runs a study."""

    local = "local"
    slurm = "slurm"
    ray = "ray"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("sweep", epilog="Example: acaikit sweep table1 --seeds 0:5")(sweep)


def sweep(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="A study's name, its .gin file, or the folder of one that was swept before.",
            autocompletion=complete_study,
            show_default=False,
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="BINDING",
            help="A binding that stands above the study's, such as \"Study.overrides=['ACAI.weight = 1.0']\".",
            autocompletion=complete_binding,
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="The seeds: 0:5 (that is 0 to 4), 0,3,7 or 4.", show_default="the study's")
    ] = None,
    engine: Annotated[Engine, typer.Option("--on", help="This machine, a Slurm cluster or Ray.")] = Engine.local,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs (slurm: jobs) at once, at most.",
            show_default="local: one per GPU, or else per core",
        ),
    ] = None,
    pack: Annotated[int, typer.Option(min=1, help="Runs that share a GPU (slurm: a job).")] = 1,
    slurm: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE,..", help="Options of sbatch, such as partition=gpu,time=8:00:00."),
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="The study's folder.", show_default="studies/<study>")
    ] = None,
    data_dir: options.DataDir = None,
    device: options.Device = options.DeviceName.auto,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="CPU threads of each run.",
            show_default="local: cores / jobs; slurm: cpus_per_task / pack; ray: 1",
        ),
    ] = None,
    quiet: options.Quiet = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and list the runs, start none.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train and measure every run of a study that isn't done yet, each from its last checkpoint.

    All runs are checked before the first begins. Ctrl-C saves and stops them, and the same command goes on; so it does
    with runs that failed, once the cause is mended. The folder of a study that was swept before may stand for its file:
    its runs are then those that were planned.
    """
    with Starting():
        from acaikit.studies import expand
        from acaikit.studies.layout import StudyDir
        from acaikit.studies.plan import draft
        from acaikit.studies.ready import alone, make_ready
        from acaikit.studies.todo import todo

        if slurm and engine is not Engine.slurm:
            raise UserError("--slurm is for --on slurm")
        if engine is Engine.slurm:
            from acaikit.studies.slurm import Resources, check_programs

            Resources.read(slurm or [], pack)
            if not dry_run:
                check_programs()
        options.apply(data_dir, quiet=quiet)
        if engine is Engine.local:
            options.pick(device)
        chosen = Chosen(engine, jobs, pack, slurm or [], threads, device, data_dir)
        drafted, folder = None, expand.study(study)
        if folder is None:
            drafted = draft(study, overrides or [], None if seeds is None else _seeds(seeds))
            folder = StudyDir(directory or Path("studies") / drafted.plan.study)
        elif overrides or seeds or directory:
            raise UserError(
                f"{study} is swept as it was planned: --set, --seeds and --dir go with a study's name or file"
            )
        if dry_run:
            plan = drafted.plan if drafted else folder.read()
            _list(folder, plan, todo(folder, plan), as_json)
            return
        with alone(folder), lasting_output():
            if drafted:
                make_ready(folder, drafted, say)
            plan = folder.read()
            left = todo(folder, plan)
            console = Console(quiet=quiet or as_json)
            if engine is Engine.slurm and left:
                _submit(folder, left, chosen, console, as_json)
            else:
                _sweep(folder, plan, left, chosen, console, as_json)


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

    def workers(self, study: StudyDir, runs: Sequence[Run], threads: int) -> list[Worker]:
        """Return a worker for each run."""
        from acaikit.studies.worker import Worker

        given = [] if self.device is options.DeviceName.auto else ["--device", self.device.value]
        if self.data_dir is not None:
            given += ["--data-dir", str(self.data_dir.resolve())]
        return [Worker(study.path, run.name, self.threads or threads, given) for run in runs]

    def again(self, study: StudyDir) -> str:
        """Return the command that goes on with a study."""
        words = [] if self.engine is Engine.local else ["--on", self.engine.value]
        words += [] if self.jobs is None else ["--jobs", str(self.jobs)]
        words += [] if self.pack == 1 else ["--pack", str(self.pack)]
        words += [word for text in self.slurm for word in ("--slurm", text)]
        return options.Given(self.data_dir, self.device, self.threads).command("sweep", study.path, *words)


def _sweep(study: StudyDir, plan: Plan, left: Sequence[Run], chosen: Chosen, console: Console, as_json: bool) -> None:
    """Run what is left, and tell how it went."""
    from acaikit.cli.swept import Swept

    swept, number = Swept(study, plan, left, console), None
    if left:
        engine = _on_ray if chosen.engine is Engine.ray else _here
        try:
            with Stopper() as stopper, _shown(study, console):
                engine(study, plan, left, chosen, console, swept, lambda: swept.heard(stopper()))
            number = stopper.signal
        except Interrupted as interrupted:
            number = interrupted.signal
    swept.conclude(chosen.again(study), stopped=number is not None)
    if as_json:
        print_json(swept.as_json())
    if not swept.done:
        raise typer.Exit(1 if number is None else 128 + number)


def _here(
    study: StudyDir,
    plan: Plan,
    left: Sequence[Run],
    chosen: Chosen,
    console: Console,
    ended: Callable[[Worker, Outcome], None],
    stopping: Callable[[], bool],
) -> None:
    from acaikit.studies import local

    gpus = local.gpus_here() if options.pick(chosen.device) == "cuda" else []
    slots = local.slots_here(chosen.jobs, chosen.pack, gpus)
    # Those of the whole plan, whichever runs are left: with other threads a run wouldn't go on to the same bits.
    threads = local.threads_each(min(len(slots), len(plan.runs)))
    workers, slots = chosen.workers(study, left, threads), slots[: len(left)]
    _begin(study, left, f"{len(slots)} at once on this machine", workers, console)
    local.sweep(workers, slots, ended, stopping)


def _on_ray(
    study: StudyDir,
    plan: Plan,
    left: Sequence[Run],
    chosen: Chosen,
    console: Console,
    ended: Callable[[Worker, Outcome], None],
    stopping: Callable[[], bool],
) -> None:
    from acaikit.studies import on_ray

    workers = chosen.workers(study, left, 1)
    _begin(study, left, "on Ray", workers, console)
    pack = None if chosen.device is options.DeviceName.cpu else chosen.pack
    on_ray.sweep(workers, chosen.jobs, pack, ended, stopping)


def _shown(study: StudyDir, console: Console) -> AbstractContextManager[object]:
    """Show in a terminal how the study is going while the block runs."""
    from rich.live import Live

    from acaikit.studies.overview import Overview
    from acaikit.studies.status import look

    if console.quiet or not console.is_terminal:
        return nullcontext()
    return Live(
        get_renderable=lambda: Overview(look(study), fits=True), console=console, refresh_per_second=0.5, transient=True
    )


def _begin(study: StudyDir, left: Sequence[Run], where: str, workers: Sequence[Worker], console: Console) -> None:
    threads = f"{workers[0].threads} thread{'s' * (workers[0].threads > 1)}"
    say(f"{counted(left)} of {study.path} to go, {where}, with {threads} each", console)


def _submit(study: StudyDir, left: Sequence[Run], chosen: Chosen, console: Console, as_json: bool) -> None:
    """Hand to Slurm what it doesn't have yet."""
    from acaikit.studies.queue import queued
    from acaikit.studies.slurm import Resources, submit

    resources = Resources.read(chosen.slurm, chosen.pack)
    there = queued(study)
    rest = [run for run in left if run.name not in there]
    submitted = submit(study, chosen.workers(study, rest, resources.threads), resources, chosen.jobs)
    if there:
        say(f"{counted(left[: len(left) - len(rest)])} in Slurm's queue already", console)
    if submitted:
        say(f"{counted(rest)} handed to Slurm, as {' to '.join(dict.fromkeys([submitted[0], submitted[-1]]))}", console)
    say(f"how far they are: acaikit status {study.path}", console)
    if as_json:
        runs = [{"run": str(study.run(run.name)), "state": "queued"} for run in left]
        print_json({"dir": str(study.path), "submitted": submitted, "runs": runs})


def _list(study: StudyDir, plan: Plan, left: Sequence[Run], as_json: bool) -> None:
    names = {run.name for run in left}
    if as_json:
        runs = [{**asdict(run), "run": str(study.run(run.name)), "done": run.name not in names} for run in plan.runs]
        print_json({"study": plan.study, "dir": str(study.path), "runs": runs})
        return
    for run in plan.runs:
        say(f"{run.name}{'' if run.name in names else ' (done)'}", out)
    say(f"{counted(plan.runs)} in {study.path}, {len(left)} to go; nothing was started", out)


def counted(runs: Sequence[Run]) -> str:
    """Return how many runs these are, in words."""
    return f"{len(runs)} run{'s' * (len(runs) != 1)}"


def _seeds(text: str) -> list[int]:
    """Return the seeds that --seeds says."""
    seeds: list[int] = []
    for word in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,9})(?::([0-9]{1,9}))?\s*", word)
        first, end = (int(found[1]), int(found[2] or int(found[1]) + 1)) if found else (0, 0)
        if not 0 < end - first <= MOST:
            raise UserError(f"--seeds {text}: write 0:5 (that is 0 to 4), 0,3,7 or 4, and no more than {MOST:,} seeds")
        seeds += range(first, end)
    return seeds
