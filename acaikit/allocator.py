"""The C library's allocator: keeping freed memory for the next step, in place of handing it back to the system."""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>."""
_KEPT = 1 << 30
"""Bytes that may lie unused before they are handed back, and the largest block that is kept."""
_OLD_LARGEST = 1 << 25
"""The largest such block before glibc 2.35, which refuses more."""
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES")
"""Environment variables by which the user tunes glibc himself."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, up to 1 GiB of it, for what it allocates next.

    By default glibc's malloc gets each larger block (from 128 KiB, later up to 32 MiB) from the system and hands it
    back when it is freed, or hands back the end of its heap, and each page of the next one is a page fault: some
    thousands at every training step, since a step allocates and frees its activations. Kept, they cost that once. The
    process grows larger, as what is free is not always of the size that is wanted: ``python -m benchmarks.memory``
    measures by how much. See mallopt(3).

    The command line calls it. A script may, before its first tensor.

    Returns
    -------
    bool
        Whether it was done: not on a system without glibc, nor where the environment tunes malloc already
        (``MALLOC_TRIM_THRESHOLD_`` and its like, or ``GLIBC_TUNABLES``).
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _CHOSEN):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return any(mallopt(_MMAP_THRESHOLD, size) for size in (_KEPT, _OLD_LARGEST)) and bool(
        mallopt(_TRIM_THRESHOLD, _KEPT)
    )
