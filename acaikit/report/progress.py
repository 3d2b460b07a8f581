"""How a run is going: a live bar in a terminal, a line per evaluation in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text
from torch import Tensor

from acaikit.engine import Trainer
from acaikit.types import Scores

REFRESH = 0.25
SETTLE = 10.0
LONG = 3600.0


def clock(seconds: float) -> str:
    """Return a duration as people say it: ``48s``, ``3m05s``, ``2h10m``, ``12d 3h``."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d {h}h"
    return f"{hours}h{m:02}m" if hours else f"{m}m{s:02}s" if m else f"{s}s"


def number(value: float) -> str:
    """Return a score with four significant digits, a whole number of up to six in full."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e6 else f"{value:.4g}"


class Reporter:
    """Tells a console how training goes.

    In a terminal: a live bar with speed and time left, the latest losses below it, and a line of scores per evaluation.
    Elsewhere: a line per evaluation. A quiet console is left alone.

    Parameters
    ----------
    console : rich.console.Console
        Where to write.
    trainer : Trainer
        Whose training this is.
    """

    def __init__(self, console: Console, trainer: Trainer) -> None:
        self.console, self.trainer = console, trainer
        self.start, self.first = time.monotonic(), trainer.samples
        self.refreshed = self.start
        self.warned = False
        self.losses = Text(style="dim", overflow="ellipsis", no_wrap=True)
        columns = (
            TextColumn("{task.fields[samples]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[speed]}  left {task.fields[left]}"),
        )
        self.bar = Progress(*columns, console=console, expand=True)
        self.task = self.bar.add_task("", total=trainer.budget, **self._fields())
        self.live: Live | None = None
        if console.is_terminal and not console.quiet:
            self.live = Live(Group(self.bar, self.losses), console=console, refresh_per_second=4)

    def __enter__(self) -> Reporter:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self._refresh()
            self.live.stop()

    @property
    def speed(self) -> float:
        """Training examples per second since this session began, evaluations included."""
        return (self.trainer.samples - self.first) / max(time.monotonic() - self.start, 1e-9)

    @property
    def left(self) -> float:
        """Seconds to the end of the budget at this speed."""
        return (self.trainer.budget - self.trainer.samples) / max(self.speed, 1e-9)

    def _fields(self) -> dict[str, Any]:
        known = self.trainer.samples > self.first
        return {
            "samples": f"{self.trainer.samples:,}/{self.trainer.budget:,}",
            "speed": f"{self.speed:,.0f} samples/s" if known else "",
            "left": clock(self.left) if known else "?",
        }

    def _refresh(self) -> None:
        self.bar.update(self.task, completed=self.trainer.samples, total=self.trainer.budget, **self._fields())

    def on_step(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        """Refresh the bar now and then; warn once if the run will take long on a CPU."""
        now = time.monotonic()
        if now - self.refreshed < REFRESH:
            return
        self.refreshed = now
        if self.live is not None:
            self._refresh()
            self.losses.plain = _pairs({name: loss.item() for name, loss in losses.items()})
        if not self.warned and now - self.start > SETTLE:
            self.warned = True
            if trainer.device.type == "cpu" and self.left > LONG:
                self.say(
                    f"at {self.speed:,.0f} samples/s this run will take about {clock(self.left)} on this CPU. "
                    "It can be stopped with Ctrl-C and resumed at any time. To see results sooner: a GPU "
                    f"(--device cuda), a smaller budget (--set Experiment.samples={2**17}), or acaikit run quickstart."
                )

    def on_row(self, trainer: Trainer, losses: dict[str, float], scores: Scores) -> None:
        """Write a line with the scores; where there is no bar, also the mean losses, the speed and the time left."""
        samples = f"{trainer.samples:>{len(f'{trainer.budget:,}')},}"
        if self.live is not None:
            self.say(f"{samples}  {_pairs(scores)}")
            return
        left = "done" if trainer.finished else f"left {clock(self.left)}"
        self.say(f"{samples}/{trainer.budget:,}  {self.speed:,.0f}/s  {_pairs(losses | scores)}  {left}")

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        self.console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _pairs(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {number(value)}" for name, value in values.items())
