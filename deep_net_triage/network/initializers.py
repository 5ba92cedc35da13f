"""What a compressed block starts as: Glorot uniform, or the mean of the parent's block."""

from dataclasses import dataclass

import keras
import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.network.blocks import Block
from deep_net_triage.network.segments import KERNEL_SIZE


@dataclass(frozen=True)
class CompressedWeights:
    """Starting values of a compressed block.

    Attributes:
        kernel: (3, 3, input channels, filters).
        bias, gamma, beta, moving_mean, moving_variance: (filters,).
    """

    kernel: np.ndarray
    bias: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    moving_mean: np.ndarray
    moving_variance: np.ndarray

    def assign_to(
        self, convolution: keras.layers.Conv2D, batchnorm: keras.layers.BatchNormalization
    ) -> None:
        """Sets the weights of two built layers."""
        convolution.set_weights([self.kernel, self.bias])
        batchnorm.set_weights([self.gamma, self.beta, self.moving_mean, self.moving_variance])


def glorot_uniform(kernel_shape: tuple[int, int, int, int], seed: int) -> CompressedWeights:
    """Returns a zero-mean Glorot uniform kernel and an untrained batch norm (2.3.1)."""
    initializer = keras.initializers.GlorotUniform(seed=seed)
    filters = kernel_shape[-1]
    return CompressedWeights(
        kernel=keras.ops.convert_to_numpy(initializer(kernel_shape)),
        bias=np.zeros(filters),
        gamma=np.ones(filters),
        beta=np.zeros(filters),
        moving_mean=np.zeros(filters),
        moving_variance=np.ones(filters),
    )


def mean(
    parent: keras.Model, block: Block, kernel_shape: tuple[int, int, int, int], over: str
) -> CompressedWeights:
    """Returns the averages over the parent's block (2.3.3, Eq. 2).

    Args:
        parent: the model that holds the block uncompressed.
        block: where its layers have no bias, gamma or beta, those count as 0, 1 and 0; without
            any batch norm the new one starts untrained. Kernels smaller than 3x3 are padded
            with zeros about their centre, larger ones are cropped to it; a depthwise kernel is
            a slice a channel.
        kernel_shape: (3, 3, input channels, filters) of the compressed convolution.
        over: `block`, the literal reading: one 3x3 filter, the mean of every 3x3 slice of the
            block, stands in every slice, and every vector is one scalar, the block's mean; or
            `channel`: each output channel averages what the block's layers have for it.

    Raises:
        InputError: for `channel`, if the block's layers differ in their number of filters.
    """
    kernels, biases = _convolution_weights(parent, block)
    gammas, betas, means, variances = _batchnorm_weights(parent, block)
    filters = kernel_shape[-1]
    if over == "block":
        slices = [kernel.reshape(*kernel.shape[:2], -1) for kernel in kernels]
        kernel = np.concatenate(slices, axis=-1).mean(axis=-1)[:, :, np.newaxis, np.newaxis]

        def average(vectors: list[np.ndarray]) -> np.ndarray:
            return np.full(filters, np.concatenate(vectors).mean())

    else:
        check_channels(parent, block)
        kernel = np.mean([kernel.mean(axis=2, keepdims=True) for kernel in kernels], axis=0)

        def average(vectors: list[np.ndarray]) -> np.ndarray:
            return np.broadcast_to(np.mean(vectors, axis=0), filters)

    return CompressedWeights(
        kernel=np.broadcast_to(kernel, kernel_shape),
        bias=average(biases),
        gamma=average(gammas),
        beta=average(betas),
        moving_mean=average(means),
        moving_variance=average(variances),
    )


def check_channels(parent: keras.Model, block: Block) -> None:
    """Makes sure that a block's layers can be averaged channel by channel.

    Raises:
        InputError: if they differ in their number of filters.
    """
    kernels, _ = _convolution_weights(parent, block)
    filters = [kernel.shape[-1] for kernel in kernels]
    if set(filters) != {block.shape.filters}:
        shown = ", ".join(map(str, dict.fromkeys(filters)))
        raise InputError(
            f"--mean_over=channel needs equally many filters in all layers of {block.name}, "
            f"which have {shown}; use --mean_over=block"
        )


def _convolution_weights(
    parent: keras.Model, block: Block
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns the kernels, (3, 3, inputs, filters), and the biases of a block's layers."""
    kernels, biases = [], []
    for name in block.convolutions:
        layer = parent.get_layer(name)
        of_layer = [_three_by_three(kernel) for kernel in _kernels(layer)]
        kernels += of_layer
        filters = of_layer[-1].shape[-1]
        biases.append(layer.bias.numpy() if layer.use_bias else np.zeros(filters))
    return kernels, biases


def _kernels(layer: keras.layers.Layer) -> list[np.ndarray]:
    """Returns a convolution's kernels, each (rows, columns, inputs, filters)."""
    if isinstance(layer, keras.layers.Conv2D):
        return [layer.kernel.numpy()]
    separable = isinstance(layer, keras.layers.SeparableConv2D)
    depthwise = (layer.depthwise_kernel if separable else layer.kernel).numpy()
    depthwise = depthwise.reshape(*depthwise.shape[:2], 1, -1)
    return [depthwise, layer.pointwise_kernel.numpy()] if separable else [depthwise]


def _three_by_three(kernel: np.ndarray) -> np.ndarray:
    """Returns a kernel padded with zeros about its centre, or cropped to it."""
    for axis in (0, 1):
        missing = KERNEL_SIZE - kernel.shape[axis]
        if missing > 0:
            width = [(0, 0)] * 4
            width[axis] = (missing // 2, missing - missing // 2)
            kernel = np.pad(kernel, width)
        elif missing < 0:
            first = -missing // 2
            kernel = np.take(kernel, range(first, first + KERNEL_SIZE), axis)
    return kernel


def _batchnorm_weights(parent: keras.Model, block: Block) -> tuple[list[np.ndarray], ...]:
    """Returns gammas, betas, moving means and moving variances of a block's layers."""
    untrained = [[np.array([value])] for value in (1.0, 0.0, 0.0, 1.0)]
    layers = [parent.get_layer(name) for name in block.batchnorms]
    if not layers:
        return tuple(untrained)
    ones = [np.ones(layer.moving_mean.shape) for layer in layers]
    gammas = [
        bn.gamma.numpy() if bn.scale else one for bn, one in zip(layers, ones, strict=True)
    ]
    betas = [
        bn.beta.numpy() if bn.center else 0 * one for bn, one in zip(layers, ones, strict=True)
    ]
    means = [layer.moving_mean.numpy() for layer in layers]
    variances = [layer.moving_variance.numpy() for layer in layers]
    return gammas, betas, means, variances
