"""A run's folder: where everything is, and the file that says what the run is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import h5py

from acaikit.artifacts.faults import MissingFile
from acaikit.artifacts.h5file import read_h5, write_h5
from acaikit.artifacts.text import read_text, text_attribute, to_name, to_title, write_text
from acaikit.artifacts.tree import read_tree, write_tree
from acaikit.errors import RunError

_FOLDERS = ("checkpoints", "metrics", "eval", "figures", "quarantine")


class RunDir:
    """The layout of a run directory. Nothing is created before it is written.

    The directory itself may be a symbolic link. None of its folders may: what lies elsewhere would be read, written and
    moved as if it were the run's. Each of them raises `RunError` where it is one.

    Parameters
    ----------
    path : Path
        The run directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place: tuple[tuple[int, int], ...] | None = None
        self._run_id: str | None = None

    @property
    def run_file(self) -> Path:
        """What the run is: its config and provenance, written once."""
        return self.path / "run.h5"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self._folder("checkpoints")

    @property
    def metrics(self) -> Path:
        """Folder of the metrics table's parts."""
        return self._folder("metrics")

    @property
    def eval(self) -> Path:
        """Folder of the evaluations."""
        return self._folder("eval")

    @property
    def figures(self) -> Path:
        """Folder of the figures, as PNG files."""
        return self._folder("figures")

    @property
    def quarantine(self) -> Path:
        """Folder that damaged checkpoints and metrics are moved to."""
        return self._folder("quarantine")

    @property
    def lock_file(self) -> Path:
        """The lock that the training process holds."""
        return self.path / ".lock"

    @property
    def log_file(self) -> Path:
        """What happened to the run, a line per event."""
        return self.path / "log.txt"

    def exists(self) -> bool:
        """Say whether there is a run here."""
        return self.run_file.exists()

    def settle(self, run_id: str) -> None:
        """Note that the path leads to the run `run_id` now, for `moved` and `check_place`."""
        self._place, self._run_id = self._look(), run_id

    @property
    def moved(self) -> bool:
        """Whether the path leads to another run, or to none, since `settle` was called; False where it wasn't."""
        if self._place is None or (now := self._look()) == self._place:
            return False
        if self._id() != self._run_id:
            return True
        self._place = now  # a copy put back, or a file system that numbers its files anew
        return False

    def check_place(self) -> None:
        """Raise `OSError` where the run was `moved`: what is written now would not be part of it."""
        if self.moved:
            raise OSError(
                errno.ESTALE, "the run's folder was moved, removed or replaced while it was trained", str(self.path)
            )

    def _look(self) -> tuple[tuple[int, int], ...]:
        """Return device and inode of the directory and of ``run.h5``; nothing where either can't be seen."""
        try:
            return tuple((status.st_dev, status.st_ino) for status in (self.path.stat(), self.run_file.stat()))
        except OSError:
            return ()

    def _id(self) -> str | None:
        try:
            with read_h5(self.run_file, format="run") as file:
                return text_attribute(file, "run_id")
        except RunError:
            return None

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        if os.path.islink(folder):  # noqa: PTH114 (Path.is_symlink raises where a folder above can't be entered)
            raise RunError(
                f"{folder} is a symbolic link, and a run's folders must be its own: put the folder itself there (the "
                f"run directory as a whole may be a link)"
            )
        return folder

    def write_run(self, info: dict[str, Any]) -> None:
        """Write ``run.h5``. The caller holds the run's lock.

        Parameters
        ----------
        info : dict of str to Tree
            Must hold ``run_id``, a str. A top-level str (a config, say) becomes a text of its own in the group
            ``text``, which h5py reads as ``bytes(file["text/config"][:]).decode()``; the rest goes to the tree
            ``info``.

        Raises
        ------
        RunError
            There is a run here already.
        TypeError
            An entry can't be stored; the message gives its path.
        KeyError, ValueError
            ``run_id`` is missing, or a top-level key is empty or no valid Unicode.
        OSError
            The file can't be written.
        """
        if self.exists():
            raise RunError(f"{self.path} holds a run already: choose another folder, or resume it")
        texts = {key: value for key, value in info.items() if type(value) is str}
        rest = {key: value for key, value in info.items() if key not in texts}

        def fill(file: h5py.Group) -> None:
            write_tree(file.create_group("info"), rest, "info")
            group = file.create_group("text")
            for key, text in texts.items():
                write_text(group, to_name(key), text)

        write_h5(self.run_file, fill, format="run", run_id=info["run_id"], step=0)

    def read_run(self) -> dict[str, Any]:
        """Read what `write_run` stored.

        Raises
        ------
        MissingFile
            There is no run here.
        RunError
            Its file is broken or too new, see `read_h5`; or one of its folders is a symbolic link.
        """
        for name in _FOLDERS:
            self._folder(name)
        if not self.exists():
            raise MissingFile(f"{self.path} holds no run: there is no {self.run_file.name} in it")
        with read_h5(self.run_file, format="run") as file:
            texts = {to_title(name): read_text(file["text"], name) for name in file["text"]}
            return {**texts, **read_tree(file["info"])}
