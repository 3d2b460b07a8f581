"""A layer under everything that changes files: each call of `os` on what lies below one folder passes through it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

ON_DESCRIPTORS = ("write", "fsync", "close")
ON_PATHS = ("open", "replace", "rename", "unlink", "mkdir")


class Call(NamedTuple):
    """One call: of which function, on which path relative to the folder, and what carries it out.

    Attributes
    ----------
    do : callable
        Carries it out as it is.
    again : callable
        The function itself, for other arguments.
    """

    name: str
    path: str
    args: tuple[Any, ...]
    do: Callable[[], Any]
    again: Callable[..., Any]


@contextlib.contextmanager
def layer(root: Path, around: Callable[[Call], Any]) -> Iterator[None]:
    """Let `around` answer each call below `root`, by ``call.do()`` or in its own way, while the block runs.

    What `pathlib` and acaikit do goes through these functions; what the built-in ``open`` does stays unseen.
    """
    opened: dict[int, str] = {}

    def below(path: Any) -> str | None:
        path = Path(os.fspath(path))
        return str(path.relative_to(root)) if path.is_relative_to(root) else None

    def on_path(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            if (relative := below(path)) is None:
                return real(path, *args, **kwargs)
            others = tuple(map(below, args)) if name in ("replace", "rename") else args
            result = around(Call(name, relative, others, lambda: real(path, *args, **kwargs), real))
            if name == "open":
                opened[result] = relative
            return result

        return call

    def on_descriptor(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(descriptor: int, *args: Any) -> Any:
            if descriptor not in opened:
                return real(descriptor, *args)
            path = opened.pop(descriptor) if name == "close" else opened[descriptor]
            return around(Call(name, path, (descriptor, *args), lambda: real(descriptor, *args), real))

        return call

    with contextlib.ExitStack() as patches:
        for make, names in ((on_path, ON_PATHS), (on_descriptor, ON_DESCRIPTORS)):
            for name in names:
                patches.enter_context(mock.patch.object(os, name, make(name, getattr(os, name))))
        yield
