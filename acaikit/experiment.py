"""The experiment: everything that defines one run, as a plain dataclass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from acaikit.data.base import Dataset
from acaikit.errors import UserError
from acaikit.evaluators.base import Evaluator
from acaikit.likelihoods import MSE, Likelihood
from acaikit.model import Autoencoder
from acaikit.nets import Decoder, Encoder
from acaikit.probe import Probe
from acaikit.regularizer import Regularizer


@dataclass
class Experiment:
    """One autoencoder, one dataset, one budget. The defaults are the paper's (section 4).

    Parameters
    ----------
    dataset : Dataset
        What to train and test on.
    encoder, decoder : Encoder, Decoder
        The two networks.
    likelihood : Likelihood
        How the decoder's output is compared with the data.
    regularizers : sequence of Regularizer
        In the order in which data meets them; none is the baseline.
    evaluators : sequence of Evaluator
        What is measured during training.
    probe : bool
        Whether to train the single-layer probe in tandem, where the dataset has labels.
    samples : int
        The budget: how many training examples are shown in all.
    batch_size : int
        Examples per step, for every player.
    learning_rate : float
        Adam's, for every player.
    evaluate_every : int
        Training examples between two evaluations.
    seed : int
        Every consumer of randomness is seeded from this and its own name.

    Raises
    ------
    UserError
        If a number is out of range or a part is of the wrong kind.
    """

    dataset: Dataset
    encoder: Encoder
    decoder: Decoder
    likelihood: Likelihood = field(default_factory=MSE)
    regularizers: Sequence[Regularizer] = ()
    evaluators: Sequence[Evaluator] = ()
    probe: bool = True
    samples: int = 2**24
    batch_size: int = 64
    learning_rate: float = 1e-4
    evaluate_every: int = 2**16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "batch_size", "evaluate_every"):
            _whole(name, getattr(self, name), at_least=1)
        _whole("seed", self.seed, at_least=0)
        if not isinstance(self.learning_rate, int | float) or not self.learning_rate > 0:
            raise UserError(f"Experiment.learning_rate must be above 0, not {self.learning_rate!r}")
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise UserError(f"Experiment.{name} must be a {kind.__name__}, not {_say(value)}")
        for name, kind in _LISTS.items():
            value = getattr(self, name)
            if not isinstance(value, list | tuple):
                raise UserError(f"Experiment.{name} must be a list, not {_say(value)}: write [...]")
            for item in value:
                if not isinstance(item, kind):
                    raise UserError(f"Experiment.{name} must hold {kind.__name__}s, not {_say(item)}")

    def build(self) -> tuple[Autoencoder, Probe | None]:
        """Return the model and the probe (None without labels), their weights drawn from `seed`.

        Raises
        ------
        UserError
            If the parts' sizes don't fit together.
        """
        model = Autoencoder(
            self.encoder, self.decoder, self.likelihood, self.regularizers, self.dataset.shape, seed=self.seed
        )
        classes = self.dataset.classes
        probed = self.probe and classes is not None
        return model, Probe(model.latent_shape, classes, self.seed) if probed and classes is not None else None


_KINDS = {"dataset": Dataset, "encoder": Encoder, "decoder": Decoder, "likelihood": Likelihood, "probe": bool}
_LISTS = {"regularizers": Regularizer, "evaluators": Evaluator}


def _whole(name: str, value: object, at_least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise UserError(f"Experiment.{name} must be a whole number of at least {at_least}, not {value!r}")


def _say(value: object) -> str:
    if isinstance(value, int | float | str | None):
        return repr(value)
    if callable(value) and not hasattr(value, "parameters"):
        return "a part that is not made: write @Name() with brackets"
    return f"a {type(value).__name__}"
