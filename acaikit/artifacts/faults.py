"""What can be wrong with a file of a run."""

from __future__ import annotations

from acaikit.errors import RunError


class BrokenFile(RunError):
    """A file of the run is damaged or isn't what its name says."""


class ForeignFile(BrokenFile):
    """A file belongs to another run: it may be whole, and that run's only copy."""


class MissingFile(RunError):
    """A file of the run does not exist."""


class NewerFormat(RunError):
    """A file is sound, but only a newer acaikit can read it."""


class TooMuch(ValueError):
    """What was to be saved is more than a file may hold, or of a kind that none does: nothing was written."""
