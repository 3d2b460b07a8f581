"""What a new plugin's distribution, module, part and recipe are called, and which names can't be had."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from enum import StrEnum

from acaikit.errors import UserError
from acaikit.recipes import recipes
from acaikit.registry import OURS, RECIPES, installed

_FIT = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")
_PREFIX = re.compile(rf"^{OURS}([-_]|$)", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"[-_]|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Kind(StrEnum):
    """What kind of part a plugin can begin with."""

    regularizer = "regularizer"
    evaluator = "evaluator"
    encoder = "encoder"
    dataset = "dataset"
    path = "path"


@dataclass(frozen=True)
class Names:
    """The names that one name makes: here those of ``my-idea``, of any kind but a path.

    Attributes
    ----------
    distribution, module : str
        "acaikit-my-idea" and "acaikit_my_idea".
    name : str
        "my_idea", as files and keys are called.
    part : str
        "MyIdea", a class; a path is a function, "my_idea". Capitals that were given stay: "KLAnneal".
    recipe : str
        "quickstart_my_idea".
    """

    distribution: str
    module: str
    name: str
    part: str
    recipe: str

    @classmethod
    def of(cls, said: str, kind: Kind) -> Names:
        """Return the names that `said` makes: "my-idea", "my_idea", "MyIdea" or "acaikit-my-idea".

        Raises
        ------
        UserError
            If it can't be made into such names, or they are those of a part or a recipe that is installed.
        """
        bare = _PREFIX.sub("", said)
        if not _FIT.fullmatch(bare):
            joined = re.sub(r"[\W_]+", "-", bare).strip("-")
            meant = f": did you mean {joined}?" if _FIT.fullmatch(joined) else ""
            raise _refused(
                said,
                "a name is ASCII letters and digits that begin with a letter, in words joined by - or _, such as "
                f"sparse, my-idea or MyIdea{meant}",
            )
        words = _BETWEEN_WORDS.split(bare)
        name = "_".join(words).lower()
        part = name if kind is Kind.path else "".join(word[0].upper() + word[1:] for word in words)
        names = cls(f"{OURS}-{name.replace('_', '-')}", f"{OURS}_{name}", name, part, f"quickstart_{name}")
        names._check(said, kind)
        return names

    def _check(self, said: str, kind: Kind) -> None:
        if keyword.iskeyword(self.part):
            raise _refused(said, f"the part would be called {self.part}, which is a word of Python's own")
        if self.part.startswith(("test", "Test")):
            raise _refused(said, f"the part would be called {self.part}, which pytest would take for a test")
        for part in installed():
            if part.kind != RECIPES and _folded(part.name) == _folded(self.part):
                raise _refused(said, f"{part.distribution} {part.version} has the {part.kind[:-1]} {part.name} already")
        if kind is Kind.evaluator and self.name in _keys():
            raise _refused(said, f"the scores of an evaluator of acaikit's own are called {self.name} already")
        for recipe in recipes():
            if recipe.name == self.recipe:
                raise _refused(said, f"{recipe.distribution} has the recipe {recipe.name} already")


def _keys() -> set[str]:
    """Return what acaikit's own evaluators store their scores under; only importing them tells."""
    return {part.load().key for part in installed() if (part.kind, part.distribution) == ("evaluators", OURS)}


def _folded(name: str) -> str:
    """Return a name without what is easily overlooked: Acai and ACAI would be taken for each other."""
    return name.replace("_", "").lower()


def _refused(said: str, why: str) -> UserError:
    return UserError(f"{said!r} can't name a plugin: {why}")
