"""The code blocks of a Markdown document."""

from __future__ import annotations

import re
from dataclasses import dataclass

CODE = ("sh", "python", "gin", "toml", "json", "text", "")
_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})\s*(?P<language>\S*).*")
_COMMENT = re.compile(r"\s*<!-- (?P<role>file|output|tests)(?:: (?P<path>\S+))? -->\s*")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes
    ----------
    language : str
        What follows the fence.
    text : str
        The lines between the fences, without the fence's indentation.
    line : int
        Where in the document the first of them stands, from 1.
    role : str
        "file", "output" or "tests" where a comment directly above the fence says so, else "".
    path : str
        The file whose content the block is.
    """

    language: str
    text: str
    line: int
    role: str = ""
    path: str = ""


def read(document: str) -> list[Block]:
    """Return the blocks in order, MyST's directives left out.

    Raises
    ------
    ValueError
        If a block's language is not one of `CODE`, or its fence is never closed; the message begins with the line.
    """
    lines = document.splitlines()
    blocks, number = [], 0
    while number < len(lines):
        if opened := _FENCE.fullmatch(lines[number]):
            begin, end = number + 1, number + 1
            closing = re.compile(rf" *{opened['fence'][0]}{{{len(opened['fence'])},}}\s*")
            while end < len(lines) and not closing.fullmatch(lines[end]):
                end += 1
            if end == len(lines):
                raise ValueError(f"{number + 1}: this fence is never closed")
            language = opened["language"]
            if not language.startswith("{"):
                if language not in CODE:
                    raise ValueError(f"{number + 1}: {language!r} is none of {', '.join(CODE[:-1])}")
                said = _COMMENT.fullmatch(lines[number - 1]) if number else None
                text = "".join(f"{line.removeprefix(opened['indent'])}\n" for line in lines[begin:end])
                blocks.append(Block(language, text, begin + 1, *(said.groups("") if said else ())))
            number = end
        number += 1
    return blocks
