"""The installed datasets: which there are, how large they are, and where their examples are at present."""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import dataclass

from acaikit.catalogue import Entry, catalogue
from acaikit.data.base import Dataset
from acaikit.data.published import Published
from acaikit.errors import UserError
from acaikit.registry import Part, find, parts

KIND = "datasets"


@dataclass(frozen=True)
class Listed:
    """One installed dataset, with its default parameters.

    Attributes
    ----------
    entry : Entry
        What the catalogue says of it; ``entry.broken`` is why it can't be used.
    state : str
        Where its examples are (`Dataset.state`), or "yours" where it reads files that only its user can name.
    size : int or None
        Bytes to get from the network, None where it has none there.
    made : Dataset or its class or None
        What its attributes are read from; None where it is broken.
    """

    entry: Entry
    state: str
    size: int | None = None
    made: Dataset | type[Dataset] | None = None


def installed() -> list[Listed]:
    """Return every dataset part; what is wrong with one keeps none of the others from the list."""
    return [_listed(entry) for entry in catalogue(part for part in parts() if part.kind == KIND)]


def _listed(entry: Entry) -> Listed:
    if entry.broken is not None:
        return Listed(entry, "broken")
    try:
        made = entry.part.load()
        if not (isinstance(made, type) and issubclass(made, Dataset)):
            raise UserError(f"{entry.part.entry_point.value} is no Dataset")
        if required(made):
            return Listed(entry, "yours", made=made)
        dataset = made()
        size = sum(remote.size for remote in dataset.files) if isinstance(dataset, Published) else None
        return Listed(entry, dataset.state, size, dataset)
    except Exception as error:  # whatever somebody else's class raises
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return Listed(Entry(entry.part, entry.description, entry.parameters, said), "broken")


def required(made: type) -> list[str]:
    """Return the parameters without a default."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(made).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind in named]


def find_dataset(name: str) -> Part:
    """Return the dataset part called `name`, or the one whose published files lie in a folder of that name.

    Raises
    ------
    UserError
        If there is none; as `acaikit.registry.find`.
    """
    try:
        return find(name, KIND)
    except UserError:
        for part in parts():
            if part.kind == KIND and catalogue([part])[0].broken is None:
                with suppress(UserError):
                    if vars(part.load()).get("folder") == name:
                        return part
        raise
