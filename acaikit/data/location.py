"""Where datasets look for their files."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "ACAIKIT_DATA"


def data_dir() -> Path:
    """Return the data folder: ``ACAIKIT_DATA`` where it is set, else the user's cache folder."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else user_cache_path("acaikit") / "data"
