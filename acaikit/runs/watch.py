"""Signs of ill health that last: said once they have held for two rows, again once they are gone, and so on."""

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
        """Return what is to be said at this row: warnings, and which of those said before hold no more."""
        before = self._held
        self._held = {name: rows for name, rows in before.items() if name not in signs}  # nothing was seen of those
        for name, sign in signs.items():
            if sign.warning is not None:
                self._held[name] = before.get(name, 0) + 1
        lasting = [name for name in signs if self._held.get(name) == PATIENCE]
        well = [name for name in signs if before.get(name, 0) >= PATIENCE and name not in self._held]
        return [*(f"{name}: {signs[name].warning}" for name in lasting), *(f"{name}: well again" for name in well)]
