"""What a fault injection did and found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """The outcome of one kind of fault.

    Attributes
    ----------
    name : str
        The kind of fault.
    did : int
        How many were injected.
    what : str
        What was done and what had to hold, for a reader.
    found : dict of str to int
        What was seen, in words that say what is counted, and how often.
    faults : list of str
        What should not have been; empty where all is well.
    seconds : float
        How long it took.
    """

    name: str
    did: int
    what: str
    found: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
