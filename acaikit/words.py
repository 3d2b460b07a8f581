"""Numbers and lists in messages."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, what: str) -> str:
    """Return ``1 run`` or ``3 runs``."""
    return f"{number} {what}{'s' * (number != 1)}"


def few(names: Sequence[str], most: int) -> str:
    """Return ``a, b, c and 5 more``: `most` names in full at most."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
