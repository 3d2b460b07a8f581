"""Signs of ill health that last: said once they have held for two rows, and again only after they had gone."""

from __future__ import annotations

from collections.abc import Mapping

from acaikit.health import Sign

PATIENCE = 2
"""Rows: one may be chance."""


class Watch:
    """Remembers for how many rows in succession each warning has held."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def look(self, signs: Mapping[str, Sign]) -> list[str]:
        """Return the warnings to be said at this row."""
        self._held = {name: self._held.get(name, 0) + 1 for name, sign in signs.items() if sign.warning is not None}
        return [f"{name}: {signs[name].warning}" for name, rows in self._held.items() if rows == PATIENCE]
