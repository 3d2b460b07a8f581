"""Encoders and decoders: the convolutional pair for images and sequences, the dense pair for data of any shape."""

from acaikit.nets.base import SLOPE, Decoder, Encoder, Linear, count_parameters, paper_init
from acaikit.nets.chain import Chain, channels_last
from acaikit.nets.conv import ConvDecoder, ConvEncoder
from acaikit.nets.mlp import MLPDecoder, MLPEncoder, dense, hidden_widths

__all__ = [
    "SLOPE",
    "Chain",
    "ConvDecoder",
    "ConvEncoder",
    "Decoder",
    "Encoder",
    "Linear",
    "MLPDecoder",
    "MLPEncoder",
    "channels_last",
    "count_parameters",
    "dense",
    "hidden_widths",
    "paper_init",
]
