"""Runs the code blocks of a document in order, and says at which line it doesn't do what it says."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from blocks import Block, read

BASH = """
set -euo pipefail
exec 3<&0 4>&1 </dev/null
while read -r statement <&3; do
    . "$statement" >"$statement.out" 2>&1 3<&- 4>&-
    echo "$PWD" >&4
done
"""


class BlockError(AssertionError):
    """A block doesn't do what the document says; the message begins with ``document:line``."""


class Asked:
    """A process that does one thing after another: it is sent a line for each, and answers with a line."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdin and self.process.stdout
        self.questions, self.answers = self.process.stdin, self.process.stdout

    def ask(self, question: str, limit: float) -> str | None:
        """Return the answer, or None where the process ends instead; TimeoutError after `limit` seconds."""
        with suppress(BrokenPipeError):  # it has ended, which shows when the answer is read
            self.questions.write(f"{question}\n".encode())
            self.questions.flush()
        ready, _, _ = select.select([self.answers], [], [], limit)
        if not ready:
            raise TimeoutError
        return self.answers.readline().decode().rstrip("\n") or None

    def close(self) -> None:
        """Kill the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with suppress(BrokenPipeError):
            self.questions.close()
        self.answers.close()


class Runner:
    """Runs blocks.

    Parameters
    ----------
    document : str
        What messages call it.
    folder : Path
        Where its commands begin.
    scratch : Path
        A folder for the runner's own files.
    environment : mapping
        Of all commands.
    limit : float
        Seconds that a command or a block of Python may take.
    """

    def __init__(
        self, document: str, folder: Path, scratch: Path, environment: Mapping[str, str], limit: float
    ) -> None:
        self.document, self.folder, self.scratch = document, folder, scratch
        self.environment, self.limit = environment, limit
        self.output = ""
        self.sources = 0
        self.bash = Asked(["bash", "--noprofile", "--norc", "-c", BASH], folder, environment)
        self.python: Asked | None = None

    def run(self, text: str) -> None:
        """Run the blocks of a document; BlockError at the first that fails."""
        ways: dict[str, Callable[[Block], None]] = {
            "sh": self._sh,
            "python": self._python,
            "gin": self._gin,
            "toml": lambda block: self._parse(block, tomllib.loads),
            "json": lambda block: self._parse(block, json.loads),
        }
        try:
            blocks = read(text)
        except ValueError as error:
            raise BlockError(f"{self.document}:{error}") from None
        for block in blocks:
            if block.role == "file":
                path = self.folder / block.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.role == "output":
                self._compare(block)
            elif block.language in ways and block.role != "tests":  # what CI itself begins with
                ways[block.language](block)

    def close(self) -> None:
        """End the processes that blocks run in."""
        self.bash.close()
        if self.python is not None:
            self.python.close()

    def _sh(self, block: Block) -> None:
        for line, statement in statements(block):
            self.output = self._statement(statement, line)

    def _statement(self, statement: str, line: int) -> str:
        source = self._source(statement)
        folder, output = self._ask(self.bash, str(source), source, f"{self.document}:{line}: {statement.strip()}")
        if folder is None:
            code = self.bash.process.wait()
            raise BlockError(f"{self.document}:{line}: {statement.strip()}\nends with exit code {code}:\n{output}")
        self.folder = Path(folder)
        return output

    def _python(self, block: Block) -> None:
        if self.python is None:
            interpreter = str(Path(__file__).with_name("interpreter.py"))
            self.python = Asked(["python", interpreter], self.folder, self.environment)
        source = self._source(block.text)
        question = {
            "document": self.document,
            "line": block.line,
            "folder": str(self.folder),
            "source": str(source),
            "output": f"{source}.out",
        }
        where = f"{self.document}:{block.line}: this Python"
        done, output = self._ask(self.python, json.dumps(question), source, where)
        if done is None:
            lines = re.findall(rf'File "{re.escape(self.document)}", line (\d+)', output) or [block.line]
            raise BlockError(f"{self.document}:{lines[-1]}: this Python fails:\n{output}")

    def _gin(self, block: Block) -> None:
        recipe = self.folder / f"line_{block.line}.gin"
        recipe.write_text(block.text, encoding="utf-8")
        self._statement(f"acaikit show {recipe.name} --sizes", block.line)
        recipe.unlink()

    def _parse(self, block: Block, parse: Callable[[str], object]) -> None:
        try:
            parse(block.text)
        except ValueError as error:
            raise BlockError(f"{self.document}:{block.line}: this {block.language} is wrong: {error}") from None

    def _compare(self, block: Block) -> None:
        if not fits(block.text, self.output):
            raise BlockError(
                f"{self.document}:{block.line}: the output is said to be\n{block.text}\nbut it is\n{self.output}"
            )

    def _source(self, text: str) -> Path:
        self.sources += 1
        source = self.scratch / f"block{self.sources}"
        source.write_text(text, encoding="utf-8")
        return source

    def _ask(self, process: Asked, question: str, source: Path, what: str) -> tuple[str | None, str]:
        """Return the answer, None where there is none, and what was printed."""
        slow = False
        try:
            answer = process.ask(question, self.limit)
        except TimeoutError:
            answer, slow = None, True
        printed = Path(f"{source}.out")
        output = printed.read_text(encoding="utf-8", errors="replace") if printed.exists() else ""
        if slow:
            raise BlockError(f"{what}\ntakes longer than {self.limit:g} s:\n{output}")
        return answer, output


def statements(block: Block) -> Iterator[tuple[int, str]]:
    """Yield each whole statement of shell code, with its line in the document."""
    begun, start = "", block.line
    for number, line in enumerate(block.text.splitlines(keepends=True), block.line):
        if not begun:
            start = number
            if not line.strip() or line.lstrip().startswith("#"):
                continue
        begun += line
        if _whole(begun):
            yield start, begun
            begun = ""
    if begun:
        yield start, begun


def _whole(code: str) -> bool:
    # Of a here-document that has no end yet bash only complains.
    parsed = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True, check=False)
    return parsed.returncode == 0 and not parsed.stderr and not code.endswith("\\\n")


def fits(said: str, output: str) -> bool:
    """Return whether `output` is as it is said to be, where ``...`` stands for anything, and alone for any lines."""
    pattern = ""
    for line in said.strip("\n").splitlines():
        words = ".*".join(re.escape(part) for part in line.rstrip().split("..."))
        pattern += r"(?:.*\n)*?" if line.strip() == "..." else rf"{words}\n"
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None
