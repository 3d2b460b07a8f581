"""What a shell offers while a command is typed, found without importing a part or a library of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from acaikit.catalogue import describe
from acaikit.errors import UserError
from acaikit.recipes import NAMED, RECIPE, STUDY, Kind, named
from acaikit.registry import KINDS, OURS, Part, find, parts, shortest_name

RUN_FILE = "run.h5"  # `RunDir.run_file`, whose module imports h5py
PLAN_FILE = "study.json"  # `StudyDir.plan_file`


def complete_kind(incomplete: str) -> list[str]:
    """Return the kinds of parts, "recipes" and "studies"."""
    return _beginning(incomplete, (*KINDS, *(kind.plural for kind in NAMED)))


def complete_part(incomplete: str) -> list[str]:
    """Return the parts, and the distributions that bring parts of others."""
    found = [part for part in parts() if part.kind in KINDS]
    plugins = dict.fromkeys(part.distribution for part in found if part.distribution != OURS)
    return _beginning(incomplete, [*map(shortest_name, found), *plugins])


def complete_evaluator(incomplete: str) -> list[str]:
    """Return the evaluators, by name and by key."""
    found = [part for part in parts() if part.kind == "evaluators"]
    keys = [key for part in found if (key := describe(part).key) is not None]
    return _beginning(incomplete, dict.fromkeys([*map(shortest_name, found), *keys]))


def complete_dataset(incomplete: str) -> list[str]:
    """Return the datasets."""
    return _beginning(incomplete, [shortest_name(part) for part in parts() if part.kind == "datasets"])


def complete_parameter(incomplete: str) -> list[str]:
    """Return parts, and their parameters where the part is there already: ``ACAI``, ``ACAI.weight``."""
    return _parameters(incomplete, lambda name: name)


def complete_binding(incomplete: str) -> list[str]:
    """Return the left-hand side of bindings: ``ACAI.`` and, where the part is there already, ``ACAI.weight=``."""
    found = _parameters(incomplete, lambda name: f"{name}.")
    return [name if name.endswith(".") else f"{name}=" for name in found]


def complete_recipe(incomplete: str) -> list[str]:
    """Return the recipes that have a name, and .gin files."""
    return _named(incomplete, RECIPE)


def complete_study(incomplete: str) -> list[str]:
    """Return the studies that have a name, and .gin files."""
    return _named(incomplete, STUDY)


def complete_run(incomplete: str) -> list[str]:
    """Return run directories, and folders that may hold some."""
    return _files(incomplete, _is_run)


def complete_study_dir(incomplete: str) -> list[str]:
    """Return studies' folders, and folders that may hold some."""
    return _files(incomplete, _is_study)


def complete_run_or_study_dir(incomplete: str) -> list[str]:
    """Return run directories, studies' folders, and folders that may hold some; inside a study's, its runs."""
    return _files(incomplete, lambda file: _is_run(file) or _is_study(file))


def complete_recipe_or_run(incomplete: str) -> list[str]:
    """Return recipes, .gin files and run directories."""
    files = _files(incomplete, lambda file: file.suffix == ".gin" or _is_run(file))
    return [*_beginning(incomplete, named()), *files]


def _named(incomplete: str, kind: Kind) -> list[str]:
    return [*_beginning(incomplete, named(kind)), *_files(incomplete, lambda file: file.suffix == ".gin")]


def _beginning(incomplete: str, known: Iterable[str]) -> list[str]:
    return [name for name in known if name.startswith(incomplete)]


def _parameters(incomplete: str, alone: Callable[[str], str]) -> list[str]:
    """Return the parts that begin so, each as `alone` writes it, or the parameters of the part that stands there."""
    scope, slash, typed = incomplete.rpartition("/")
    name = typed.rpartition(".")[0]
    if name:
        with suppress(UserError):
            return [f"{scope}{slash}{said}" for said in _beginning(typed, _of(find(name), name))]
    known = {shortest_name(part): part for part in parts()}
    found = _beginning(typed, known)
    # A shell puts a space after the only word: what can follow it is offered too.
    more = _of(known[found[0]], found[0]) if len(found) == 1 else []
    return [f"{scope}{slash}{said}" for said in dict.fromkeys([*map(alone, found), *more])]


def _of(part: Part, name: str) -> list[str]:
    return [f"{name}.{parameter}" for parameter in describe(part).parameters or ()]


def _files(incomplete: str, wanted: Callable[[Path], bool]) -> list[str]:
    """Return the wanted files that begin so, and the folders with a slash; hidden ones where a dot is typed."""
    folder, slash, begun = incomplete.rpartition("/")
    found = []
    with suppress(OSError, ValueError):
        for path in sorted(Path(f"{folder}{slash}" or ".").iterdir()):
            if path.name.startswith(begun) and (begun or not path.name.startswith(".")):
                if wanted(path):
                    found.append(f"{folder}{slash}{path.name}")
                elif path.is_dir():
                    found.append(f"{folder}{slash}{path.name}/")
    if len(found) == 1 and found[0].endswith("/"):
        # A shell puts a space after the only word: a folder is opened instead.
        return _files(found[0], wanted) or found
    return found


def _is_run(path: Path) -> bool:
    return (path / RUN_FILE).is_file()


def _is_study(path: Path) -> bool:
    return (path / PLAN_FILE).is_file()
