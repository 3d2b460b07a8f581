"""The abstract evaluator of codes."""

from __future__ import annotations

from abc import abstractmethod

from acaikit import checks
from acaikit.evaluators.base import Evaluator, Result, Trained
from acaikit.evaluators.codes import Codes


class OfCodes(Evaluator):
    """An evaluator that looks at codes alone, so that the raw data can be measured in the same way.

    Parameters
    ----------
    examples : int, optional
        How many training examples are coded, from the first on. Left out, all; of a dataset that draws them, 10,000.

    Raises
    ------
    UserError
        If `examples` is below 1.
    """

    needs = "labels"

    def __init__(self, examples: int | None = None) -> None:
        if examples is not None:
            checks.whole(f"{type(self).__name__}.examples", examples, at_least=1)
        self.examples = examples

    def of_raw_data(self) -> OfCodes:
        """Return the evaluator that measures the raw data in the same way; it is this one, unless they need another."""
        return self

    def fits(self, trained: Trained) -> bool:
        """Whether the dataset has labels."""
        return trained.dataset.classes is not None

    def evaluate(self, trained: Trained) -> Result:
        """Measure the model's codes."""
        return self.measure(trained.codes(self.examples))

    @abstractmethod
    def measure(self, codes: Codes) -> Result:
        """Measure codes, of a model or raw."""
