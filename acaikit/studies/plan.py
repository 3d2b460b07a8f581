"""From a study's gin file to its runs: every experiment is built once, so that all faults come before anything runs."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acaikit.config import Config, build, read_bindings, read_recipe, read_resolved
from acaikit.config.resolve import mentions, write
from acaikit.config.syntax import OVERRIDE, Macro
from acaikit.errors import ConfigError, UserError
from acaikit.experiment import Experiment
from acaikit.recipes import is_file, locate, locate_study
from acaikit.registry import find, shortest_name
from acaikit.studies.layout import NAME, Plan, Run
from acaikit.study import Study

FEW = 3
"""Recipes that a message lists at most."""
LONGEST = 100
"""Letters that the settings have in a run's name at most."""


@dataclass(frozen=True)
class Draft:
    """A plan, and what it was made of.

    Attributes
    ----------
    plan : Plan
        The runs.
    recipes : dict of str to str
        Each recipe, resolved, by its name in the plan.
    experiments : dict of tuple to Experiment
        What is run, by recipe and overrides: one for all its seeds.
    """

    plan: Plan
    recipes: dict[str, str]
    experiments: dict[tuple[str, tuple[str, ...]], Experiment]

    def config(self, run: Run) -> Config:
        """Return what a run is asked to be."""
        return _config(self.recipes[run.recipe], run.recipe, [*run.overrides, f"Experiment.seed = {run.seed}"])


def draft(name: str, settings: Sequence[str] = (), seeds: Sequence[int] | None = None) -> Draft:
    """Read a study and plan its runs.

    Parameters
    ----------
    name : str
        A gin file, or the name of a study that is shipped.
    settings : sequence of str
        Bindings that stand above the study's own, as ``--set`` takes them: ``"Study.overrides = [...]"``.
    seeds : sequence of int, optional
        Seeds in place of the study's.

    Raises
    ------
    UserError
        If there is no such study, or two of its recipes have one name.
    ConfigError
        With the faults of the study or, if it has none, of all its experiments.
    """
    file = locate_study(name)
    given = [*settings, *([f"Study.seeds = {list(seeds)}"] if seeds is not None else [])]
    config = read_recipe(str(file), given, root="Study")
    study: Study = build(config, "Study")
    bound = {b.parameter: b for b in config.bindings.values() if b.name == find("Study").full_name}
    cells = list(_cells(study))
    recipes: dict[str, str] = {}
    experiments: dict[tuple[str, tuple[str, ...]], Experiment] = {}
    faults: dict[str, list[str]] = defaultdict(list)
    for recipe in study.recipes:
        try:
            path = _file(recipe, file.parent)
            if path.stem in recipes:
                raise UserError(f"a second recipe called {path.stem}, which would share its folders: rename one")
            recipes[path.stem] = read_recipe(str(path)).resolved
        except UserError as error:
            faults[f"{bound['recipes'].where}: {error}"] = []
    for recipe, cell in itertools.product(recipes, cells):
        overrides = (*study.overrides, *cell)
        try:
            for binding in read_bindings(overrides).bindings.values():
                if binding.label == "Experiment.seed":
                    raise UserError(f"{binding.where}: the seeds are what Study.seeds says")
            experiments[recipe, overrides] = build(_config(recipes[recipe], recipe, overrides))
        except UserError as error:
            for said in error.faults if isinstance(error, ConfigError) else [str(error)]:
                by = next((name for name in ("overrides", "grid") if _speaks_of(said, name, study, cell)), "recipes")
                faults[f"{bound[by].where}: {said.removeprefix(OVERRIDE)}"].append(recipe)
    for name, values in study.grid.items():
        written = [_written(value) for value in values]
        for text in {text for text in written if written.count(text) > 1}:
            faults[f"{bound['grid'].where}: Study.grid[{name!r}] has {text} twice"] = []
    for recipe, tail, seed in itertools.product(recipes, _tails(cells), study.seeds):
        if not NAME.fullmatch(f"{recipe}{tail}-s{seed}"):
            faults[f"{bound['recipes'].where}: {recipe} is too long for the names of its runs: rename it"] = []
    if faults:
        raise ConfigError([said + _among(of, recipes) for said, of in faults.items()])
    runs = [
        Run(f"{recipe}{tail}-s{seed}", recipe, (*study.overrides, *cell), seed)
        for seed in study.seeds
        for recipe in recipes
        for cell, tail in zip(cells, _tails(cells), strict=True)
    ]
    return Draft(Plan(file.stem, str(file), tuple(runs), _evaluation(config)), recipes, experiments)


def _file(recipe: str, folder: Path) -> Path:
    """Return a recipe's file: one beside the study comes before what has that name everywhere."""
    path = folder / recipe if is_file(folder / recipe) else locate(recipe)
    if not NAME.fullmatch(path.stem):
        raise UserError(f"{path.name!r} can't be a folder's name: rename it, with letters, digits and any of ._=,+-")
    return path


def _speaks_of(fault: str, parameter: str, study: Study, cell: Sequence[str]) -> bool:
    """Return whether a fault lies in a binding of the study's overrides, or of a cell of its grid."""
    texts = study.overrides if parameter == "overrides" else cell
    return any(fault.startswith(f"{OVERRIDE}{text!r}:") for text in texts)


def _among(faulty: Sequence[str], recipes: Mapping[str, str]) -> str:
    """Return a clause about the recipes that have a fault, where others don't."""
    names = list(dict.fromkeys(faulty))
    if not names or len(names) == len(recipes):
        return ""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f" (with {', '.join(names[:FEW])}{more})"


def _config(text: str, recipe: str, overrides: Sequence[str]) -> Config:
    return read_resolved(text, f"{recipe}.gin", overrides)


def _cells(study: Study) -> Iterator[tuple[str, ...]]:
    """Yield the bindings of each combination of the grid's values."""
    axes = [[f"{name} = {_written(value)}" for value in values] for name, values in study.grid.items()]
    return itertools.product(*axes)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else write(value)


def _tails(cells: Sequence[tuple[str, ...]]) -> list[str]:
    """Return what the name of a run says of its cell; a hash stands for what a folder's name can't hold."""
    texts = [",".join(binding.removeprefix("Experiment.").replace(" = ", "=") for binding in cell) for cell in cells]
    plain = [re.sub(r"[^A-Za-z0-9._=,+-]+", "_", text)[:LONGEST].strip("_") for text in texts]
    tails = []
    for text, name in zip(texts, plain, strict=True):
        digest = "" if name == text else f"_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        tails.append(f",{name}{digest}" if text else "")
    return tails


def _evaluation(config: Config) -> tuple[str, ...]:
    """Return the arguments of ``acaikit eval`` that measure what the study's evaluators do, with their settings."""
    study = find("Study").full_name
    words: list[str] = []
    settings: list[str] = []
    for binding in config.bindings.values():
        if binding.name != study:
            settings += ["--set", f"{binding.label} = {write(binding.value)}"]
        elif binding.parameter == "evaluators":
            for named in mentions(binding.value):
                if isinstance(named, Macro) or named.scope:
                    raise UserError(f"{binding.where}: name each evaluator itself, without macro or scope: [@KMeans()]")
                words += ["--with", shortest_name(find(named.name))]
    return (*words, *settings)
