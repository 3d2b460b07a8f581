"""Runs commands in forks of one process that has imported everything, which saves each of them some three seconds.

It is started as ``python fork_server.py SOCKET MIRROR``, prints a line when it is ready, and is asked by `shim`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import site
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import beforehand
import commands
import torch

import acaikit

LATE = ("matplotlib.backends.backend_agg", "pytest", "scipy.io", "sklearn.cluster", "torch._dynamo")
"""What acaikit or its libraries import only when they need it."""
OURS = (Path(__file__).parent, Path(__file__).parents[1] / "data")
"""Folders of modules that are no command's business."""


def warm_up() -> None:
    """Import all that a command may need; no thread may run, as none survives a fork."""
    torch.set_num_threads(1)
    modules = (found.name for found in pkgutil.walk_packages(acaikit.__path__, "acaikit."))
    for name in (*LATE, *(name for name in modules if name != "acaikit.__main__")):
        importlib.import_module(name)
    # What is collected in a fork is copied to it first.
    gc.collect()
    gc.freeze()


def serve(address: str) -> None:
    """Answer one connection after another, each in a process of its own, until the process is killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while True:
            link, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                answer(link)
                os._exit(0)
            link.close()


def answer(link: socket.socket) -> None:
    """Run what is asked for in one more process, and tell its exit code; kill it where nobody waits for it any more."""
    size, files, _, _ = socket.recv_fds(link, 8, 3)
    with link.makefile("rb") as stream:
        call = json.loads(stream.read(int.from_bytes(size, "big")))
    alive, held = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(alive)
        link.close()
        # Not by sys.exit: to take down all that was imported takes seconds.
        os._exit(work(call, files))
    os.close(held)
    ended, _, _ = select.select([alive, link], [], [])
    if alive not in ended:
        os.kill(worker, signal.SIGKILL)
    _, status = os.waitpid(worker, 0)
    code = os.waitstatus_to_exitcode(status)
    with suppress(OSError):
        link.send(bytes([code if code >= 0 else 128 - code]))


def work(call: dict[str, Any], files: list[int]) -> int:
    """Become the command; return its exit code."""
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(call["environment"])
    os.chdir(call["folder"])
    given = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:] = [*given, *(folder for folder in sys.path if Path(folder) not in OURS)]
    site.addsitedir(os.environ["SITE"])
    sys.executable = str(Path(os.environ["SHIMS"], "python"))  # so that what a command starts is as fast
    importlib.invalidate_caches()
    code: object = 1
    try:
        commands.run(*call["argv"])
        code = 0
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 1


if __name__ == "__main__":
    warm_up()
    beforehand.publish(Path(sys.argv[2]))
    serve(sys.argv[1])
