"""How exactly a step computes: float32, float32 with TF32 products, or bfloat16 inside the networks.

Weights, gradients, optimizers, losses, evaluations and checkpoints are float32 in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.hooks import RemovableHandle

from acaikit import checks
from acaikit.critics import Critic
from acaikit.errors import UserError
from acaikit.model import Autoencoder

PRECISIONS = ("tf32", "float32", "bf16")
"""The names, the default first. On a CPU, which has no TF32, the first is as the second."""


def compute_in(precision: str, model: Autoencoder, device: torch.device) -> list[RemovableHandle]:
    """Make `model` compute in `precision` from now on; return the hooks that make it, to be removed before another.

    On a GPU this sets torch's own switches, which are the process's: whether matrix products and convolutions may use
    TF32 (10 bits of mantissa, float32's range), and that cuDNN tries its kernels out, since shapes stay the same.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`.
    model : Autoencoder
        What is trained.
    device : torch.device
        Where.

    Raises
    ------
    UserError
        If `precision` is another, or the GPU has no bfloat16.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, not {checks.said(precision)}")
    if device.type == "cuda":
        if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            name = torch.cuda.get_device_name(device)
            raise UserError(f"{name} has no bfloat16: use precision tf32 or float32")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "float32"
        torch.backends.cudnn.benchmark = True
    if precision != "bf16":
        return []
    return [hook for network in networks(model) for hook in _in_bfloat16(network, device)]


def networks(model: Autoencoder) -> Iterator[nn.Module]:
    """Yield what computes in bfloat16: encoder, decoder, the layers of each regularizer and those inside its critic.

    What a critic does with their outputs, such as a mean, and all that a regularizer computes itself, is left out.
    """
    yield from (model.encoder, model.decoder)
    for regularizer in model.regularizers.values():
        yield from _layers(regularizer)


def _layers(parent: nn.Module) -> Iterator[nn.Module]:
    for child in parent.children():
        # Nobody calls a list or a dict of modules: each module in it is called by itself.
        yield from _layers(child) if isinstance(child, Critic | nn.ModuleList | nn.ModuleDict) else [child]


def _in_bfloat16(network: nn.Module, device: torch.device) -> list[RemovableHandle]:
    """Hook autocast around the calls of `network` in training; what it returns is float32 again."""
    entered: list[torch.autocast] = []

    def enter(network: nn.Module, inputs: object) -> None:
        entered.append(torch.autocast(device.type, torch.bfloat16, enabled=network.training))
        entered[-1].__enter__()  # type: ignore[no-untyped-call]

    def leave(network: nn.Module, inputs: object, output: object) -> object:
        entered.pop().__exit__(None, None, None)
        return tree_map_only(Tensor, _float32, output)

    return [network.register_forward_pre_hook(enter), network.register_forward_hook(leave, always_call=True)]


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
