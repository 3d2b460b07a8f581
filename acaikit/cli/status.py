"""``acaikit status``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acaikit.cli import options
from acaikit.cli.completion import complete_study_dir
from acaikit.cli.terminal import out, print_json, say
from acaikit.errors import UserError

if TYPE_CHECKING:
    from acaikit.studies.layout import StudyDir
    from acaikit.studies.status import Status

LOOK = 1.0
"""Seconds between two looks at a study."""
ASK = 15.0
"""Seconds between two questions to a cluster, which serves others too."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("status", epilog="Example: acaikit status studies/table1")(status)


def status(
    study_dir: Annotated[
        Path,
        typer.Argument(
            metavar="STUDY_DIR",
            help="A study's folder (acaikit sweep).",
            autocompletion=complete_study_dir,
            show_default=False,
        ),
    ],
    once: Annotated[bool, typer.Option("--once", help="Show it once, also in a terminal.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show what of a study is done, runs, failed or waits, and how long it still takes.

    In a terminal it is kept up to date until nothing runs and nothing is in a queue; Ctrl-C leaves it, and the study
    goes on. What runs saves its progress now and then: how far it is by now is an estimate.
    """
    from acaikit.studies.overview import Overview

    watch = _Watch(_study(study_dir))
    found = watch.look()
    if as_json:
        print_json(_summary(found, watch.fault))
        return
    if out.is_terminal and not once and found.busy:
        found = _follow(watch, found)
    out.print(Overview(found))
    if watch.fault:
        say(f"note: {watch.fault}")


def _study(path: Path) -> StudyDir:
    """Return a study's folder; where there is none, one close to what was given is proposed."""
    from acaikit.studies.layout import StudyDir

    if not _is_study(path):
        made = Path("studies") / path.name.removesuffix(".gin")
        near = next((f": did you mean {other}?" for other in (made, *path.parents[:2]) if _is_study(other)), "")
        if path.is_file():
            raise UserError(f"{path} is a file, not the folder that acaikit sweep makes of a study{near}")
        if near:
            raise UserError(f"{path} holds no study{near}")
    return StudyDir(path)


def _is_study(path: Path) -> bool:
    from acaikit.studies.layout import StudyDir

    return StudyDir(path).exists()


class _Watch:
    """Looks at a study, and asks the cluster's queue now and then."""

    def __init__(self, study: StudyDir) -> None:
        self.study = study
        self.fault = ""
        self._queue: dict[str, Any] | None = None
        self._asked = -ASK

    def look(self) -> Status:
        from acaikit.studies.queue import queued
        from acaikit.studies.status import look

        if time.monotonic() - self._asked >= ASK:
            try:
                self._queue, self.fault = queued(self.study), ""
            except UserError as error:
                self._queue, self.fault = None, "; ".join(str(error).splitlines())
            self._asked = time.monotonic()
        return look(self.study, self._queue)


def _follow(watch: _Watch, found: Status) -> Status:
    """Show the study until nothing is at work on it, or Ctrl-C."""
    from rich.live import Live

    from acaikit.studies.overview import Overview

    try:
        with Live(Overview(found, fits=True), console=out, screen=True, auto_refresh=False) as live:
            while found.busy:
                live.update(Overview(found, fits=True), refresh=True)
                time.sleep(LOOK)
                found = watch.look()
    except KeyboardInterrupt:
        pass
    return found


def _summary(found: Status, fault: str) -> dict[str, Any]:
    from acaikit.studies.layout import StudyDir
    from acaikit.studies.status import Phase

    return {
        "study": found.study,
        "path": str(found.path),
        "counts": {phase: len(found.those(phase)) for phase in Phase},
        "left_s": found.left,
        "busy": found.busy,
        "note": fault or None,
        "others": found.others,
        "runs": [
            {
                "run": one.run.name,
                "directory": str(StudyDir(found.path).run(one.run.name)),
                "recipe": one.run.recipe,
                "overrides": one.run.overrides,
                "seed": one.run.seed,
                "state": one.phase,
                "stage": one.stage,
                "samples": one.samples,
                "budget": one.budget or None,
                "left_s": one.left,
                "lasted_s": one.lasted,
                "where": one.where,
                "retries": one.retries,
                "said": one.said,
                "log": str(StudyDir(found.path).log(one.run.name)),
            }
            for one in found.runs
        ],
    }
