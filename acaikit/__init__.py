"""acaikit: a research toolkit for autoencoders and what lies between two points of a latent space."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acaikit.runs.opened import OpenRun as OpenRun
    from acaikit.runs.opened import open_run as open_run

# libhdf5 reads this when h5py is imported: it then loads no filters from foreign libraries. Whoever set it keeps it.
os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")

__version__ = version("acaikit")
__all__ = ["OpenRun", "__version__", "open_run"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `acaikit --help` and shell completion don't pay for importing torch.
    if name in ("OpenRun", "open_run"):
        from acaikit.runs import opened

        return getattr(opened, name)
    raise AttributeError(f"module 'acaikit' has no attribute {name!r}")
