"""Reading recipes: the whole way from a name to bindings that have no fault."""

from __future__ import annotations

from collections.abc import Sequence

from acaikit.config.build import Builder
from acaikit.config.faults import report
from acaikit.config.reader import Reader
from acaikit.config.resolve import Config
from acaikit.config.syntax import Where
from acaikit.recipes import NAMED, Kind, locate, of_another_kind
from acaikit.registry import find


def read_recipe(recipe: str, overrides: Sequence[str] = (), root: str = "Experiment") -> Config:
    """Read a recipe, everything it includes, and bindings that stand above it.

    Parameters
    ----------
    recipe : str
        A file, or a recipe's name.
    overrides : sequence of str
        Bindings such as ``"ACAI.weight = 1.0"``, as ``--set`` takes them.
    root : str
        The part that the recipe describes.

    Raises
    ------
    ConfigError
        With every fault found, each with its file and line; where one is found in reading, those too that `build`
        finds.
    UserError
        If there is no such recipe, or it describes another part: a study is no recipe.
    """
    kind = next(kind for kind in NAMED if kind.root == root)
    reader = Reader()
    reader.file(locate(recipe, kind))
    described = {name for _, name, _ in reader.bindings}
    for other in NAMED:
        if _part(other) in described and _part(kind) not in described:
            raise of_another_kind(recipe, other, kind)
    for text in overrides:
        reader.override(text)
    config = reader.settle()
    if reader.faults:
        builder = Builder(config, reader.gaps)
        builder.build(root)
        raise report([*reader.faults, *builder.faults], config.sources)
    return config


def _part(kind: Kind) -> str:
    return find(kind.root).full_name


def read_bindings(texts: Sequence[str]) -> Config:
    """Read bindings alone, as ``--set`` takes them, without a recipe.

    Raises
    ------
    ConfigError
        With every fault found; where one is found in reading, misspelled parameters and macros too.
    """
    reader = Reader()
    for text in texts:
        reader.override(text)
    config = reader.settle()
    if reader.faults:
        builder = Builder(config, reader.gaps)
        builder.check_each()
        raise report([*reader.faults, *builder.faults], config.sources)
    return config


def read_resolved(text: str, file: str = "resolved", above: Sequence[tuple[str, Where]] = ()) -> Config:
    """Read what `Config.resolved` returned; includes are refused.

    Parameters
    ----------
    text : str
        The recipe.
    file : str
        How to call it in messages.
    above : sequence of (str, Where)
        Bindings that stand above it, each of them once, and the lines of another file that they come from.

    Raises
    ------
    ConfigError
        With every fault found.
    """
    reader = Reader()
    reader.text(text, file, folder=None)
    reader.above(above)
    config = reader.settle()
    if reader.faults:
        raise report(reader.faults, config.sources)
    return config
