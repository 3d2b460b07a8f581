"""A study's status as rich prints it: counts, a mark for every run, what runs, what failed and why."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from acaikit.studies.layout import StudyDir
from acaikit.studies.outcome import Stage
from acaikit.studies.pace import roughly
from acaikit.studies.status import Phase, RunStatus, Status

MARKS = {Phase.DONE: "✓", Phase.RUNNING: "●", Phase.FAILED: "✗", Phase.WAITING: "·"}
STYLES = {Phase.DONE: "green", Phase.RUNNING: "bold cyan", Phase.FAILED: "bold red", Phase.WAITING: "dim"}
BAR = 8
"""Characters of a run's bar, at least."""
NAME = 0.4
"""Share of the width that a name has beside other columns, at most."""
LONGEST = 400
"""Characters of what a failed run said, at most."""
APART = 12
"""Marks in a row that have spaces between them, at most."""


@dataclass(frozen=True)
class Overview:
    """What rich prints of a study's status.

    Parameters
    ----------
    status : Status
        What `acaikit.studies.status.look` returned.
    fits : bool
        Whether experiments of which nothing runs and nothing failed are left out where the terminal has too few lines
        for all: for a display that can't be scrolled.
    """

    status: Status
    fits: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the parts from top to bottom."""
        rows = self._rows()
        whole = Group(*self._parts(rows, options.max_width))
        if self.fits and len(console.render_lines(whole, options, pad=False)) >= options.size.height:
            telling = [row for row in rows if any(run.phase in (Phase.RUNNING, Phase.FAILED) for run in row)]
            whole = Group(*self._parts(telling, options.max_width))
        yield whole

    def _parts(self, rows: Sequence[Sequence[RunStatus]], width: int) -> Iterator[RenderableType]:
        status = self.status
        left = f"about {roughly(status.left)} left" if status.left is not None else ""
        top = Table.grid(Column(ratio=1, no_wrap=True, overflow="ellipsis"), Column(no_wrap=True), expand=True)
        top.add_row(Text.assemble((status.study, "bold"), f"  {len(status.runs)} runs in {status.path}"), Text(left))
        yield top
        bar = Table.grid(Column(ratio=1), expand=True)  # which ends the line that a bar alone leaves open
        bar.add_row(_bar(status.fraction))
        yield bar
        counts = {phase: len(status.those(phase)) for phase in Phase}
        yield Text("   ").join(Text(f"{MARKS[phase]} {counts[phase]} {phase}", STYLES[phase]) for phase in Phase)
        yield from _section("experiments", self._marks(rows, width))
        yield from _section("running", self._running(width))
        yield from _section("failed", self._failed())
        yield from _section("waiting", self._waiting(width))

    def _rows(self) -> list[list[RunStatus]]:
        """Return the runs of each experiment."""
        return list(_by(self.status.runs, lambda run: (run.run.recipe, run.run.overrides, _experiment(run))).values())

    def _marks(self, rows: Sequence[Sequence[RunStatus]], width: int) -> Iterator[RenderableType]:
        seeds = list(dict.fromkeys(run.run.seed for run in self.status.runs))
        hidden = len(self._rows()) - len(rows)
        more = f"; {hidden} experiments left out" if hidden else ""
        yield Text(f"seeds {_numbers(seeds)} from left to right{more}", "dim")
        between = " " if len(seeds) <= APART else ""
        room = width - len(between.join("·" * len(seeds))) - 4
        longest = min(max((len(_experiment(row[0])) for row in rows), default=0), max(room, 8))
        lines = []
        for row in rows:
            name = _shorten(_experiment(row[0]), longest)
            marks = Text(between).join(Text(MARKS[run.phase], STYLES[run.phase]) for run in row)
            lines.append(Text.assemble(f"{name:{longest}}", "  ", marks))
        yield Columns(lines, padding=(0, 4), equal=True, column_first=True)

    def _running(self, width: int) -> Iterator[RenderableType]:
        lines = _grid(
            Column(no_wrap=True),
            Column(ratio=1, min_width=BAR),
            Column(justify="right", no_wrap=True),
            Column(justify="right", no_wrap=True),
            Column(no_wrap=True),
            Column(no_wrap=True, overflow="ellipsis", style="dim"),
        )
        for run in self.status.those(Phase.RUNNING):
            known = (f"{run.fraction:.0%}", f"{_short(run.samples)}/{_short(run.budget)}") if run.budget else ("", "")
            name = _shorten(run.run.name, int(NAME * width))
            lines.add_row(Text(name), _bar(run.fraction), *map(Text, (*known, _time(run), _where(run))))
        if lines.rows:
            yield lines

    def _failed(self) -> Iterator[RenderableType]:
        for group in _by(self.status.those(Phase.FAILED), lambda run: (run.stage, run.said)).values():
            run = group[0]
            again = f", begun again {run.retries} time{'s' * (run.retries > 1)}" if run.retries else ""
            yield Text.assemble(_names(group), (f"  in {run.stage}{again}", "dim"))
            yield Padding(Text(_shorten(run.said, LONGEST), "red"), (0, 0, 0, 4))
            yield Padding(Text(str(StudyDir(self.status.path).log(run.run.name)), "dim"), (0, 0, 0, 4))

    def _waiting(self, width: int) -> Iterator[RenderableType]:
        lines = _grid(Column(no_wrap=True), Column(ratio=1), Column(no_wrap=True, overflow="ellipsis", style="dim"))
        telling = [run for run in self.status.those(Phase.WAITING) if run.said]
        for group in _by(telling, lambda run: run.said).values():
            name = _shorten(_names(group), int(NAME * width))
            lines.add_row(*map(Text, (name, group[0].said, _where(group[0]))))
        if lines.rows:
            yield lines


def _section(title: str, parts: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """Yield a title and what stands under it; nothing where nothing does."""
    found = list(parts)
    if found:
        yield Text(f"\n{title}", "bold")
        yield from found


def _grid(*columns: Column) -> Table:
    return Table.grid(*columns, padding=(0, 2, 0, 0), expand=True)


def _bar(fraction: float) -> ProgressBar:
    return ProgressBar(total=1, completed=fraction, complete_style="cyan", finished_style="green")


def _by(runs: Iterable[RunStatus], key: Callable[[RunStatus], Hashable]) -> dict[Hashable, list[RunStatus]]:
    found: dict[Hashable, list[RunStatus]] = defaultdict(list)
    for run in runs:
        found[key(run)].append(run)
    return found


def _experiment(run: RunStatus) -> str:
    return run.run.name.removesuffix(f"-s{run.run.seed}")


def _names(runs: Sequence[RunStatus]) -> str:
    return runs[0].run.name + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")


def _shorten(text: str, most: int) -> str:
    """Return a text without its middle where it is too long: the end of a name, with the seed, tells runs apart."""
    end = most // 2
    return text if len(text) <= most else f"{text[: most - end - 1]}…{text[len(text) - end :]}"


def _where(run: RunStatus) -> str:
    return "" if run.where == socket.gethostname() else run.where


def _numbers(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _short(samples: int) -> str:
    """Return a number with three digits: ``131k``, ``4.19M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if samples >= 0.9995 * size:  # 999,999 are 1M, not 1000k
            return f"{samples / size:.3g}{unit}"
    return str(samples)


def _time(run: RunStatus) -> str:
    if run.left is not None:
        return f"about {roughly(run.left)} left"
    doing = "measured" if run.stage is Stage.EVALUATION else "trained"
    return f"{doing} for {roughly(run.lasted)}" if run.lasted is not None else f"is {doing}"
