"""What reaches a run from outside: signals to stop or to save, and a limit of time."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType
from typing import Any, TypeAlias

from acaikit.errors import UserError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
STOPPING = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
"""Those of them that the platform has."""
SAVING: int | None = getattr(signal, "SIGUSR1", None)
TOGETHER = 0.5
"""Seconds within which several signals are one: a wrapper passes on the Ctrl-C that the terminal has sent us too."""

Handler: TypeAlias = Callable[[int, FrameType | None], Any]


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


@contextmanager
def handling(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Handle signals while the block runs; in a thread, where Python takes no handlers, do nothing."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number, handler in handlers.items() if main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Starting:
    """What reaches a command that doesn't train (yet): a request to save is remembered, and Ctrl-C ends it at once.

    That holds where Ctrl-C was ignored as well, as a script's shell has it for what it starts with &: one that is sent
    on purpose counts, and does so from the beginning.

    Attributes
    ----------
    asked : bool
        Whether SIGUSR1 has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._handling = ExitStack()

    def __enter__(self) -> Starting:
        handlers: dict[int, Handler] = {} if SAVING is None else {SAVING: self._ask}
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            handlers[signal.SIGINT] = signal.default_int_handler
        self._handling.enter_context(handling(handlers))
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __exit__(self, *_: object) -> None:
        self._handling.close()


class Stopper:
    """Says when to stop: after a signal of `STOPPING`, or once `max_time` seconds have passed since it was entered.

    A first signal only asks: the step in hand is finished and everything saved. A later one raises `Interrupted`,
    unless it comes within half a second of the one before. What the parent process made us ignore, as nohup does
    SIGHUP, is still ignored, but for Ctrl-C (see `Starting`).

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
        self._start = time.monotonic()
        self._last = 0.0
        self._handling = ExitStack()

    def __call__(self) -> bool:
        """Whether to stop now."""
        return self.signal is not None or self.out_of_time

    @property
    def out_of_time(self) -> bool:
        """Whether the limit of time is reached."""
        return self.max_time is not None and time.monotonic() - self._start >= self.max_time

    def __enter__(self) -> Stopper:
        self._start = time.monotonic()
        handlers: dict[int, Handler] = {
            number: self._stop
            for number in STOPPING
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
        }
        if SAVING is not None and self.save is not None:
            handlers[SAVING] = self._save
        self._handling.enter_context(handling(handlers))
        return self

    def _stop(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._last = number, now
        elif now - self._last >= TOGETHER:
            self._last = now
            raise Interrupted(number)

    def _save(self, number: int, frame: FrameType | None) -> None:
        if self.save is not None:
            self.save()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handling.close()
