"""A study's folder: where everything is, and the file that says which runs there are."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from acaikit.artifacts.publish import make_folder, publish
from acaikit.errors import RunError
from acaikit.studies.outcome import Outcome

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
        Its gin file, as given.
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
        try:
            with self.plan_file.open("rb") as opened:
                found = json.loads(opened.read(MOST))
        except FileNotFoundError:
            raise RunError(f"{self.path} holds no study: there is no {self.plan_file.name} in it") from None
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{self.plan_file} can't be read: {error}") from error
        try:
            if found["version"] > VERSION:
                raise RunError(f"{self.plan_file} was written by a newer acaikit: upgrade with pip install -U acaikit")
            return _plan(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{self.plan_file} is broken ({error}): acaikit sweep writes it anew") from error


def _plan(found: Any) -> Plan:
    runs = tuple(
        Run(_name(run["name"]), _name(run["recipe"]), _texts(run["overrides"]), _seed(run["seed"]))
        for run in found["runs"]
    )
    if len({run.name for run in runs}) < len(runs):
        raise ValueError("two runs have one name")
    return Plan(_text(found["study"]), _text(found["source"]), runs, _texts(found["evaluation"]))


def _name(text: Any) -> str:
    """Return a name, which leads to no other folder than the study's own."""
    if not NAME.fullmatch(_text(text)):
        raise ValueError(f"{text!r} is no name")
    return str(text)


def _text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text")
    return text


def _texts(texts: Any) -> tuple[str, ...]:
    if not isinstance(texts, list):
        raise TypeError(f"{texts!r} is no list")
    return tuple(map(_text, texts))


def _seed(seed: Any) -> int:
    if not isinstance(seed, int) or seed < 0:
        raise TypeError(f"{seed!r} is no seed")
    return seed
