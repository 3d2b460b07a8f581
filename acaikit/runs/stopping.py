"""What reaches a run from outside: signals to stop or to save, and a limit of time."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from acaikit.errors import UserError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
STOPPING = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
"""Those of them that the platform has."""
SAVING: int | None = getattr(signal, "SIGUSR1", None)


class Interrupted(KeyboardInterrupt):
    """A second signal: whatever is being done ends here. Files are published whole, so that none is harmed.

    Attributes
    ----------
    signal : int
        Which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


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
    """Says when to stop: after a signal of `STOPPING`, or once `max_time` seconds have passed since it was entered.

    A first signal only asks: the step in hand is finished and everything saved. A second raises `Interrupted`, and a
    third finds the handlers of before. What the parent process made us ignore, as nohup does SIGHUP, is still ignored.

    Parameters
    ----------
    max_time : float, optional
        Seconds.
    save : callable, optional
        Called when SIGUSR1 comes, between two lines of whatever runs then: it should do no more than take a note.

    Attributes
    ----------
    signal : int or None
        The signal that asked to stop.
    """

    def __init__(self, max_time: float | None = None, save: Callable[[], None] | None = None) -> None:
        self.max_time, self.save = max_time, save
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
            for number in STOPPING:
                # A shell's script ignores Ctrl-C for what it starts with &; one that is sent on purpose still counts.
                if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                    self._old[number] = signal.signal(number, self._stop)
            if SAVING is not None and self.save is not None:
                self._old[SAVING] = signal.signal(SAVING, self._save)
        return self

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self._restore()
            raise Interrupted(number)
        self.signal = number

    def _save(self, number: int, frame: FrameType | None) -> None:
        if self.save is not None:
            self.save()

    def _restore(self) -> None:
        while self._old:
            number, handler = self._old.popitem()
            signal.signal(number, handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
