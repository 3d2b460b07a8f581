"""A program in a process of its own, so that none shares threads, allocator or imports with another.

The parent writes a line for every turn, and the child answers with a line when it has trained.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from tempfile import TemporaryFile

DONE = "done\n"


@contextmanager
def child(
    program: str, recipe: str, batches: int, threads: int, environment: Mapping[str, str]
) -> Iterator[Callable[[], None]]:
    """Start a child process that makes a program, and give what lets it train once when called.

    Parameters
    ----------
    program : str
        ``module:function`` of this package.
    recipe : str
        What to train.
    batches, threads : int
        What the program is made with.
    environment : mapping of str to str
        Variables that the child has beside this process's.

    Raises
    ------
    SystemExit
        If the child has ended, with what it had to say.
    """
    command = [sys.executable, "-m", __name__, program, recipe, str(batches), str(threads)]
    variables = {**os.environ, **environment}
    pipe = subprocess.PIPE
    with (
        TemporaryFile("w+") as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, env=variables, text=True) as process,
    ):

        def wait() -> None:
            assert process.stdout is not None
            if process.stdout.readline() != DONE:
                log.seek(0)
                raise SystemExit(f"{' '.join(command)} has ended:\n{log.read()}")

        def train() -> None:
            print(file=process.stdin, flush=True)
            wait()

        wait()
        yield train


def main() -> None:
    """Make the program that the command line names, and train whenever the parent says so."""
    # Libraries print too, and the parent reads answers only.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    program, recipe, batches, threads = sys.argv[1:]
    module, _, function = program.partition(":")

    from acaikit.config import build, read_recipe
    from benchmarks.timing import as_the_command_line

    as_the_command_line(int(threads))
    make = getattr(import_module(f"benchmarks.peers.{module}"), function)
    train = make(build(read_recipe(recipe)), int(batches), int(threads))
    print(end=DONE, file=answers, flush=True)
    for _ in sys.stdin:
        train()
        print(end=DONE, file=answers, flush=True)


if __name__ == "__main__":
    main()
