"""From a study's gin file to its runs: every experiment is built once, so that all faults come before anything runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acaikit.config import Config, build, read_recipe, read_resolved
from acaikit.config.syntax import Where
from acaikit.errors import ConfigError, UserError
from acaikit.experiment import Experiment
from acaikit.recipes import is_file, locate, locate_study
from acaikit.registry import find
from acaikit.studies.cells import cells, tail, written
from acaikit.studies.layout import NAME, Plan, Run
from acaikit.studies.read import evaluation, read_study
from acaikit.study import Study
from acaikit.words import few

FEW = 3
"""Recipes that a message lists at most."""
Faults = dict[str, list[str]]
"""What is wrong, with its line, and the recipes that it is wrong with; none where it lies in the study alone."""


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
        place = Where(f"the overrides of {run.name}", 1)
        texts = [*run.overrides, f"Experiment.seed = {run.seed}"]
        return _config(self.recipes[run.recipe], run.recipe, [(text, place) for text in texts])


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
        If there is no such study.
    ConfigError
        With the faults of the study or, if it has none, of all its experiments.
    """
    file = locate_study(name)
    given = [*settings, *([f"Study.seeds = {list(seeds)}"] if seeds is not None else [])]
    config, study = read_study(file, given)
    measured = evaluation(config)
    places = {b.parameter: b.where for b in config.bindings.values() if b.name == find("Study").full_name}
    faults: Faults = defaultdict(list)
    recipes = _recipes(study, file.parent, places["recipes"], faults)
    experiments = _experiments(study, recipes, places, faults)
    runs = _runs(study, recipes, places["recipes"], faults)
    if faults:
        own = tuple(f"{places[name]}: " for name in ("overrides", "grid") if name in places)
        raise ConfigError([said + _among(of, recipes, advise=said.startswith(own)) for said, of in faults.items()])
    return Draft(Plan(file.stem, str(file), runs, measured), recipes, experiments)


def _recipes(study: Study, folder: Path, place: Where, faults: Faults) -> dict[str, str]:
    """Return the study's recipes, resolved, by their names in the plan."""
    recipes: dict[str, str] = {}
    for recipe in study.recipes:
        try:
            path = _file(recipe, folder)
            if path.stem in recipes:
                raise UserError(f"a second recipe called {path.stem}, which would share its folders: rename one")
            recipes[path.stem] = read_recipe(str(path)).resolved
        except UserError as error:
            faults[f"{place}: {error}"] = []
    return recipes


def _file(recipe: str, folder: Path) -> Path:
    """Return a recipe's file: one beside the study comes before what has that name everywhere."""
    path = folder / recipe if is_file(folder / recipe) else locate(recipe)
    if not NAME.fullmatch(path.stem):
        raise UserError(f"{path.name!r} can't be a folder's name: rename it, with letters, digits and any of ._=,+-")
    return path


def _experiments(
    study: Study, recipes: Mapping[str, str], places: Mapping[str, Where], faults: Faults
) -> dict[tuple[str, tuple[str, ...]], Experiment]:
    """Build each recipe with each cell of the grid."""
    for name, values in study.grid.items():
        texts = [written(value) for value in values]
        for text in {text for text in texts if texts.count(text) > 1}:
            faults[f"{places['grid']}: Study.grid[{name!r}] has {text} twice"] = []
    experiments = {}
    for recipe, text in recipes.items():
        for cell in cells(study.grid):
            above = [(binding, places["overrides"]) for binding in study.overrides]
            above += [(binding, places["grid"]) for binding in cell]
            try:
                config = _config(text, recipe, above)
                for binding in config.bindings.values():
                    if binding.label == "Experiment.seed" and binding.where in places.values():
                        raise ConfigError([f"{binding.where}: the seeds are what Study.seeds says"])
                experiments[recipe, (*study.overrides, *cell)] = build(config)
            except ConfigError as error:
                for said in error.faults:
                    faults[said].append(recipe)
    return experiments


def _config(text: str, recipe: str, above: Sequence[tuple[str, Where]]) -> Config:
    return read_resolved(text, f"{recipe}, resolved", above)


def _runs(study: Study, recipes: Mapping[str, str], place: Where, faults: Faults) -> tuple[Run, ...]:
    """Return the runs, seed by seed: a table is whole, if not final, as early as can be."""
    tails = {cell: tail(cell) for cell in cells(study.grid)}
    runs = [
        Run(f"{recipe}{tails[cell]}-s{seed}", recipe, (*study.overrides, *cell), seed)
        for seed in study.seeds
        for recipe in recipes
        for cell in tails
    ]
    for run in runs:
        if not NAME.fullmatch(run.name):
            faults[f"{place}: {run.recipe} is too long for the names of its runs: rename it"] = []
    return tuple(runs)


def _among(faulty: Sequence[str], recipes: Mapping[str, str], *, advise: bool) -> str:
    """Return a clause about the recipes that have a fault, where others don't, and what to do if it is the study's."""
    names = list(dict.fromkeys(faulty))
    if not names or len(names) == len(recipes):
        return ""
    advice = "; what is meant for some recipes alone goes into a study of theirs, or into a recipe's own file"
    return f" (with {few(names, FEW)}{advice if advise else ''})"
