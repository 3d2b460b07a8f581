"""Recipes and studies by name: those that are shipped with acaikit, and those of plugins."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from acaikit.errors import UserError
from acaikit.registry import ONLY, OURS, RECIPES, Part, counts, full_name, installed, not_called, recipe_packages
from acaikit.sources import package_folder


class Kind(NamedTuple):
    """What a gin file describes.

    Attributes
    ----------
    name, plural : str
        As people say it.
    root : str
        The part that it sets.
    folder : str
        Where files of this kind lie: below a package of recipes, acaikit's own included.
    command : str
        What runs one.
    """

    name: str
    plural: str
    root: str
    folder: str
    command: str


RECIPE = Kind("recipe", "recipes", "Experiment", ".", "acaikit run")
STUDY = Kind("study", "studies", "Study", "studies", "acaikit sweep")
NAMED = (RECIPE, STUDY)


@dataclass(frozen=True)
class Recipe:
    """A recipe or a study that has a name.

    Attributes
    ----------
    name : str
        The name, such as "lines_acai_64".
    distribution : str
        Where it comes from.
    file : Path
        The gin file.
    """

    name: str
    distribution: str
    file: Path

    @property
    def full_name(self) -> str:
        """The name that no other of its kind has: ``distribution.name``."""
        return full_name(self.distribution, self.name)

    @property
    def description(self) -> str:
        """Its first comment, if it begins with one."""
        with suppress(OSError):
            first = self.file.read_text(encoding="utf-8", errors="replace").lstrip("\ufeff \r\n").partition("\n")[0]
            return first.lstrip("#").strip() if first.startswith("#") else ""
        return ""


def recipe_root() -> Path:
    """Return the folder of shipped recipes: beside the modules in a wheel, beside the package in a checkout."""
    package = Path(str(files("acaikit")))
    inside = package / "_gin"
    return inside if inside.is_dir() else package.parent / "gin"


def shipped(kind: Kind = RECIPE) -> list[str]:
    """Return the names of what is shipped of a kind, as `Kind.command` takes them."""
    return sorted(file.stem for file in (recipe_root() / kind.folder).glob("*.gin"))


def recipes(kind: Kind = RECIPE) -> list[Recipe]:
    """Return everything of a kind that has a name: ours first, then what plugins bring, by distribution."""
    return [recipe for recipe in _installed(kind) if counts(recipe.distribution)]


def _installed(kind: Kind) -> list[Recipe]:
    """Return what every distribution brings of a kind, whether it counts or not."""
    ours = [Recipe(name, OURS, recipe_root() / kind.folder / f"{name}.gin") for name in shipped(kind)]
    packages = [part for part in installed() if part.kind == RECIPES]
    return ours + [recipe for package in packages for recipe in _inside(package, kind)]


def _inside(package: Part, kind: Kind) -> list[Recipe]:
    folder = _folder(package)
    found = sorted((folder / kind.folder).glob("*.gin")) if folder else []
    return [Recipe(file.stem, package.distribution, file) for file in found]


def _folder(package: Part) -> Path | None:
    point = package.entry_point
    return package_folder(point.value) if point.pattern.match(point.value) else None


def broken() -> dict[Part, str]:
    """Return why a plugin's package of recipes brings none, for each such package."""
    reasons = {}
    for package in recipe_packages():
        if _folder(package) is None:
            reasons[package] = f"there is no package {package.entry_point.value!r}"
        elif not any(_inside(package, kind) for kind in NAMED):
            reasons[package] = f"there is no .gin file in {_folder(package)}"
    return reasons


def named(kind: Kind = RECIPE) -> dict[str, Recipe]:
    """Return everything of a kind under the shortest name by which `locate` finds it."""
    known = recipes(kind)
    bare = Counter(recipe.name for recipe in known)
    return {r.name if r.distribution == OURS or bare[r.name] == 1 else r.full_name: r for r in known}


def home(file: Path) -> str | None:
    """Return the distribution in whose package of recipes a file lies; None if that is none."""
    for package in recipe_packages():
        folder = _folder(package)
        if folder and file.resolve().is_relative_to(folder.resolve()):
            return package.distribution
    return None


def locate(recipe: str, kind: Kind = RECIPE) -> Path:
    """Return the file of a recipe given as a path or by name: bare (``lines_acai_64``) or in full (``acaikit.NAME``).

    A shipped recipe's name never changes its meaning when a plugin is installed. Studies are found in the same way.

    Raises
    ------
    UserError
        If there is neither such a file nor such a name, two plugins have a recipe of that name, or ACAIKIT_PLUGINS
        leaves out the one that does.
    """
    path, said = Path(recipe), f"there is no file and no {kind.name}"
    if is_file(path):
        return path
    called = _called(path, kind)
    ours = [known for known in called if known.distribution == OURS]
    matches = ours or [known for known in called if counts(known.distribution)]
    if len(matches) > 1:
        offers = " or ".join(f"{known.full_name} (from {known.distribution})" for known in matches)
        raise UserError(f"the {kind.name} {path.name.removesuffix('.gin')!r} is ambiguous: say {offers}")
    if matches:
        return matches[0].file
    if called:
        has = f"{called[0].distribution} has one, but {ONLY}={os.environ[ONLY]!r} leaves it out"
        raise UserError(f"{said} {recipe!r}: {has}")
    for other in NAMED:
        if _called(path, other):
            raise of_another_kind(recipe, other, kind)
    if recipe and _is_folder(path):
        on = f": a run directory goes on with acaikit resume {recipe}"
        none = f", and no study was swept there: acaikit sweep STUDY --dir {recipe} does so"
        raise UserError(f"{recipe!r} is a folder, not a {kind.name}{on if kind is RECIPE else none}")
    if is_file(Path(f"{recipe}.gin")):
        raise UserError(f"{said} {recipe!r}: did you mean {recipe}.gin?")
    if path.parent != Path():
        raise UserError(f"{said} {recipe!r}; a {kind.name} by name has no folder in it")
    known_names = {known.full_name: short for short, known in named(kind).items()}
    raise UserError(not_called(said, recipe, known_names, f"acaikit list {kind.plural}"))


def _called(path: Path, kind: Kind) -> list[Recipe]:
    """Return what every distribution brings of a kind under the name that `path` may be."""
    if path.parent not in (Path(), Path("gin") / kind.folder):
        return []
    name = path.name.removesuffix(".gin")
    distribution, dot, inner = name.partition(".")
    full = full_name(distribution, inner) if dot else name
    return [known for known in _installed(kind) if known.name == name or known.full_name == full]


def of_another_kind(name: str, found: Kind, meant: Kind) -> UserError:
    """Return the error for what is of another kind than is meant."""
    return UserError(f"{name} is a {found.name}, not a {meant.name}: {found.command} {name}")


def locate_study(study: str) -> Path:
    """Return the file of a study given as a path or by name, such as ``table1``; errors as in `locate`."""
    return locate(study, STUDY)


def is_file(path: Path) -> bool:
    """Return whether there is such a file; False too for what can't be a path, such as an endless name."""
    try:
        return path.is_file()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
