"""From a figure to a PNG, PDF or SVG file.

The same figure gives the same bytes, as long as matplotlib stays the same.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from acaikit.artifacts.publish import publish
from acaikit.data.location import writable
from acaikit.errors import UserError
from acaikit.report.style import STYLE

NAMELESS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}
"""What each format would say of when and by what it was written, left out."""

EMBEDDED: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "acaikit", "savefig.bbox": None}
"""TrueType fonts in a PDF, whose words can be found; outlines in an SVG, which look alike where the font is missing."""


def ending(file: Path) -> str:
    """Return the format that a file's name asks for: "png", "pdf" or "svg".

    Raises
    ------
    UserError
        If it asks for another.
    """
    found = file.suffix.lower().removeprefix(".")
    if found not in NAMELESS:
        raise UserError(f"{file} can't be written: a figure's name ends in .png, .pdf or .svg")
    return found


def check(file: Path) -> None:
    """Raise `UserError` where a figure can't be written, which is better said before it is made."""
    ending(file)
    if not file.parent.is_dir():
        raise UserError(f"{file} can't be written: there is no folder {file.parent}")
    if file.is_dir():
        raise UserError(f"{file} can't be written: it is a folder")
    if not writable(file.parent):
        raise UserError(f"{file} can't be written: the folder {file.parent.resolve()} is read-only")


def save(figure: Figure, file: Path) -> None:
    """Write a figure, replacing the file if it is there.

    Raises
    ------
    UserError
        If its name has another ending than .png, .pdf and .svg.
    OSError
        If it can't be written; the previous file, if any, is intact.
    """
    form = ending(file)
    data = io.BytesIO()
    with matplotlib.rc_context(EMBEDDED):
        figure.savefig(data, format=form, dpi=STYLE["dpi"], facecolor="white", metadata=NAMELESS[form])
    publish(file, data.getvalue())
