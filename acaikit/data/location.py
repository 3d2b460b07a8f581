"""Where datasets look for their files, and where they keep what they prepared from them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from platformdirs import user_cache_path

from acaikit.errors import UserError

VARIABLE = "ACAIKIT_DATA"


def data_dir() -> Path:
    """Return the data folder: ``ACAIKIT_DATA`` where it is set, else the user's cache folder."""
    chosen = os.environ.get(VARIABLE)
    return expand(VARIABLE, chosen) if chosen else _cache()


def expand(what: str, path: str | os.PathLike[str]) -> Path:
    """Return `path` with its ``~`` written out, or raise `UserError`, where `what` says which path it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{what} = {str(path)!r}: {error}") from error


def prepared_files(name: str, key: str = "") -> list[Path]:
    """Return where a prepared set may lie, in the order in which the places are tried.

    Parameters
    ----------
    name : str
        The set's name, which the file's name begins with.
    key : str
        What tells sets of one name apart, such as the folder that they were read from.

    Returns
    -------
    list of Path
        In the data folder; and in the user's cache folder, for a data folder that can't be written.
    """
    beside = data_dir() / "prepared" / f"{name}{_digest(key)}.h5"
    away = _cache() / "prepared" / f"{name}{_digest(key + str(data_dir().resolve()))}.h5"
    return [beside, away] if data_dir() != _cache() else [beside]


def writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`, or in its nearest parent that exists.

    A folder whose mode forbids writing counts as read-only for root too.
    """
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


def _cache() -> Path:
    return user_cache_path("acaikit") / "data"


def _digest(key: str) -> str:
    return f"-{hashlib.sha256(key.encode()).hexdigest()[:12]}" if key else ""
