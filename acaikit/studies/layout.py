"""A study's folder: where everything is, and the file that says which runs there are."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from acaikit.artifacts.publish import make_folder, publish
from acaikit.errors import RunError
from acaikit.studies.outcome import Outcome

T = TypeVar("T")
VERSION = 1
MOST = 2**24
"""Bytes of a plan at most."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=,+-]{0,199}")
"""A run's or recipe's name, which is that of its folder or file too."""


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes
    ----------
    name : str
        Its folder's: ``lines_acai_64-s0``, ``lines_acai_64,ACAI.weight=0.1-s0``.
    recipe : str
        The recipe's name; the study's folder holds it resolved.
    overrides : tuple of str
        Bindings that stand above it.
    seed : int
        The seed.
    """

    name: str
    recipe: str
    overrides: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class Plan:
    """All runs of a study, in the order in which they begin, and what is measured of each at its end.

    Attributes
    ----------
    study : str
        The study's name.
    source : str
        Where its gin file lay.
    runs : tuple of Run
        Seed by seed, so that a table is whole, if not final, as early as can be.
    evaluation : tuple of str
        Arguments of ``acaikit eval``; none where nothing is measured at the end.
    """

    study: str
    source: str
    runs: tuple[Run, ...]
    evaluation: tuple[str, ...]

    def run(self, name: str) -> Run:
        """Return a run by its name; raise `RunError` where the study has none of it."""
        for run in self.runs:
            if run.name == name:
                return run
        raise RunError(f"{name} is no run of the study {self.study}, or none any more")


@dataclass(frozen=True)
class StudyDir:
    """The layout of a study's folder. Nothing is created before it is written.

    Parameters
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def plan_file(self) -> Path:
        """Which runs there are."""
        return self.path / "study.json"

    @property
    def lock_file(self) -> Path:
        """Held by the process that plans the study and, where it does so itself, runs it."""
        return self.path / ".lock"

    @property
    def jobs(self) -> Path:
        """Folder of what a cluster's scheduler is handed and says."""
        return self.path / "jobs"

    def recipe(self, name: str) -> Path:
        """Return the file of a recipe, resolved."""
        return self.path / "recipes" / f"{name}.gin"

    def run(self, name: str) -> Path:
        """Return a run directory."""
        return self.path / "runs" / name

    def task(self, name: str) -> Path:
        """Return the folder of what workers leave about a run: ``.lock``, ``outcome.json``, ``log.txt``."""
        return self.path / "tasks" / name

    def task_lock(self, name: str) -> Path:
        """Return the lock that the worker at a run holds."""
        return self.task(name) / ".lock"

    def log(self, name: str) -> Path:
        """Return the file of what the processes of a run said."""
        return self.task(name) / "log.txt"

    def outcome_file(self, name: str) -> Path:
        """Return the file that says how a run's last turn went."""
        return self.task(name) / "outcome.json"

    def outcome(self, name: str) -> Outcome | None:
        """Return how a run's last turn went; None before the first."""
        return Outcome.read(self.outcome_file(name))

    def exists(self) -> bool:
        """Say whether there is a study here."""
        return self.plan_file.is_file()

    def write(self, plan: Plan, recipes: dict[str, str]) -> None:
        """Write a plan and its resolved recipes by name; raise `OSError` where that can't be done."""
        make_folder(self.recipe("").parent)
        for name, text in recipes.items():
            publish(self.recipe(name), text.encode())
        publish(self.plan_file, json.dumps({"version": VERSION, **asdict(plan)}, indent=1).encode())

    def read(self) -> Plan:
        """Read the plan.

        Raises
        ------
        RunError
            There is none here, it is broken, or it needs a newer acaikit.
        """
        if not self.plan_file.exists():
            raise RunError(f"{self.path} holds no study: there is no {self.plan_file.name} in it")
        anew = f"sweep its gin file again, which writes it anew: acaikit sweep STUDY --dir {quote(str(self.path))}"
        if not self.plan_file.is_file():
            raise RunError(f"{self.plan_file} is no file: remove it, and {anew}")
        try:
            with self.plan_file.open("rb") as opened:
                content = opened.read(MOST)
        except OSError as error:
            raise RunError(f"{self.plan_file} can't be read: {error.strerror}") from error
        try:
            return _plan(json.loads(content))
        except _Newer:
            raise RunError(
                f"{self.plan_file} was written by a newer acaikit: upgrade with pip install -U acaikit"
            ) from None
        except (ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, _Broken) else "it is cut off, or no JSON"
            raise RunError(f"{self.plan_file} is broken ({why}): {anew}") from error


class _Newer(Exception):
    """A plan is of a version that is not known yet."""


class _Broken(ValueError):
    """A plan lacks something, or has what can't be."""


def _plan(found: Any) -> Plan:
    if _get(found, "version", int) > VERSION:
        raise _Newer
    runs = tuple(
        Run(_name(run, "name"), _name(run, "recipe"), _texts(run, "overrides"), _seed(run))
        for run in _get(found, "runs", list)
    )
    if len({run.name for run in runs}) < len(runs):
        raise _Broken("two runs have one name")
    return Plan(_get(found, "study", str), _get(found, "source", str), runs, _texts(found, "evaluation"))


def _get(found: Any, key: str, kind: type[T]) -> T:
    value = found.get(key) if isinstance(found, dict) else None
    if not isinstance(value, kind):
        raise _Broken(f"it has no {key!r} that makes sense")
    return value


def _name(found: Any, key: str) -> str:
    """Return a name, which leads to no other folder than the study's own."""
    name = _get(found, key, str)
    if not NAME.fullmatch(name):
        raise _Broken(f"{name!r} is no name")
    return name


def _texts(found: Any, key: str) -> tuple[str, ...]:
    texts = _get(found, key, list)
    if not all(isinstance(text, str) for text in texts):
        raise _Broken(f"its {key!r} are not all texts")
    return tuple(texts)


def _seed(found: Any) -> int:
    seed = _get(found, "seed", int)
    if seed < 0:
        raise _Broken(f"{seed} is no seed")
    return seed
