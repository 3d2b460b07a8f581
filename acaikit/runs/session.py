"""Opening a session: the lock taken, leftovers removed, the trainer at the run's last checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import torch

from acaikit.artifacts.checkpoints import Checkpoints
from acaikit.artifacts.lock import Held, RunLock
from acaikit.artifacts.log import Log
from acaikit.artifacts.publish import is_temporary, make_folder
from acaikit.artifacts.rundir import RunDir
from acaikit.config import Config, build, telling_places
from acaikit.config.resolve import differences
from acaikit.engine import Trainer
from acaikit.errors import RunError
from acaikit.fingerprint import precision_on
from acaikit.fit import check_newest
from acaikit.objective import players
from acaikit.precision import PRECISIONS
from acaikit.runs.provenance import began_with, check_data, describe, run_info
from acaikit.runs.restoring import State, remove_leftovers, restore
from acaikit.runs.training import Session, row

__all__ = ["Session", "State", "check", "in_turn", "open_session", "row"]


@contextmanager
def open_session(
    path: Path,
    *,
    config: Config | None = None,
    overrides: Sequence[str] = (),
    device: torch.device | str = "cpu",
    say: Callable[[str], None] = print,
    warn: Callable[[str], None] = lambda line: None,
    on_nan: str | None = None,
    precision: str | None = None,
    stop_unsaved: bool = False,
) -> Iterator[Session]:
    """Take a run's lock and bring its trainer to the last checkpoint.

    What the dataset needs from the network and the disk is got first: without it, the run directory isn't made.

    Parameters
    ----------
    path : Path
        The run directory.
    config : Config, optional
        What to run there; left out, the run must exist.
    overrides : sequence of str
        Remembered with a new run.
    device : torch.device or str
        Where to train.
    say : callable
        Takes a line that the user should see; ``log.txt`` has it too.
    warn : callable
        Takes a warning about the model's health, which ``log.txt`` has too.
    on_nan : str, optional
        What to do where training diverges: "stop", "skip" or "rewind"; left out, what the run did so far, and "stop"
        in a new one.
    precision : str, optional
        How exactly to compute, see `acaikit.precision`: "tf32", "float32" or "bf16"; left out, as the run did so far,
        and "tf32" in a new one.
    stop_unsaved : bool
        Whether to stop once something can't be saved.

    Raises
    ------
    RunError
        If another process holds the run, it began with a plugin that is not installed, the directory holds another
        experiment or something that is no run, or it can't be written.
    DataError
        If the data can't be had.
    """
    directory, device = RunDir(path), torch.device(device)
    check(path, config)
    recipe = config if config is not None else began_with(path, run_info(directory))
    experiment = build(recipe)
    began = None  # the precision that stands until there is a checkpoint
    if directory.exists():
        info = run_info(directory)
        check_newest(Checkpoints(directory.checkpoints, info["run_id"]), experiment, path)
        began = info["fingerprint"].get("precision")
    if began in (None, precision_on(device.type)):
        began = PRECISIONS[0]
    with telling_places(recipe):
        players(*experiment.build())  # what doesn't fit together is said before gigabytes are got
    experiment.dataset.prepare()
    trainer = Trainer(experiment, device, on_nan or "stop", precision or began)
    with _writing(path):
        make_folder(path)
    with RunLock(directory.lock_file):
        check(path, recipe)  # getting the data may take long, and another process may have begun a run here meanwhile
        with _writing(path):
            remove_leftovers(directory)
            if config is not None and not directory.exists():
                described = describe(config, list(overrides), experiment.seed, device, experiment.dataset.digests)
                directory.write_run(described | {"fingerprint": trainer.trained_under})
            if not directory.metrics.is_dir():  # a row comes first: where there is one, a folder missing was removed
                make_folder(directory.checkpoints)
        info = run_info(directory)
        check_data(path, info, experiment.dataset)
        directory.settle(info["run_id"])
        log = Log(directory.log_file, lambda: directory.moved)
        say, warn = log.hearing(say), log.hearing(warn)
        with _writing(path):
            state = restore(directory, trainer, info, say)
            if on_nan is not None:
                trainer.on_nan = on_nan
            if precision is not None:
                trainer.precision = precision
            session = Session(directory, trainer, state, info, say, warn, log, stop_unsaved)
        yield session


@contextmanager
def in_turn(
    path: Path,
    config: Config | None,
    opening: Callable[[], AbstractContextManager[Session]],
    say: Callable[[str], None] = print,
) -> Iterator[Session]:
    """Open a session once no other process holds the run.

    What such a process may change is read after it has ended: `opening` is called then, and again where yet another
    one came first.

    Parameters
    ----------
    path : Path
        The run directory.
    config : Config or None
        As `check` takes it, which looks before anybody waits.
    opening : callable
        Opens the session, by `open_session`.
    say : callable
        Takes a line about the process that is waited for, once.

    Raises
    ------
    RunError, DataError
        As `open_session`, but never because another process holds the run.
    """
    told = False

    def wait(held: Held) -> None:
        nonlocal told
        if not told:
            say(f"{held}; waiting for it to end")
            told = True

    lock_file = RunDir(path).lock_file
    with ExitStack() as stack:
        while True:
            check(path, config)
            if lock_file.exists():
                with RunLock(lock_file, wait):
                    pass
            try:
                session = stack.enter_context(opening())
                break
            except Held:
                continue
        yield session


def check(path: Path, config: Config | None) -> None:
    """Raise `RunError` unless `path` is free or holds the run of `config` (any run, where `config` is None)."""
    directory = RunDir(path)
    if not directory.exists():
        if config is None:
            run_info(directory)
        # What a process killed before the run was written leaves behind is no obstacle.
        if path.exists() and (
            not path.is_dir() or any(f.name not in (".lock", ".holder") and not is_temporary(f) for f in path.iterdir())
        ):
            if directory.exists():  # another process has just begun it
                return check(path, config)
            if Checkpoints(directory.checkpoints, "").steps():
                run_info(directory)  # says that a run has lost its description
            raise RunError(f"{path} exists and is no run: choose another folder with --dir")
        return
    if config is not None:
        different = list(differences(began_with(path, run_info(directory)), config))
        if different:
            shown = "\n  ".join(map(str, different))
            raise RunError(
                f"{path} holds another experiment (its value -> the one asked for):\n  {shown}\n"
                f"choose another folder with --dir, or continue that run with: acaikit resume {path} [--samples N]"
            )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} can't be written: {error}") from error
