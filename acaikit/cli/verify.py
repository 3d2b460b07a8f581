"""``acaikit verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from acaikit.cli import options
from acaikit.cli.terminal import fail, out, print_json, say

if TYPE_CHECKING:
    from acaikit.runs.replay import Replay
    from acaikit.runs.verify import Verdict

SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("verify", epilog="Example: acaikit verify runs/quickstart-s0")(verify)


def verify(
    run_dir: options.RunDirectory,
    data_dir: options.DataDir = None,
    device: options.Device = options.DeviceName.auto,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", show_default="as many as it was trained with")
    ] = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Check a run's files, and that its last stretch comes to the same bits when it is trained again.

    The stretch lies between the two newest checkpoints; with only one, it is all from the start. It is trained in
    memory, where it was trained and with as many threads unless told otherwise, and weights, optimizers,
    generators and metrics are compared bit for bit. Nothing is written, and the run may be training meanwhile. Exit
    code 1 if a file is broken or a bit differs, 2 if there is nothing to verify.
    """
    from acaikit.runs.verify import verify as verified
    from acaikit.studies.expand import check_run

    check_run(str(run_dir))
    options.apply(data_dir, quiet=quiet or as_json)
    chosen = None if device is options.DeviceName.auto else options.pick(device)
    shown = not (quiet or as_json)
    verdict = verified(run_dir, device=chosen, threads=threads, say=_tell if shown else lambda line: None)
    if as_json:
        print_json(_plain(verdict))
    else:
        _show(verdict, shown)
    if not verdict.sound:
        raise typer.Exit(1)


def _tell(line: str) -> None:
    say(line, out)


def _show(verdict: Verdict, shown: bool) -> None:
    """Print what is wrong, and, where that is wanted, what is well."""
    files = verdict.files
    for file in files.faults:
        fail(str(file.fault))
    if shown:
        whole = len(files.checked) - len(files.faults)
        _tell(f"files: {whole:,} of {len(files.checked):,} are whole and are what their names say")
        _list("in quarantine, as damaged", files.quarantined)
        _list("temporary, a live writer's or left by a killed process", files.temporary)
        _list("not acaikit's", files.unknown)
    replay = verdict.replay
    if replay is None:
        lacking = "a checkpoint that is whole" if files.checked[0].fault is None else "a run.h5 that is whole"
        fail(f"{verdict.path}: nothing was trained again, for lack of {lacking}")
    elif replay.differences:
        places = f"{len(replay.differences):,} place{'s' * (len(replay.differences) != 1)}"
        fail(f"{verdict.path}: {_stretch(replay)} came to other bits in {places}")
        for difference in replay.differences[:SHOWN]:
            say(f"  {difference}")
        if len(replay.differences) > SHOWN:
            say(f"  and {len(replay.differences) - SHOWN:,} more; --json lists them all")
        explained = "; ".join(verdict.changes) or "none of the conditions known to matter has changed"
        say(f"what may explain it: {explained}")
    elif shown:
        _tell(
            f"bit for bit the same: {_stretch(replay)}; compared were {replay.tensors:,} tensors "
            f"({replay.bytes:,} bytes) and {replay.rows:,} row{'s' * (replay.rows != 1)} of metrics"
        )


def _stretch(replay: Replay) -> str:
    from acaikit.report.progress import clock

    steps = replay.end - replay.begin
    rewound = ", from which the run was rewound" if replay.rewound else ""
    took = clock(replay.seconds) if replay.seconds >= 1 else "under a second"
    return f"{steps:,} step{'s' * (steps != 1)} trained again in {took}, from step {replay.begin:,}{rewound}"


def _list(what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        _tell(f"{what}: {', '.join(names[:SHOWN])}{more}")


def _plain(verdict: Verdict) -> dict[str, Any]:
    files, replay = verdict.files, verdict.replay
    return {
        "run": str(verdict.path),
        "sound": verdict.sound,
        "files": [{"file": file.name, "kind": file.kind, "fault": file.fault} for file in files.checked],
        "quarantined": files.quarantined,
        "temporary": files.temporary,
        "unknown": files.unknown,
        "changes": verdict.changes,
        "replay": None
        if replay is None
        else {
            "begin": replay.begin,
            "end": replay.end,
            "rewound": replay.rewound,
            "tensors": replay.tensors,
            "bytes": replay.bytes,
            "rows": replay.rows,
            "seconds": replay.seconds,
            "differences": [{"where": item.where, "what": item.what} for item in replay.differences],
        },
    }
