"""Runs the Python blocks of a document in one namespace: asked on stdin, it answers on stdout.

A question is a line of JSON: the document's name and line, the folder, the file with the source, and the file for the
output. The answer is a line; there is none where the block fails, and the process ends.
"""

import json
import os
import sys
import traceback
from pathlib import Path

questions, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
namespace = {"__name__": "__main__"}
for question in questions:
    asked = json.loads(question)
    output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(asked["folder"])
    try:
        # Lines are counted as in the document.
        source = "\n" * (asked["line"] - 1) + Path(asked["source"]).read_text(encoding="utf-8")
        exec(compile(source, asked["document"], "exec"), namespace)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    sys.stdout.flush()
    print("done", file=answers, flush=True)
