"""Arguments and options that several commands share, and what they do."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from acaikit.cli.completion import (
    complete_binding,
    complete_recipe,
    complete_recipe_or_run,
    complete_run,
    complete_run_or_study_dir,
)
from acaikit.errors import UserError


class DeviceName(StrEnum):
    """Where to train."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class OnNan(StrEnum):
    """What to do where training diverges."""

    stop = "stop"
    skip = "skip"
    rewind = "rewind"


class Precision(StrEnum):
    """How exactly to compute."""

    tf32 = "tf32"
    float32 = "float32"
    bf16 = "bf16"


class OnSaveError(StrEnum):
    """What to do where something can't be saved."""

    go_on = "continue"
    stop = "stop"


Recipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A .gin file, or the name of a recipe (acaikit list recipes).",
        autocompletion=complete_recipe,
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="BINDING",
        help="A binding that stands above the recipe's, such as ACAI.weight=1.0.",
        autocompletion=complete_binding,
    ),
]
RunDirectory = Annotated[
    Path, typer.Argument(metavar="RUN_DIR", help="A run directory.", autocompletion=complete_run, show_default=False)
]
RunDirectories = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN_DIR",
        help="Run directories; a study's folder stands for its runs.",
        autocompletion=complete_run_or_study_dir,
        show_default=False,
    ),
]
RecipeOrRun = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|RUN_DIR",
        help="A recipe or a run directory.",
        autocompletion=complete_recipe_or_run,
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None, typer.Option(help="The folder of datasets.", show_default="ACAIKIT_DATA, else the user's cache")
]
Device = Annotated[DeviceName, typer.Option(help="Where to compute; auto takes a GPU if there is one.")]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="CPU threads. Left out: OMP_NUM_THREADS; where that isn't set, a resumed run's own number, else one per "
        "usable core.",
        show_default=False,
    ),
]
MaxTime = Annotated[
    str | None, typer.Option(metavar="TIME", help="Stop in good order after this time, such as 45s, 30m or 2h.")
]
OnNanOption = Annotated[
    OnNan | None,
    typer.Option(
        "--on-nan",
        help="Where a loss or gradient is NaN or inf: stop the run, skip the update, or rewind to the last checkpoint "
        "and go on with other draws.",
        show_default="what the run did so far; stop in a new one",
    ),
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help="Products of the networks: tf32 (on a GPU; on a CPU float32), float32, or bf16, with weights in float32.",
        show_default="what the run did so far; tf32 in a new one",
    ),
]
OnSaveErrorOption = Annotated[
    OnSaveError,
    typer.Option("--on-save-error", help="Where a checkpoint or the metrics can't be written."),
]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="Where another process trains the run, wait until it ends, then go on from there."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Results = Annotated[
    Path | None,
    typer.Option(
        "--results", metavar="FOLDER", help="Look for evaluations here too: where acaikit eval --out put them."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def is_folder(what: str) -> bool:
    """Return whether a recipe or run directory is a folder, and so a run's; False too for what can't be a path."""
    try:
        return what != "" and Path(what).is_dir()
    except OSError:  # too long a name
        return False


def apply(data_dir: Path | None, threads: int | None = None, *, quiet: bool = False) -> None:
    """Make the data folder, the number of threads and the silence of datasets hold for this process.

    Called before the first tensor: from here on freed memory is kept, see `acaikit.allocator`.
    """
    if data_dir is not None:
        if not os.path.isdir(data_dir):  # noqa: PTH112 (Path.is_dir raises where a folder above can't be entered)
            raise UserError(f"--data-dir {data_dir} is no folder that can be read")
        os.environ["ACAIKIT_DATA"] = str(data_dir)
    from acaikit import progress
    from acaikit.allocator import keep_freed_memory
    from acaikit.threads import choose

    progress.console.quiet = quiet
    keep_freed_memory()
    choose(threads)


@dataclass(frozen=True)
class Given:
    """The options that a command printed for later must repeat, to find the same data and make the same bits."""

    data_dir: Path | None
    device: DeviceName
    threads: int | None

    def command(self, verb: str, path: Path, *more: str) -> str:
        """Return ``acaikit VERB PATH`` with the options, quoted for a shell."""
        repeated: dict[str, object] = {"--data-dir": self.data_dir, "--threads": self.threads}
        if self.device is not DeviceName.auto:
            repeated["--device"] = self.device.value
        words = [word for option, value in repeated.items() if value is not None for word in (option, str(value))]
        return shlex.join(["acaikit", verb, str(path), *more, *words])


def pick(device: DeviceName, run_dir: Path | None = None) -> str:
    """Return "cpu" or "cuda"; "auto" keeps to the device of the run in `run_dir`, where there is one."""
    import torch

    from acaikit.artifacts.rundir import RunDir
    from acaikit.runs.provenance import run_info

    if run_dir is not None and device is DeviceName.auto and RunDir(run_dir).exists():
        then = run_info(RunDir(run_dir))["fingerprint"].get("device")
        device = DeviceName(then) if then in set(DeviceName) else device
    available = torch.cuda.is_available()
    if device is DeviceName.cuda and not available:
        raise UserError("--device cuda: torch sees no GPU here; use --device cpu, or install a CUDA build of torch")
    return "cuda" if available and device is not DeviceName.cpu else "cpu"


class Trouble(TypedDict):
    """What `open_session` is told of how to meet trouble."""

    on_nan: str | None
    stop_unsaved: bool


def trouble(on_nan: OnNan | None, on_save_error: OnSaveError) -> Trouble:
    """Return what --on-nan and --on-save-error say."""
    return {"on_nan": on_nan and on_nan.value, "stop_unsaved": on_save_error is OnSaveError.stop}


def seconds(max_time: str | None) -> float | None:
    """Return the seconds that --max-time says."""
    from acaikit.runs.stopping import parse_duration

    return None if max_time is None else parse_duration(max_time)
