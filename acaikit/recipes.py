"""Recipes by name: those that are shipped with acaikit, and those of plugins."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from acaikit.errors import UserError
from acaikit.registry import ONLY, OURS, RECIPES, Part, counts, full_name, installed, not_called, recipe_packages
from acaikit.sources import package_folder


@dataclass(frozen=True)
class Recipe:
    """A recipe that can be run by its name.

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
        """The name that no other recipe has: ``distribution.name``."""
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


def shipped() -> list[str]:
    """Return the names of the shipped recipes, as ``acaikit run`` takes them."""
    return sorted(file.stem for file in recipe_root().glob("*.gin"))


def recipes() -> list[Recipe]:
    """Return every recipe that has a name: ours first, then those of plugins by distribution."""
    return [recipe for recipe in _installed() if counts(recipe.distribution)]


def _installed() -> list[Recipe]:
    """Return the recipes of every distribution, whether it counts or not."""
    ours = [Recipe(name, OURS, recipe_root() / f"{name}.gin") for name in shipped()]
    packages = [part for part in installed() if part.kind == RECIPES]
    return ours + [recipe for package in packages for recipe in _inside(package)]


def _inside(package: Part) -> list[Recipe]:
    folder = _folder(package)
    return [Recipe(file.stem, package.distribution, file) for file in sorted(folder.glob("*.gin"))] if folder else []


def _folder(package: Part) -> Path | None:
    point = package.entry_point
    return package_folder(point.value) if point.pattern.match(point.value) else None


def broken() -> dict[Part, str]:
    """Return why a plugin's package of recipes brings none, for each such package."""
    reasons = {}
    for package in recipe_packages():
        if _folder(package) is None:
            reasons[package] = f"there is no package {package.entry_point.value!r}"
        elif not _inside(package):
            reasons[package] = f"there is no .gin file in {_folder(package)}"
    return reasons


def named() -> dict[str, Recipe]:
    """Return every recipe under the shortest name by which `locate` finds it."""
    known = recipes()
    bare = Counter(recipe.name for recipe in known)
    return {r.name if r.distribution == OURS or bare[r.name] == 1 else r.full_name: r for r in known}


def home(file: Path) -> str | None:
    """Return the distribution in whose package of recipes a file lies; None if that is none."""
    for package in recipe_packages():
        folder = _folder(package)
        if folder and file.resolve().is_relative_to(folder.resolve()):
            return package.distribution
    return None


def locate(recipe: str) -> Path:
    """Return the file of a recipe given as a path or by name: bare (``lines_acai_64``) or in full (``acaikit.NAME``).

    A shipped recipe's name never changes its meaning when a plugin is installed.

    Raises
    ------
    UserError
        If there is neither such a file nor such a name, two plugins have a recipe of that name, or ACAIKIT_PLUGINS
        leaves out the one that does.
    """
    path, said = Path(recipe), "there is no file and no recipe"
    if is_file(path):
        return path
    name = path.name.removesuffix(".gin")
    if path.parent in (Path(), Path("gin")):
        if name in shipped():
            return recipe_root() / f"{name}.gin"
        distribution, dot, inner = name.partition(".")
        full = full_name(distribution, inner) if dot else name
        called = [known for known in _installed() if known.name == name or known.full_name == full]
        matches = [known for known in called if counts(known.distribution)]
        if len(matches) > 1:
            offers = " or ".join(f"{known.full_name} (from {known.distribution})" for known in matches)
            raise UserError(f"the recipe {name!r} is ambiguous: say {offers}")
        if matches:
            return matches[0].file
        if called:
            has = f"{called[0].distribution} has one, but {ONLY}={os.environ[ONLY]!r} leaves it out"
            raise UserError(f"{said} {recipe!r}: {has}")
    if recipe and _is_folder(path):
        raise UserError(f"{recipe!r} is a folder, not a recipe: a run directory goes on with acaikit resume {recipe}")
    if is_file(Path(f"{recipe}.gin")):
        raise UserError(f"{said} {recipe!r}: did you mean {recipe}.gin?")
    if path.parent != Path():
        raise UserError(f"{said} {recipe!r}; a recipe by name has no folder in it")
    known_names = {known.full_name: short for short, known in named().items()}
    raise UserError(not_called(said, recipe, known_names, "acaikit list recipes"))


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
