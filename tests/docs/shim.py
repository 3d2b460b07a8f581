"""Stands in for a command: hands arguments, environment, folder and open files to the fork server, and waits.

It is started as ``python -S -E shim.py NAME ARGUMENTS``, and imports next to nothing.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as link:
    link.connect(os.environ["FORK_SERVER"])
    folder = os.getcwd()  # noqa: PTH109 (to import pathlib takes longer than all the rest)
    call = json.dumps({"argv": sys.argv[1:], "folder": folder, "environment": dict(os.environ)}).encode()
    socket.send_fds(link, [len(call).to_bytes(8, "big")], [0, 1, 2])
    link.sendall(call)
    answer = link.recv(1)
sys.exit(answer[0] if answer else "the fork server has ended")
