"""Making a study ready: whatever can go wrong before anything runs goes wrong here, at once and for all its runs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from acaikit.artifacts.lock import Held, RunLock
from acaikit.artifacts.publish import make_folder
from acaikit.artifacts.rundir import RunDir
from acaikit.config.resolve import differences
from acaikit.errors import RunError
from acaikit.runs.provenance import began_with, run_info
from acaikit.studies.layout import StudyDir
from acaikit.studies.plan import Draft
from acaikit.studies.todo import todo
from acaikit.words import few

FEW = 4
"""Names that a message lists at most."""


@contextmanager
def alone(study: StudyDir) -> Iterator[None]:
    """Hold a study's folder, which is created, while the block runs.

    Raises
    ------
    RunError
        Another sweep holds it, or it can't be written.
    """
    _check_folder(study)
    with _writing(study):
        make_folder(study.path)
    with ExitStack() as stack:
        try:
            stack.enter_context(RunLock(study.lock_file))
        except Held as held:
            raise RunError(
                f"{study.path} is being swept by {held.holder or 'another process'}: wait until it ends, or stop it, "
                f"and sweep again; acaikit status {study.path} says how far it is"
            ) from None
        yield


def make_ready(study: StudyDir, draft: Draft, say: Callable[[str], None]) -> None:
    """Write a study's plan, once nothing stands in its way and the data that its runs need are here.

    Parameters
    ----------
    study : StudyDir
        Where; under its lock.
    draft : Draft
        The plan, and what it was made of; see `check`.
    say : callable
        Takes a line about runs that are no part of the study any more.

    Raises
    ------
    RunError
        Run directories hold other experiments than the plan has under their names, or the plan can't be written.
    DataError
        Data can't be had.
    """
    check(study, draft)
    for recipe, overrides in dict.fromkeys((run.recipe, run.overrides) for run in todo(study, draft.plan)):
        draft.experiments[recipe, overrides].dataset.prepare()
    with suppress(RunError):  # the first plan, or one that is broken
        gone = [run.name for run in study.read().runs if run not in draft.plan.runs]
        if gone:
            say(f"no part of the study any more, and left where they are: {few(gone, FEW)}")
    with _writing(study):
        study.write(draft.plan, draft.recipes)


def check(study: StudyDir, draft: Draft) -> None:
    """Check that a study can be swept in a folder, without writing anything.

    Raises
    ------
    RunError
        Run directories hold other experiments than the plan has under their names, or the folder can't be written. A
        run directory that is broken is its own run's affair.
    """
    _check_folder(study)
    others: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for run in draft.plan.runs:
        directory = RunDir(study.run(run.name))
        with suppress(RunError):
            if directory.exists():
                began = began_with(directory.path, run_info(directory))
                others[tuple(map(str, differences(began, draft.config(run))))].append(run.name)
    others.pop((), None)
    if others:
        shown = "\n".join(f"  {few(names, FEW)}: {'; '.join(different)}" for different, names in others.items())
        raise RunError(
            f"{study.path} has other experiments under names of this study's runs (value there -> the one asked for):\n"
            f"{shown}\n"
            f"sweep into another folder with --dir, or remove those run directories if they are no longer wanted"
        )


def _check_folder(study: StudyDir) -> None:
    with _writing(study):
        there = next(path for path in (study.path, *study.path.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise RunError(f"{study.path} can't be written: {there} is no folder in which files may be made")


@contextmanager
def _writing(study: StudyDir) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"{study.path} can't be written: {error}") from error
