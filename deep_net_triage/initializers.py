"""What a compressed block starts as: Glorot uniform, or the mean of the parent's block."""

from dataclasses import dataclass

import keras
import numpy as np

from deep_net_triage.blocks import Block


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
        block: one whose convolutions are 3x3 and each followed by a batch normalisation.
        kernel_shape: (3, 3, input channels, filters) of the compressed convolution.
        over: `block`, the literal reading: one 3x3 filter, the mean of every 3x3 slice of the
            block, stands in every slice, and every vector is one scalar, the block's mean; or
            `channel`: each output channel averages what the block's layers have for it.
    """
    kernels, biases = _weights(parent, block.convolutions)
    gammas, betas, means, variances = _weights(parent, block.batchnorms)
    filters = kernel_shape[-1]
    if over == "block":
        slices = [kernel.reshape(*kernel.shape[:2], -1) for kernel in kernels]
        kernel = np.concatenate(slices, axis=-1).mean(axis=-1)[:, :, np.newaxis, np.newaxis]

        def average(vectors: list[np.ndarray]) -> np.ndarray:
            return np.full(filters, np.concatenate(vectors).mean())

    else:
        kernel = np.mean([kernel.mean(axis=2, keepdims=True) for kernel in kernels], axis=0)

        def average(vectors: list[np.ndarray]) -> np.ndarray:
            return np.mean(vectors, axis=0)

    return CompressedWeights(
        kernel=np.broadcast_to(kernel, kernel_shape),
        bias=average(biases),
        gamma=average(gammas),
        beta=average(betas),
        moving_mean=average(means),
        moving_variance=average(variances),
    )


def _weights(parent: keras.Model, names: tuple[str, ...]) -> list[list[np.ndarray]]:
    """Returns one list per kind of weight, each with one array per layer."""
    layers = [parent.get_layer(name).get_weights() for name in names]
    return [[weights[kind] for weights in layers] for kind in range(len(layers[0]))]
