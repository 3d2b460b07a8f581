"""The experiment: everything that defines one run, as a plain dataclass."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from acaikit import checks
from acaikit.data.base import Dataset
from acaikit.errors import UserError
from acaikit.evaluators.base import Evaluator
from acaikit.likelihoods import MSE, Likelihood
from acaikit.memory import telling_of_memory
from acaikit.model import Autoencoder
from acaikit.nets import Decoder, Encoder
from acaikit.probe import Probe
from acaikit.ranges import check_numbers
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
    samples: int = 16_777_216  # 2^24, as a literal: what only reads the source can tell it
    batch_size: int = 64
    learning_rate: float = 1e-4
    evaluate_every: int = 2**16
    seed: int = 0

    def __post_init__(self) -> None:
        check_numbers(vars(self))
        for name, kind in _KINDS.items():
            checks.instance(f"Experiment.{name}", getattr(self, name), kind)
        for name, kind in _LISTS.items():
            value = getattr(self, name)
            if not isinstance(value, list | tuple):
                raise UserError(f"Experiment.{name} must be a list, not {checks.said(value)}: write [...]")
            for item in value:
                checks.instance(f"each of Experiment.{name}", item, kind)
        for part in (self.encoder, self.decoder, self.likelihood, *self.regularizers):
            begun = not isinstance(part, nn.Module) or "_modules" in vars(part)
            if not begun or (isinstance(part, Regularizer) and not hasattr(part, "critic")):
                raise UserError(f"{type(part).__name__}.__init__ must begin with super().__init__()")
        keys = [key_of(evaluator) for evaluator in self.evaluators]
        if len(set(keys)) < len(keys):
            raise UserError(f"Experiment.evaluators need different keys to store their scores by, not {keys}")

    def build(self) -> tuple[Autoencoder, Probe | None]:
        """Return a new model and probe (None without labels), their weights drawn from `seed`.

        The experiment's own parts are copied, so that one experiment can be built any number of times.

        Raises
        ------
        UserError
            If the parts' sizes don't fit together, or they take more memory than there is.
        """
        parts = (self.encoder, self.decoder, self.likelihood, list(self.regularizers))
        # torch draws weights from its global generator when layers are made, before they are drawn from the seed.
        with torch.random.fork_rng(devices=[]):
            model = Autoencoder(*copy.deepcopy(parts), self.dataset.shape, seed=self.seed)
            probed = self.probe and self.dataset.classes is not None
            with telling_of_memory("the probe", "make the latents smaller"):
                return model, Probe(model.latent_shape, self.dataset.classes or 0, self.seed) if probed else None

    def outline(self) -> tuple[Autoencoder, Probe | None]:
        """Return model and probe as `build` does, but on torch's meta device: names and shapes that take no memory.

        Where a part is somebody else's, or can't be built there, all are built with memory: a plugin may keep a tensor
        that it makes for the next time, and it must not be one without numbers.

        Raises
        ------
        UserError
            As `build`.
        """
        parts = (self.encoder, self.decoder, self.likelihood, *self.regularizers)
        if not all(_is_ours(part) for part in parts):
            return self.build()
        _ = self.dataset.shape, self.dataset.classes  # which may be read from files, and kept
        try:
            with torch.device("meta"), _Undrawn():
                return self.build()
        except (RuntimeError, TypeError):  # what torch raises where a tensor's numbers are asked for
            return self.build()


class _Undrawn(TorchFunctionMode):
    """Draws no numbers: on the meta device there are none, and torch would import its compiler for them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def _is_ours(part: object) -> bool:
    """Whether a part, and every module in it, is acaikit's or torch's."""
    modules = part.modules() if isinstance(part, nn.Module) else [part]
    return all(type(module).__module__.partition(".")[0] in ("acaikit", "torch") for module in modules)


def key_of(evaluator: Evaluator) -> str:
    """Return the key by which an evaluator's scores are stored; raise `UserError` where it has none."""
    key = getattr(evaluator, "key", None)
    if not isinstance(key, str):
        kind = type(evaluator).__name__
        raise UserError(f'{kind} has no key to store its scores by: give the class one, key = "{kind.lower()}"')
    return key


_KINDS = {"dataset": Dataset, "encoder": Encoder, "decoder": Decoder, "likelihood": Likelihood, "probe": bool}
_LISTS = {"regularizers": Regularizer, "evaluators": Evaluator}
