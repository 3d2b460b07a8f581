"""A regularizer of one's own: the smallest plugin there can be."""

from torch import Tensor

from acaikit import checks
from acaikit.regularizers import Regularizer
from acaikit.types import Step


class Sparse(Regularizer):
    """An L1 penalty on the latent.

    Parameters
    ----------
    weight : float
        Weight of mean |z|.
    """

    recordable = True

    def __init__(self, weight: float = 1e-3) -> None:
        super().__init__()
        checks.number("Sparse.weight", weight, at_least=0)
        self.weight = weight

    def model_loss(self, step: Step) -> Tensor:
        """Return weight mean |z|."""
        return self.weight * step.z.abs().mean()
