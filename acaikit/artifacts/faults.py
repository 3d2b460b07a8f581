"""What can be wrong with a file of a run."""

from __future__ import annotations

from acaikit.errors import RunError


class BrokenFile(RunError):
    """A file of the run is damaged or isn't what its name says."""


class MissingFile(RunError):
    """A file of the run does not exist."""


class NewerFormat(RunError):
    """A file is sound, but only a newer acaikit can read it."""
