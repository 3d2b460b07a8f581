"""Reasons to stop before the budget is spent: a signal, or a limit of time."""

from __future__ import annotations

import re
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from acaikit.errors import UserError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """Return the seconds in a text such as ``90``, ``90s``, ``1h30m`` or ``2d``.

    Raises
    ------
    UserError
        If the text is no duration.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?[smhd])+", text):
        raise UserError(f"{text!r} is no duration: write for example 45s, 30m, 2h or 1h30m")
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text))


class Stopper:
    """Says when to stop: after SIGINT or SIGTERM, or once `max_time` seconds have passed since the context was entered.

    A first signal only asks: the step in hand is finished and everything saved. After it the old handlers are back, so
    that a second Ctrl-C interrupts at once; published files are whole whenever that happens.

    Attributes
    ----------
    signal : int or None
        The signal that came.
    """

    def __init__(self, max_time: float | None = None) -> None:
        self.max_time = max_time
        self.signal: int | None = None
        self._old: dict[int, Any] = {}
        self._start = time.monotonic()

    def __call__(self) -> bool:
        """Whether to stop now."""
        return self.signal is not None or self.out_of_time

    @property
    def out_of_time(self) -> bool:
        """Whether the limit of time is reached."""
        return self.max_time is not None and time.monotonic() - self._start >= self.max_time

    def __enter__(self) -> Stopper:
        self._start = time.monotonic()
        # Python takes signal handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        while self._old:
            number, handler = self._old.popitem()
            signal.signal(number, handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
