"""From a recipe to its bindings: includes, precedence, overrides and names.

Precedence is the order of inclusion and nothing else: a file's own bindings stand above those of the files it includes,
wherever in the file they are. Two files that bind the same parameter to different values, neither of which includes the
other, are an error, unless a file above them settles it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from acaikit.config.faults import Fault, Gaps
from acaikit.config.pieces import SHOWN
from acaikit.config.resolve import Config, Key, mentioned, write
from acaikit.config.syntax import OVERRIDE, Binding, Broken, Include, Reference, Where, parse
from acaikit.errors import UserError
from acaikit.recipes import home, is_file, recipe_root
from acaikit.registry import find, nearest, parts

LONGEST = 2**15
"""Bytes that a recipe and all that it includes have at most."""
DEEPEST = 20
"""Files that include one another in a chain, at most."""


class Reader:
    """Collects bindings, which file includes which, and faults; then settles precedence.

    Where a name is a misspelling, the nearest one is taken in its place, to find what else is wrong.
    """

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.homes: dict[str, str | None] = {}
        self.included: dict[str, Where] = {}
        self.below: dict[str, set[str]] = defaultdict(set)
        self.bindings: dict[Key, list[Binding]] = defaultdict(list)
        self.faults: list[Fault] = []
        self.gaps = Gaps()
        self.stack: list[str] = []
        self.shown: dict[Path, str] = {}
        self.size = 0

    def file(self, path: Path, included: Where | None = None) -> None:
        """Read a file and all that it includes; `included` is where that is asked for."""
        resolved = path.resolve()
        name = self.shown.setdefault(resolved, str(path))
        where = included or Where(name, 1)
        if name in self.stack:
            chain = " includes ".join([*self.stack[self.stack.index(name) :], name])
            self.faults.append(Fault(where, f"a circle of includes: {chain}"))
            return
        for above in self.stack:
            self.below[above] |= {name} | self.below[name]
        if name in self.sources:
            return
        if included:
            self.included[name] = included
        try:
            content = self._content(resolved)
        except (OSError, UnicodeDecodeError) as error:
            self._lose(where, f"{name if included else 'the file'} can't be read: {error}")
            return
        self.homes[name] = home(resolved)
        self.text(content, name, resolved.parent)

    def _content(self, path: Path) -> str:
        """Return a file's text, of which all files together have a limited length."""
        with path.open("rb") as file:
            content = file.read(max(LONGEST - self.size, 0) + 1)
        self.size += len(content)
        if self.size > LONGEST:
            raise OSError(f"a recipe and all that it includes has {LONGEST:,} bytes at most")
        return content.decode("utf-8-sig")

    def _lose(self, where: Where, said: str) -> None:
        """Note that a file could not be read."""
        self.faults.append(Fault(where, said))
        self.gaps.open = True

    def text(self, text: str, name: str, folder: Path | None) -> None:
        """Read the text of a file that lies in `folder`; without one, includes are refused."""
        self.sources[name] = text
        own: dict[Key, Binding] = {}
        self.stack.append(name)
        for statement in parse(text, name):
            match statement:
                case Include():
                    self._include(statement, folder)
                case Binding():
                    self._bind(statement, own)
                case Broken():
                    self._pass_over(statement, own)
        self.stack.pop()

    @property
    def home(self) -> str | None:
        """The distribution that brings the recipe itself."""
        return next(iter(self.homes.values()), None)

    def override(self, text: str) -> None:
        """Read a binding that stands above all files."""
        name = f"{OVERRIDE}{text!r}"
        files = {file for file in (*self.sources, *self.below) if not file.startswith(OVERRIDE)}
        self._place_above(files, text, Where(name, 1), {}, "--set ACAI.weight=1.0")

    def above(self, texts: Sequence[tuple[str, Where]]) -> None:
        """Read bindings that stand above all files, each of them once; each is a text that a file has at that place."""
        files = {*self.sources, *self.below} - {where.file for _, where in texts}
        own: dict[Key, Binding] = {}
        for text, where in texts:
            self._place_above(files, text, where, own, "'ACAI.weight = 1.0'")

    def _place_above(self, files: set[str], text: str, where: Where, own: dict[Key, Binding], example: str) -> None:
        """Read bindings that stand above `files`."""
        self.below[where.file] = files
        self.homes[where.file] = self.home
        self.sources[where.file] = text
        statements = parse(text, where.file, where.line)
        if not statements:
            self.faults.append(Fault(where, f"there is no binding in it; write for example {example}"))
        for statement in statements:
            match statement:
                case Include():
                    self.faults.append(Fault(statement.where, "a binding is expected, not an include"))
                case Binding():
                    self._bind(statement, own)
                case Broken():
                    self._pass_over(statement, own)

    def _pass_over(self, broken: Broken, own: dict[Key, Binding]) -> None:
        if broken.why is not None:
            self.faults.append(Fault(broken.where, broken.why))
        self.gaps.mentioned |= broken.mentioned
        faults = len(self.faults)
        key = self._bind(broken.binding, own) if broken.binding else None
        del self.faults[faults:]  # one fault per statement will do
        if key:
            self.gaps.guessed.add(key)
        self.gaps.bound |= broken.bound

    def _include(self, include: Include, folder: Path | None) -> None:
        if folder is None:
            self.faults.append(Fault(include.where, "a resolved recipe has no includes"))
            return
        if len(self.stack) > DEEPEST:
            self._lose(include.where, f"more than {DEEPEST} files include one another")
            return
        said = f"include {include.file[:SHOWN]!r}"
        allowed = [folder, recipe_root()]
        inside = [root / include.file for root in allowed if _inside(root / include.file, allowed)]
        found = next((path for path in inside if is_file(path)), None)
        if found is not None:
            self.file(found, include.where)
        elif len(inside) < len(allowed):
            where = f"outside {folder} and acaikit's own recipes"
            self._lose(include.where, f"{said} lies {where}: put a copy beside the recipe")
        else:
            where = f"neither in {folder} nor among acaikit's own recipes"
            near = nearest(include.file, _to_include(include.file, allowed))
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the latter are in {allowed[1]}"
            self._lose(include.where, f"{said} is found {where}: {hint}")

    def _bind(self, binding: Binding, own: dict[Key, Binding]) -> Key | None:
        """Take a binding in, and return its key; None if nobody can know the part."""
        before = len(self.faults)
        name = self._full_name(binding.name, binding.where) if binding.name else ""
        full = replace(binding, name=name or "", value=self._with_full_names(binding.value, binding.where))
        guessed = len(self.faults) > before
        if name is None:
            self.gaps.bound.add(full.parameter)
            self.gaps.mentioned |= {subject.lstrip("%").rpartition(".")[2] for subject in mentioned(full.value)}
            return None
        if full.key not in own:
            own[full.key] = full
            self.bindings[full.key].append(full)
        elif not guessed and full.key not in self.gaps.guessed:
            said = f"{binding.label} is bound a second time; the first is {own[full.key].where}: keep one of them"
            self.faults.append(Fault(binding.where, said))
        if guessed:
            self.gaps.guessed.add(full.key)
        return full.key

    def _full_name(self, name: str, where: Where) -> str | None:
        """Return a part's full name; of the nearest part where none has the name, None where none is near."""
        try:
            return find(name, home=self.homes.get(where.file)).full_name
        except UserError as error:
            self.faults.append(Fault(where, str(error)))
        with suppress(IndexError, UserError):  # UserError: two distributions have the nearest one
            near = nearest(name.rpartition(".")[2], [part.name for part in parts()])[0]
            return find(near, home=self.homes.get(where.file)).full_name
        return None

    def _with_full_names(self, value: Any, where: Where) -> Any:
        match value:
            case Reference():
                name = self._full_name(value.name, where)
                if name is None:
                    self.gaps.unknown_part = True
                    return None
                return replace(value, name=name)
            case list() | tuple():
                return type(value)(self._with_full_names(v, where) for v in value)
            case dict():
                return {self._with_full_names(k, where): self._with_full_names(v, where) for k, v in value.items()}
            case _:
                return value

    def settle(self) -> Config:
        """Return the bindings that count, as far as they could be read."""
        settled: dict[Key, Binding] = {}
        given_up: list[tuple[Binding, Binding]] = []
        for key, candidates in self.bindings.items():
            top = [b for b in candidates if not any(self._above(other.where, b.where) for other in candidates)]
            if any(write(b.value) != write(top[0].value) for b in top) and key not in self.gaps.guessed:
                said = "; ".join(f"{b.where} says {write(b.value)}" for b in top)
                how, hint = "in files of equal rank", "bind it in the file that includes them"
                if top[0].where.file.startswith(OVERRIDE):  # then all are, which stand above all files
                    how, hint = "on the command line", "keep one of them"
                fault = f"{top[0].label} is bound differently {how}: {said}: {hint}"
                self.faults.append(Fault(top[0].where, fault))
            settled[key] = top[0]
            given_up += [(b, top[0]) for b in candidates if b not in top]
        # What stands above a file includes all that the file includes, and more.
        every = {key: sorted(read, key=lambda b: -len(self.below[b.where.file])) for key, read in self.bindings.items()}
        return Config(self._without_orphans(settled, given_up), self.sources, given_up, every, self.home, self.included)

    def _without_orphans(
        self, settled: dict[Key, Binding], given_up: list[tuple[Binding, Binding]]
    ) -> dict[Key, Binding]:
        """Leave out what only overridden bindings mention, in files below their winners: one goes with the other."""
        while True:
            wanted = set().union(*(mentioned(b.value) for b in settled.values()))
            orphans = [
                (b, winner)
                for b in settled.values()
                for loser, winner in given_up
                if b.subject in mentioned(loser.value) - wanted and self._above(winner.where, b.where)
            ]
            if not orphans:
                return settled
            given_up += orphans
            settled = {key: b for key, b in settled.items() if all(b is not orphan for orphan, _ in orphans)}

    def _above(self, a: Where, b: Where) -> bool:
        return b.file in self.below[a.file]


def _inside(path: Path, folders: Iterable[Path]) -> bool:
    """Return whether a path, wherever its links lead, is below one of `folders`; False too for what can't be a path."""
    try:
        real = Path(os.path.realpath(path))
    except ValueError:  # it holds a NUL character
        return False
    return any(real.is_relative_to(folder.resolve()) for folder in folders)


def _to_include(file: str, folders: Sequence[Path]) -> list[str]:
    """Return the names of recipes that lie where `file` is looked for, and of all that are shipped."""
    above, root = PurePath(file).parent, recipe_root()
    names = [found.relative_to(root).as_posix() for found in root.rglob("*.gin")]
    with suppress(OSError):  # too long a name
        for folder in folders:
            if _inside(folder / above, folders):
                names += [(above / found.name).as_posix() for found in (folder / above).glob("*.gin")]
    return sorted({*names})
