"""Layers one after the other, where two linear ones in a row are computed as one convolution.

The convolutional pair has such places at its widest maps, where most of the time goes: the encoder's 1x1 convolution
has no activation, and every upsampling of the decoder is followed by a convolution. The sums are the same, taken in
another order, and gradients reach both layers' own weights through the composed kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Conv = nn.Conv1d | nn.Conv2d

_CONV = {1: F.conv1d, 2: F.conv2d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d}
_FORWARDS = {layer.forward for layer in (nn.Conv1d, nn.Conv2d, nn.Upsample, nn.LeakyReLU)}


class Chain(nn.Sequential):
    """An ``nn.Sequential`` that computes a 1x1 convolution or an upsampling together with the convolution after it.

    Only layers that are nothing but that are composed: any setting, hook or method of their own beyond those of
    `ConvEncoder` and `ConvDecoder`, and they are called one by one. So is what follows a layer that is watched.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layers make of `x` in turn, up to rounding."""
        layers = list(self)
        unseen = False  # whether x is a convolution's output that nothing else holds
        while layers:
            match layers[:2]:
                case [nn.Conv1d() | nn.Conv2d() as first, nn.Conv1d() | nn.Conv2d() as second] if (
                    _plain(first, 1) and _plain(second, 3) and x.dim() == first.weight.dim()
                ):
                    x, layers, unseen = pointwise_then(x, first, second), layers[2:], True
                case [nn.Upsample() as up, nn.Conv1d() | nn.Conv2d() as second] if (
                    _doubles(up) and _plain(second, 3) and x.dim() == second.weight.dim()
                ):
                    x, layers, unseen = upsampled(x, second), layers[2:], True
                case [nn.LeakyReLU() as activation, *_] if unseen and _unwatched(activation):
                    # In place: half the memory is half the traffic, and the backward pass needs the output alone.
                    x, layers, unseen = F.leaky_relu_(x, activation.negative_slope), layers[1:], False
                case [layer, *_]:
                    x, layers = layer(x), layers[1:]
                    unseen = isinstance(layer, nn.Conv1d | nn.Conv2d) and _unwatched(layer)
        return x


def pointwise_then(x: Tensor, first: Conv, second: Conv) -> Tensor:
    """Return ``second(first(x))``, where `first` has a kernel of 1, as one convolution.

    Its kernel is ``sum over m of second[o, m] first[m, i]``. The bias of `first` is zero outside of the image, where
    `second` is padded, so it enters as the weight of one more channel, which is 1 inside.

    Parameters
    ----------
    x : Tensor
        ``[B, C, H, W]`` or ``[B, C, L]``.
    """
    assert first.bias is not None
    kernel = torch.einsum("om...,mi->oi...", second.weight, first.weight.flatten(1))
    bias = torch.einsum("om...,m->o...", second.weight, first.bias)
    axes = x.dim() - 2
    inside = F.pad(x, (0, 0) * axes + (0, 1), value=1.0)
    weight = torch.cat([kernel, bias.unsqueeze(1)], 1)
    return _CONV[axes](_laid_out(inside, second), _laid_out(weight, second), second.bias, padding=1)


def upsampled(x: Tensor, conv: Conv) -> Tensor:
    """Return ``conv(upsample(x))`` for nearest upsampling by 2 and a kernel of 3, as one transposed convolution.

    Of the 3 x 3 weights at each of the 2 x 2 copies of a pixel, those that meet the same pixel are summed beforehand,
    which leaves 16 products per pixel, of 36.

    Parameters
    ----------
    x : Tensor
        ``[B, C, H, W]`` or ``[B, C, L]``.
    """
    axes = x.dim() - 2
    kernel = conv.weight.flip(tuple(range(2, x.dim()))).transpose(0, 1)
    for axis in range(axes):
        kernel = F.pad(kernel, (0, 0) * axis + (0, 1)) + F.pad(kernel, (0, 0) * axis + (1, 0))
    return _CONV_TRANSPOSE[axes](x, _laid_out(kernel, conv), conv.bias, stride=2, padding=1)


def _plain(conv: Conv, kernel: int) -> bool:
    """Whether this is the paper's convolution with a `kernel` of 1 or 3, and no more."""
    settings = conv.kernel_size, conv.padding, conv.stride, conv.dilation
    return (
        all(set(found) == {value} for found, value in zip(settings, (kernel, kernel // 2, 1, 1), strict=True))
        and (conv.groups, conv.padding_mode) == (1, "zeros")
        and conv.bias is not None
        and _unwatched(conv)
    )


def _doubles(up: nn.Upsample) -> bool:
    return up.mode == "nearest" and up.scale_factor == 2 and _unwatched(up)


def _unwatched(layer: nn.Module) -> bool:
    """Whether calling the layer is calling torch's own ``forward``, and nobody is told."""
    hooks = layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks
    # A parametrization is a module inside, and the weight may be another at each reading.
    return type(layer).forward in _FORWARDS and "forward" not in vars(layer) and not any((*hooks, layer._modules))


def _laid_out(x: Tensor, conv: Conv) -> Tensor:
    """Return `x` in the memory layout of the weights of `conv`, which its output then has too."""
    return x.contiguous() if conv.weight.is_contiguous() else channels_last(x)


def channels_last(x: Tensor) -> Tensor:
    """Return `x` in the memory layout that convolutions run fastest in; anything but images is left as it is."""
    # What contiguous(memory_format=torch.channels_last) does, which torch.func.vmap has not.
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if x.dim() == 4 else x
