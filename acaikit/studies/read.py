"""Reading a study's gin file: what belongs to the study, what to its experiments, and what is measured at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from acaikit.config import Config, build, read_recipe
from acaikit.config.resolve import mentions, write
from acaikit.config.syntax import Binding, Macro
from acaikit.errors import ConfigError, UserError
from acaikit.recipes import STUDY
from acaikit.registry import find, shortest_name
from acaikit.study import Study


def read_study(file: Path, settings: Sequence[str] = ()) -> tuple[Config, Study]:
    """Read a study, and bindings that stand above its own, as ``--set`` takes them; return it as bound and as built.

    Raises
    ------
    ConfigError
        With every fault found; what is bound of an experiment is one.
    """
    config = read_recipe(str(file), settings, root=STUDY.root)
    known = config.reachable(find(STUDY.root).full_name)
    foreign = [binding for binding in config.bindings.values() if binding.subject not in known]
    if not foreign:
        return config, build(config, STUDY.root)
    faults = list(_of_experiments(config, foreign))
    own = replace(config, bindings={key: b for key, b in config.bindings.items() if b.subject in known})
    try:
        build(own, STUDY.root)
    except ConfigError as error:
        faults += error.faults
    raise ConfigError(faults)


def _of_experiments(config: Config, foreign: Sequence[Binding]) -> Iterator[str]:
    """Yield a fault for each binding that is not of the study, and for each of its includes that brings some."""
    blamed = set()
    for binding in foreign:
        place = binding.where
        while place.file in config.included:
            place = config.included[place.file]
        if place == binding.where:
            text = f"{binding.label} = {write(binding.value)}"
            yield (
                f"{place}: {binding.label} is not of the study but of its experiments: write it into Study.overrides, "
                f"beside what is there: {text!r}"
            )
        elif place not in blamed:
            blamed.add(place)
            yield (
                f"{place}: what is included has settings of an experiment, such as {binding.label}: a study doesn't "
                f"include its recipes, it names them in Study.recipes"
            )


def evaluation(config: Config) -> tuple[str, ...]:
    """Return the arguments of ``acaikit eval`` that measure what the study's evaluators do, with their settings."""
    study = find(STUDY.root).full_name
    words: list[str] = []
    settings: list[str] = []
    for binding in config.bindings.values():
        if binding.name != study:
            settings += ["--set", f"{binding.label} = {write(binding.value)}"]
        elif binding.parameter == "evaluators":
            for named in mentions(binding.value):
                if isinstance(named, Macro) or named.scope:
                    raise UserError(
                        f"{binding.where}: name each evaluator itself, without macro or scope: [@KMeans()]; in a study "
                        f"it is measured once, with one setting"
                    )
                words += ["--with", shortest_name(find(named.name))]
    return (*words, *settings)
