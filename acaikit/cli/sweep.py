"""``acaikit sweep``."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from acaikit.cli import options
from acaikit.cli.completion import complete_binding, complete_study
from acaikit.cli.engines import Chosen, Engine, here, in_queue, on_ray, submit
from acaikit.cli.lasting import lasting_output
from acaikit.cli.terminal import print_json, say
from acaikit.errors import UserError
from acaikit.runs.stopping import Interrupted, Starting, Stopper

if TYPE_CHECKING:
    from acaikit.cli.swept import Swept

MOST = 10_000
"""Seeds that --seeds takes at most."""


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
            help="A binding that replaces the study's, such as \"Study.recipes=['lines_vae_64', 'lines_acai_64']\".",
            autocompletion=complete_binding,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="All its seeds: 0:5 (that is 0 to 4), 0,3,7 or 4.", show_default="the study's"),
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the study and its folder, list the runs, start none.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Train and measure every run of a study that isn't done yet, each from its last checkpoint.

    All runs are checked before the first begins; those in Slurm's queue are left to it, wherever the others go. Ctrl-C
    saves and stops them, and the same command goes on; so it does with runs that failed, once the cause is mended. The
    folder of a study that was swept before may stand for its file: its runs are then those that were planned.
    """
    with Starting():
        from acaikit.cli.swept import Swept
        from acaikit.studies import expand
        from acaikit.studies.layout import StudyDir
        from acaikit.studies.plan import draft
        from acaikit.studies.ready import alone, check, make_ready
        from acaikit.studies.todo import todo

        chosen = Chosen(engine, jobs, pack, slurm or [], threads, device, data_dir)
        options.apply(data_dir, quiet=quiet)
        chosen.check()
        if engine is Engine.slurm and not dry_run:
            from acaikit.studies.slurm import check_programs

            check_programs()
        drafted, folder = None, expand.study(study)
        if folder is None:
            drafted = draft(study, overrides or [], None if seeds is None else _seeds(seeds))
            folder = StudyDir(directory or Path("studies") / drafted.plan.study)
        elif overrides or seeds or directory:
            raise UserError(
                f"{study} is swept as it was planned: --set, --seeds and --dir go with a study's name or file"
            )
        console = Console(quiet=quiet or as_json)
        if dry_run:
            if drafted:
                check(folder, drafted)
            plan = drafted.plan if drafted else folder.read()
            swept = Swept(folder, plan, todo(folder, plan), {}, console)
            swept.list()
            if as_json:
                print_json(swept.as_json())
            return
        with alone(folder), lasting_output():
            if drafted:
                make_ready(folder, drafted, say)
            plan = folder.read()
            left = todo(folder, plan)
            queue = in_queue(folder, left, chosen, console)
            swept = Swept(folder, plan, [run for run in left if run.name not in (queue or {})], queue, console)
            if engine is Engine.slurm and left:
                submitted = submit(chosen, swept)
                if as_json:
                    print_json({**swept.as_json(), "submitted": submitted})
            else:
                _sweep(chosen, swept, as_json)


def _sweep(chosen: Chosen, swept: Swept, as_json: bool) -> None:
    """Run what is left, and tell how it went."""
    number = None
    if swept.left:
        engine = on_ray if chosen.engine is Engine.ray else here
        try:
            with Stopper() as stopper, _shown(swept):
                engine(chosen, swept, lambda: swept.heard(stopper()))
            number = stopper.signal
        except Interrupted as interrupted:
            number = interrupted.signal
    swept.conclude(chosen.again(swept.study), stopped=number is not None)
    if as_json:
        print_json(swept.as_json())
    if not swept.done:
        raise typer.Exit(1 if number is None else 128 + number)


def _shown(swept: Swept) -> AbstractContextManager[object]:
    """Show in a terminal how the study is going while the block runs."""
    from rich.console import Group
    from rich.live import Live

    from acaikit.studies.overview import Overview
    from acaikit.studies.status import look

    if swept.console.quiet or not swept.console.is_terminal:
        return nullcontext()

    def frame() -> Group:
        # The empty line is for the terminal's own ^C: at the end of a full line it would move the frame.
        return Group(Overview(look(swept.study, swept.queue), fits=True), "")

    return Live(get_renderable=frame, console=swept.console, refresh_per_second=0.5, transient=True)


def _seeds(text: str) -> list[int]:
    """Return the seeds that --seeds says."""
    seeds: list[int] = []
    for word in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,9})(?::([0-9]{1,9}))?\s*", word)
        first, end = (int(found[1]), int(found[2] or int(found[1]) + 1)) if found else (0, 0)
        if not 0 < end - first <= MOST - len(seeds):
            raise UserError(f"--seeds {text}: write 0:5 (that is 0 to 4), 0,3,7 or 4, and no more than {MOST:,} seeds")
        seeds += range(first, end)
    return seeds
