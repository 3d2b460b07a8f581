"""Writing a new plugin from the templates of its kind."""

from __future__ import annotations

import ast
import tempfile
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from string import Template

from acaikit.errors import UserError
from acaikit.scaffold.names import Kind, Names


def begin(names: Names, kind: Kind, folder: Path) -> list[Path]:
    """Write the distribution of one part into `folder`, under its name: whole, or not at all.

    Parameters
    ----------
    names : Names
        What everything is called.
    kind : Kind
        What the part is.
    folder : Path
        Where to; it is made where it isn't there.

    Returns
    -------
    list of Path
        The files that were written, the distribution's folder before their names.

    Raises
    ------
    UserError
        If the distribution's folder exists and isn't empty, it can't be written, or the part would be called as
        something that its code uses.
    """
    nameless = replace(names, module="_", part="_")
    if names.part in _identifiers(*(_filled(f"{kind}/{source}.py", nameless, kind) for source in ("module", "test"))):
        raise UserError(f"{names.part!r} can't name a plugin: the {kind}'s code uses another thing of that name")
    target = folder / names.distribution
    texts = {
        "pyproject.toml": _filled("shared/pyproject.toml", names, kind),
        "README.md": _filled(
            "shared/README.md",
            names,
            kind,
            about=_filled(f"{kind}/about", names, kind).strip(),
            change=_filled(f"{kind}/change", names, kind).strip(),
        ),
        f"{names.module}/__init__.py": _filled(f"{kind}/module.py", names, kind),
        f"{names.module}/recipes/{names.recipe}.gin": _filled(f"{kind}/recipe.gin", names, kind),
        f"tests/test_{names.name}.py": _filled(f"{kind}/test.py", names, kind),
    }
    try:
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise UserError(f"{target} is there already, and nothing is overwritten: choose another name or another -o")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{names.distribution}-", dir=folder) as temporary:
            made = Path(temporary) / names.distribution
            for name, text in texts.items():
                file = made / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            made.rename(target)
    except OSError as error:
        raise UserError(f"{target} can't be written: {error.strerror or error}") from error
    return [target / name for name in texts]


def _filled(template: str, names: Names, kind: Kind, **more: str) -> str:
    file = files("acaikit") / "scaffold" / "templates" / f"{template}.txt"
    return Template(file.read_text(encoding="utf-8")).substitute(asdict(names), kind=kind, **more)


def _identifiers(*sources: str) -> set[str]:
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    return {n.id for n in nodes if isinstance(n, ast.Name)} | {n.name for n in nodes if isinstance(n, ast.alias)}
