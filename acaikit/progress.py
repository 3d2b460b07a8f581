"""What takes its time, shown in a terminal: downloads, preparations, long measurements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

console = Console(stderr=True)
"""Where it is shown; quiet where the user wants no word."""


class Advance(Protocol):
    """Tells how much more is done: bytes, or examples, or whatever is counted."""

    def __call__(self, amount: int) -> None:
        """Add `amount`."""


@contextmanager
def progress(what: str, total: int, *, in_bytes: bool = False, done: int = 0) -> Iterator[Advance]:
    """Show a bar while the block runs: in a terminal a live one that goes away at the end, elsewhere one line."""
    if console.quiet or not console.is_terminal:
        console.print(what, markup=False, emoji=False, highlight=False, soft_wrap=True)
        yield lambda amount: None
        return
    amount = DownloadColumn() if in_bytes else TextColumn("{task.completed:,.0f}/{task.total:,.0f}")
    # Only the words give way where the line is too long.
    words = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
    columns = (words, BarColumn(bar_width=20), TaskProgressColumn(), amount, TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda amount: bar.advance(task, amount)


@contextmanager
def silent() -> Iterator[None]:
    """Show nothing while the block runs: another display has the terminal."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before
