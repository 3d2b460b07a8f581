"""What is found of a distribution as a whole: its names, and whether its recipes build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from acaikit import recipes
from acaikit.config import build, read_recipe
from acaikit.config.build import REQUIRED
from acaikit.config.resolve import mentioned
from acaikit.errors import DataError
from acaikit.recipes import Recipe
from acaikit.registry import OURS, Part, faults, full_name, installed
from acaikit.testing.findings import Finding, Verdict, find_out
from acaikit.testing.rules import NotApplicable, NotConforming


def findings_of(members: Sequence[Part]) -> Iterator[Finding]:
    """Check what a distribution lists, `members`, and the recipes that it brings."""
    of = members[0].distribution
    own = [recipe for recipe in recipes.recipes() if recipe.distribution == of]
    yield find_out("is installed in order", partial(_check_installed, of), None)
    yield find_out("has names of its own", partial(_check_names, members, own), None)
    for package, reason in recipes.broken().items():
        if package.distribution == of:
            yield Finding(f"has recipes in {package.entry_point.value}", Verdict.broken, message=reason)
    for recipe in own:
        yield find_out(f"has the recipe {recipe.name}, which builds", partial(_check_recipe, recipe), None)


def _check_installed(distribution: str) -> None:
    """See that the registry has nothing to say against it: a group that there isn't, a second version."""
    told = faults_of(distribution)
    if told:
        raise NotConforming("\n".join(told))


def faults_of(distribution: str) -> list[str]:
    """Return the lines of `registry.faults` about a distribution, whose name each begins with."""
    return [fault for fault in faults() if full_name(fault.partition(" ")[0]) == full_name(distribution)]


def _check_names(members: Sequence[Part], own: Sequence[Recipe]) -> None:
    """See that no bare name means something of acaikit's own."""
    ours = {*recipes.shipped(), *(part.name for part in installed() if part.distribution == OURS)}
    everything: list[Part | Recipe] = [*members, *own]
    for named in everything:
        if named.distribution != OURS and named.name in ours:
            raise NotConforming(
                f"{named.name} is a name of acaikit's own and keeps its meaning, so that this one is only found as "
                f"{named.full_name}: choose another name"
            )


def _check_recipe(recipe: Recipe) -> None:
    config = read_recipe(str(recipe.file))
    required = {f"%{name}" for name in REQUIRED}
    yours = [binding.label for binding in config.bindings.values() if mentioned(binding.value) & required]
    if yours:
        raise NotApplicable(f"whoever runs it gives {' and '.join(yours)}")
    try:
        build(config).build()
    except DataError as error:
        raise NotApplicable(f"its data aren't here: {error}") from error
