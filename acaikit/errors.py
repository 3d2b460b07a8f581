"""The errors acaikit raises on purpose."""

from __future__ import annotations


class UserError(Exception):
    """A mistake the user can mend: shown as one message, exit code 2, no traceback.

    The message says what failed, where, and what would have worked.
    """


class ConfigError(UserError):
    """One or more faults in a recipe, each with its file and line.

    Parameters
    ----------
    faults : list of str
        One message per fault, each starting with ``file:line``.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class DataError(UserError):
    """A dataset's file is missing, broken or not what it claims to be."""


class RunError(UserError):
    """A run directory can't be used in the way that was asked for."""


class EvaluationError(UserError):
    """What an evaluator was to measure holds no answer, such as latents that are not finite."""


class Note(UserWarning):
    """Something that the user should know, and that is no error: shown as one line."""


class DataWarning(Note):
    """Something about a dataset."""


class EvaluationWarning(Note):
    """Something about a measurement."""
