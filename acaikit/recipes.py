"""The recipes that are shipped with acaikit."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from acaikit.errors import UserError
from acaikit.registry import unknown


def recipe_root() -> Path:
    """Return the folder of shipped recipes: beside the modules in a wheel, beside the package in a checkout."""
    package = Path(str(files("acaikit")))
    inside = package / "_gin"
    return inside if inside.is_dir() else package.parent / "gin"


def shipped() -> list[str]:
    """Return the names of the shipped recipes, as ``acaikit run`` takes them."""
    return sorted(file.stem for file in recipe_root().glob("*.gin"))


def locate(recipe: str) -> Path:
    """Return the file of a recipe given as a path or as a shipped recipe's name.

    Raises
    ------
    UserError
        If there is neither such a file nor such a name.
    """
    path = Path(recipe)
    if is_file(path):
        return path
    name = path.name.removesuffix(".gin")
    if path.parent in (Path(), Path("gin")) and name in shipped():
        return recipe_root() / f"{name}.gin"
    if is_file(Path(f"{recipe}.gin")):
        raise UserError(f"there is no file and no shipped recipe {recipe!r}: did you mean {recipe}.gin?")
    if path.parent != Path():
        raise UserError(f"there is no file and no shipped recipe {recipe!r}; a shipped one has no folder in its name")
    raise UserError(unknown("there is no file and no shipped recipe", recipe, shipped()))


def is_file(path: Path) -> bool:
    """Return whether there is such a file; False too for what can't be a path, such as an endless name."""
    try:
        return path.is_file()
    except OSError:
        return False
