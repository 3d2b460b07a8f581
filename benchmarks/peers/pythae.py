"""pythae's VAE, AAE and VQ-VAE on the paper's networks, trained by pythae's own trainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VQVAE, Adversarial_AE, Adversarial_AE_Config, VAEConfig, VQVAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from pythae.trainers import AdversarialTrainer, AdversarialTrainerConfig, BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn

from acaikit.experiment import Experiment
from acaikit.regularizers import KL, VQEMA, AdversarialPrior
from benchmarks.by_hand import ByHand
from benchmarks.peers.batches import drawn


class Encoder(BaseEncoder):  # type: ignore[misc]
    """The paper's encoder, and heads that turn its flattened features into what pythae's model reads."""

    def __init__(self, features: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.features, self.heads = features, nn.ModuleDict(heads)

    def forward(self, x: Tensor) -> ModelOutput:
        """Return each head's output by its name."""
        h = self.features(x).flatten(1)
        return ModelOutput(**{name: head(h) for name, head in self.heads.items()})


class Decoder(BaseDecoder):  # type: ignore[misc]
    """Layers that lead from pythae's latent to the paper's decoder, and its output as pixels."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> ModelOutput:
        """Return the reconstruction."""
        return ModelOutput(reconstruction=self.layers(z))


class Discriminator(BaseDiscriminator):  # type: ignore[misc]
    """The paper's dense critic; pythae's loss reads probabilities."""

    def __init__(self, d_z: int) -> None:
        super().__init__()
        first, second = nn.Linear(d_z, 100), nn.Linear(100, 100)
        last = nn.Linear(100, 1)
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last, nn.Sigmoid())

    def forward(self, z: Tensor) -> ModelOutput:
        """Return the probability that `z` was drawn from the prior."""
        return ModelOutput(embedding=self.layers(z))


class Zeros(nn.Module):
    """No spread: the latent is the encoder's output."""

    def forward(self, h: Tensor) -> Tensor:
        """Return zeros like `h`."""
        return torch.zeros_like(h)


def model(experiment: Experiment) -> nn.Module:
    """Return pythae's model of an experiment with one regularizer: `KL`, `AdversarialPrior` or `VQEMA`."""
    networks = ByHand(experiment, "cpu", lean=True)
    shape = networks.f(torch.zeros(1, *experiment.dataset.shape)).shape[1:]
    d_z = prod(shape)
    decoder = [nn.Unflatten(1, shape), networks.g]
    sizes = {"input_dim": tuple(experiment.dataset.shape), "latent_dim": d_z}
    (regularizer,) = experiment.regularizers
    match regularizer:
        case KL():
            heads = {"embedding": nn.Linear(d_z, d_z), "log_covariance": nn.Linear(d_z, d_z)}
            # pythae's Bernoulli likelihood reads probabilities.
            config = VAEConfig(**sizes, reconstruction_loss="bce")
            return VAE(config, Encoder(networks.f, heads), Decoder(*decoder, nn.Sigmoid()))
        case AdversarialPrior():
            heads = {"embedding": nn.Identity(), "log_covariance": Zeros()}
            config = Adversarial_AE_Config(**sizes, deterministic_posterior=True)
            return Adversarial_AE(config, Encoder(networks.f, heads), Decoder(*decoder), Discriminator(d_z))
        case VQEMA(vectors=n, hidden=hidden):
            # pythae quantises the vector at each position of an image of codes.
            heads = {"embedding": nn.Sequential(nn.Linear(d_z, n * d_z), nn.Unflatten(1, (d_z, n, 1)))}
            layers = [nn.Flatten(), nn.ReLU(), nn.Linear(n * d_z, hidden), nn.ReLU(), nn.Linear(hidden, d_z)]
            config = VQVAEConfig(
                **sizes,
                commitment_loss_factor=regularizer.weight,
                num_embeddings=regularizer.entries,
                use_ema=True,
                decay=regularizer.decay,
            )
            return VQVAE(config, Encoder(networks.f, heads), Decoder(*layers, *decoder))
    raise ValueError(f"pythae has no {type(regularizer).__name__}")


def program(experiment: Experiment, batches: int, threads: int) -> Callable[[], None]:
    """Return an epoch of pythae's trainer as it comes: contiguous images, torch's default Adam."""
    return _epochs(experiment, batches, model(experiment).to(memory_format=torch.contiguous_format), {})


def tuned(experiment: Experiment, batches: int, threads: int) -> Callable[[], None]:
    """Return the same with what acaikit has too, and a user of pythae may ask for: channels_last and fused Adam."""
    return _epochs(experiment, batches, model(experiment), {"fused": True})


def _epochs(experiment: Experiment, batches: int, peer: nn.Module, adam: dict[str, Any]) -> Callable[[], None]:
    images, labels = (torch.cat(tensors) for tensors in zip(*drawn(experiment, batches), strict=True))
    adversarial = isinstance(peer, Adversarial_AE)
    with TemporaryDirectory() as folder:
        general = {"output_dir": folder, "per_device_train_batch_size": experiment.batch_size, "no_cuda": True}
        config = (
            AdversarialTrainerConfig(**general, autoencoder_optimizer_params=adam, discriminator_optimizer_params=adam)
            if adversarial
            else BaseTrainerConfig(**general, optimizer_params=adam)
        )
        kind = AdversarialTrainer if adversarial else BaseTrainer
        trainer = kind(peer, BaseDataset((images + 1) / 2, labels), training_config=config)
        trainer.prepare_training()
    return lambda: trainer.train_step(epoch=1)
