"""The paper's ACAI as one would write it in a script: eager PyTorch, channels_last, fused Adam."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acaikit.experiment import Experiment
from acaikit.likelihoods import MSE
from acaikit.nets import ConvDecoder, ConvEncoder
from acaikit.regularizers import ACAI


def _conv(i: int, o: int, k: int = 3) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, padding=k // 2)


def _encoder(colors: int, depth: int, scales: int, latent: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(colors, depth, 1)]
    before = depth
    for s in range(scales):
        now = depth * 2**s
        layers += [_conv(before, now), nn.LeakyReLU(0.2), _conv(now, now), nn.LeakyReLU(0.2), nn.AvgPool2d(2)]
        before = now
    top = depth * 2**scales
    return nn.Sequential(*layers, _conv(before, top), nn.LeakyReLU(0.2), _conv(top, latent))


def _decoder(colors: int, depth: int, scales: int, latent: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = latent
    for s in reversed(range(scales)):
        now = depth * 2**s
        layers += [
            _conv(before, now),
            nn.LeakyReLU(0.2),
            _conv(now, now),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
        ]
        before = now
    return nn.Sequential(*layers, _conv(before, depth), nn.LeakyReLU(0.2), _conv(depth, colors))


def fits(experiment: Experiment) -> bool:
    """Whether `ByHand` trains the same networks by the same losses (but for the probe)."""
    return (
        [type(part) for part in experiment.regularizers] == [ACAI]
        and type(experiment.encoder) is ConvEncoder
        and type(experiment.decoder) is ConvDecoder
        and type(experiment.likelihood) is MSE
        and len(experiment.dataset.shape) == 3
    )


class ByHand:
    """The step of ACAI on images.

    Parameters
    ----------
    experiment : Experiment
        One that `fits`, which gives the networks' sizes.
    device : str
        Where to train.
    lean : bool
        Whether the critic's weights are constant in the autoencoder's loss. What one writes down at first computes
        their gradients there too, and throws them away.
    bf16 : bool
        Whether the networks run under autocast to bfloat16.
    """

    def __init__(self, experiment: Experiment, device: str, lean: bool, bf16: bool = False) -> None:
        encoder, colors = experiment.encoder, experiment.dataset.shape[0]
        depth, scales, latent = (int(getattr(encoder, name)) for name in ("depth", "scales", "latent"))
        layout = {"device": device, "memory_format": torch.channels_last}
        self.f = _encoder(colors, depth, scales, latent).to(**layout)
        self.g = _decoder(colors, depth, scales, latent).to(**layout)
        self.d = _encoder(colors, depth, scales, latent).to(**layout)
        self.model_adam = torch.optim.Adam([*self.f.parameters(), *self.g.parameters()], 1e-4, fused=True)
        self.critic_adam = torch.optim.Adam(self.d.parameters(), 1e-4, fused=True)
        self.lean = lean
        self.autocast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16)

    def step(self, x: Tensor) -> None:
        """Train on the batch `x`, float32 ``[B, C, H, W]`` in [-1, 1], channels_last."""
        f, g, d = self.f, self.g, self.d
        alpha = 0.5 - (torch.rand(len(x), device=x.device) - 0.5).abs()
        a = alpha.view(-1, 1, 1, 1)
        self.model_adam.zero_grad()
        d.requires_grad_(not self.lean)
        with self.autocast:
            z = f(x)
            x_hat = g(z)
            x_mix = g(a * z + (1 - a) * z.flip(0))
            seen = d(x_mix)
        (nn.functional.mse_loss(x_hat.float(), x) + 0.5 * seen.float().mean((1, 2, 3)).square().mean()).backward()
        d.requires_grad_(True)
        self.critic_adam.zero_grad()
        blend = 0.2 * x + 0.8 * x_hat.detach()
        with self.autocast:
            guess, of_blend = d(x_mix.detach()), d(blend)
        guess, of_blend = guess.float().mean((1, 2, 3)), of_blend.float().mean((1, 2, 3))
        ((guess - alpha).square().mean() + of_blend.square().mean()).backward()
        self.model_adam.step()
        self.critic_adam.step()
