"""Recipes by name: those that are shipped with acaikit, and those of plugins."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from acaikit.catalogue import package_folder
from acaikit.errors import UserError
from acaikit.registry import OURS, full_name, recipe_packages, unknown


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
    found = [Recipe(name, OURS, recipe_root() / f"{name}.gin") for name in shipped()]
    for package in recipe_packages():
        folder = package_folder(package.entry_point.module)
        if folder is not None:
            found += [Recipe(file.stem, package.distribution, file) for file in sorted(folder.glob("*.gin"))]
    return found


def locate(recipe: str) -> Path:
    """Return the file of a recipe given as a path or by name: bare (``lines_acai_64``) or in full (``acaikit.NAME``).

    A shipped recipe's name never changes its meaning when a plugin is installed.

    Raises
    ------
    UserError
        If there is neither such a file nor such a name, or two plugins have a recipe of that name.
    """
    path = Path(recipe)
    if is_file(path):
        return path
    name = path.name.removesuffix(".gin")
    if path.parent in (Path(), Path("gin")):
        if name in shipped():
            return recipe_root() / f"{name}.gin"
        matches = [known for known in recipes() if name in (known.name, known.full_name)]
        if len(matches) > 1:
            offers = " or ".join(f"{known.full_name} (from {known.distribution})" for known in matches)
            raise UserError(f"the recipe {name!r} is ambiguous: say {offers}")
        if matches:
            return matches[0].file
    if is_file(Path(f"{recipe}.gin")):
        raise UserError(f"there is no file and no shipped recipe {recipe!r}: did you mean {recipe}.gin?")
    if path.parent != Path():
        raise UserError(f"there is no file and no shipped recipe {recipe!r}; a shipped one has no folder in its name")
    raise UserError(unknown("there is no file and no shipped recipe", recipe, [known.name for known in recipes()]))


def is_file(path: Path) -> bool:
    """Return whether there is such a file; False too for what can't be a path, such as an endless name."""
    try:
        return path.is_file()
    except OSError:
        return False
