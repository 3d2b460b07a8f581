"""What every command shares: consoles, errors, and output as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console

out = Console()
err = Console(stderr=True)


def fail(message: str) -> None:
    """Print an error; brackets and colons in it are shown as they are."""
    err.print("[bold red]error:[/] ", end="")
    say(message)


def say(message: str, console: Console = err) -> None:
    """Print a line as it is."""
    console.print(message, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON object on one line; numbers that JSON lacks (NaN, infinity) become null."""
    print(json.dumps(_plain(value), ensure_ascii=False))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
