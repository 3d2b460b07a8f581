"""ACAI as the authors' program computes it: a TensorFlow 1 graph, written again from the method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from numpy.typing import NDArray

from acaikit.experiment import Experiment
from benchmarks.peers.batches import drawn

Array = NDArray[Any]


class Graph:
    """The graph of ACAI and its linear probe, and a session that runs it.

    Images are ``[B, side, side, colors]``. The three players' updates are one ``session.run``; their gradients are all
    taken before any weight moves.

    Parameters
    ----------
    colors, side : int
        The images' channels and sides.
    depth, scales, latent : int
        The sizes of the networks.
    classes : int
        What the probe tells apart.
    threads : int
        Threads of an operation, and operations at once.

    Attributes
    ----------
    x, y, alpha : tf.Tensor
        What is fed; alpha is drawn where it isn't.
    losses : dict of str to tf.Tensor
        Each player's loss.
    players : dict of str to list of tf.Variable
        Each player's weights, in the order of the layers.
    gradients : dict of str to list of tf.Tensor
        Those of each player's loss by its own weights.
    """

    def __init__(
        self, colors: int, side: int, depth: int, scales: int, latent: int, classes: int, threads: int
    ) -> None:
        self.depth, self.scales, self.latent, self.colors = depth, scales, latent, colors
        graph = tf.Graph()
        with graph.as_default():
            self.x = tf.placeholder(tf.float32, [None, side, side, colors])
            self.y = tf.placeholder(tf.int32, [None])
            self.alpha = 0.5 - tf.abs(tf.random_uniform([tf.shape(self.x)[0]]) - 0.5)
            self.losses = self._losses(classes)
            parts = {"model": ("encoder", "decoder"), "critic": ("critic",), "probe": ("probe",)}
            self.players = {
                player: [v for scope in scopes for v in tf.trainable_variables(f"{scope}/")]
                for player, scopes in parts.items()
            }
            self.gradients = {name: tf.gradients(self.losses[name], own) for name, own in self.players.items()}
            with tf.control_dependencies([g for own in self.gradients.values() for g in own]):
                adams = [
                    tf.train.AdamOptimizer(1e-4).apply_gradients(zip(self.gradients[name], own, strict=True))
                    for name, own in self.players.items()
                ]
            self.train = tf.group(adams)
            initialise = tf.global_variables_initializer()
        config = tf.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        self.session = tf.Session(graph=graph, config=config)
        self.session.run(initialise)

    def step(self, x: Array, y: Array) -> None:
        """Train on images `x` ``[B, side, side, colors]`` with labels `y` ``[B]``."""
        self.session.run(self.train, {self.x: x, self.y: y})

    def _losses(self, classes: int) -> dict[str, tf.Tensor]:
        x, alpha = self.x, self.alpha
        z = self._encoder(x, "encoder")
        x_hat = self._decoder(z)
        a = alpha[:, None, None, None]
        d_mix = self._critic(self._decoder(a * z + (1 - a) * z[::-1]))
        d_blend = self._critic(0.2 * x + 0.8 * x_hat)
        logits = _probe(tf.stop_gradient(z), classes)
        return {
            "model": tf.reduce_mean((x - x_hat) ** 2) + 0.5 * tf.reduce_mean(d_mix**2),
            "critic": tf.reduce_mean((d_mix - alpha) ** 2) + tf.reduce_mean(d_blend**2),
            "probe": tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self.y, logits=logits)),
        }

    def _critic(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(self._encoder(x, "critic"), [1, 2, 3])

    def _encoder(self, x: tf.Tensor, scope: str) -> tf.Tensor:
        with tf.variable_scope(scope, reuse=tf.AUTO_REUSE):
            out = _conv(x, "first", self.depth, kernel=1)
            for s in range(self.scales):
                out = _leaky_conv(out, f"{s}a", self.depth * 2**s)
                out = _leaky_conv(out, f"{s}b", self.depth * 2**s)
                out = tf.nn.avg_pool(out, 2, 2, "SAME")
            out = _leaky_conv(out, "wide", self.depth * 2**self.scales)
            return _conv(out, "last", self.latent)

    def _decoder(self, z: tf.Tensor) -> tf.Tensor:
        with tf.variable_scope("decoder", reuse=tf.AUTO_REUSE):
            out = z
            for s in reversed(range(self.scales)):
                out = _leaky_conv(out, f"{s}a", self.depth * 2**s)
                out = _leaky_conv(out, f"{s}b", self.depth * 2**s)
                out = tf.image.resize_nearest_neighbor(out, [2 * side for side in out.shape[1:3]])
            out = _leaky_conv(out, "narrow", self.depth)
            return _conv(out, "last", self.colors)


def _conv(x: tf.Tensor, name: str, channels: int, kernel: int = 3) -> tf.Tensor:
    with tf.variable_scope(name):
        return tf.nn.conv2d(x, _weights([kernel, kernel, x.shape[-1], channels]), 1, "SAME") + _biases(channels)


def _leaky_conv(x: tf.Tensor, name: str, channels: int) -> tf.Tensor:
    return tf.nn.leaky_relu(_conv(x, name, channels), 0.2)


def _probe(z: tf.Tensor, classes: int) -> tf.Tensor:
    size = int(np.prod(z.shape[1:]))
    with tf.variable_scope("probe"):
        return tf.reshape(z, [-1, size]) @ _weights([size, classes]) + _biases(classes)


def _weights(shape: list[int]) -> tf.Variable:
    fan_in = int(np.prod(shape[:-1]))
    initial = tf.random_normal_initializer(stddev=(fan_in * 1.04) ** -0.5)
    return tf.get_variable("weights", shape, initializer=initial)


def _biases(size: int) -> tf.Variable:
    return tf.get_variable("biases", [size], initializer=tf.zeros_initializer())


def program(experiment: Experiment, batches: int, threads: int) -> Callable[[], None]:
    """Return what trains on batches that were drawn beforehand, and are fed from memory."""
    encoder = experiment.encoder
    colors, side, _ = experiment.dataset.shape
    depth, scales, latent = (int(getattr(encoder, name)) for name in ("depth", "scales", "latent"))
    graph = Graph(colors, side, depth, scales, latent, experiment.dataset.classes or 0, threads)
    pairs = [(x.permute(0, 2, 3, 1).contiguous().numpy(), y.numpy()) for x, y in drawn(experiment, batches)]

    def train() -> None:
        for x, y in pairs:
            graph.step(x, y)

    return train
