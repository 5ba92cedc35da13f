"""Initial weights of a compressed block: Glorot uniform, or the mean of the parent's block."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from deep_net_triage.errors import InputError

KERNEL_SIZE = 3  # rows and columns of the one convolution that replaces a block


@dataclass(frozen=True)
class CompressedWeights:
    """Initial weights of the convolution and the batch norm of a compressed block.

    Attributes:
        kernels: one of shape (3, 3, input channels, filters), or those of a separable
            convolution: (3, 3, input channels, 1) and (1, 1, input channels, filters).
        bias, gamma, beta, moving_mean, moving_variance: (filters,).
    """

    kernels: tuple[np.ndarray, ...]
    bias: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    moving_mean: np.ndarray
    moving_variance: np.ndarray

    def assign_to(
        self, convolution: keras.layers.Layer, batchnorm: keras.layers.BatchNormalization
    ) -> None:
        """Sets the weights of a built convolution and a built batch norm."""
        convolution.set_weights([*self.kernels, self.bias])
        batchnorm.set_weights([self.gamma, self.beta, self.moving_mean, self.moving_variance])


def glorot_uniform(
    kernel_shapes: Sequence[tuple[int, int, int, int]], seed: int
) -> CompressedWeights:
    """Returns zero-mean Glorot uniform kernels and an untrained batch norm (2.3.1).

    Args:
        kernel_shapes: of the kernels in `CompressedWeights`. Each range has the fans that Keras
            computes from the shape.
        seed: of all kernels.
    """
    # With a number as its seed, an initializer draws the same for each kernel.
    source = seed if len(kernel_shapes) == 1 else keras.random.SeedGenerator(seed)
    initializer = keras.initializers.GlorotUniform(seed=source)
    filters = kernel_shapes[-1][-1]
    return CompressedWeights(
        kernels=tuple(
            keras.ops.convert_to_numpy(initializer(shape)) for shape in kernel_shapes
        ),
        bias=np.zeros(filters),
        gamma=np.ones(filters),
        beta=np.zeros(filters),
        moving_mean=np.zeros(filters),
        moving_variance=np.ones(filters),
    )


def mean(
    convolutions: Sequence[keras.layers.Layer],
    batchnorms: Sequence[keras.layers.BatchNormalization],
    kernel_shape: tuple[int, int, int, int],
    over: str,
) -> CompressedWeights:
    """Returns the averages of a block's weights (2.3.3, Eq. 2).

    A layer without bias, gamma or beta counts as one with 0, 1 or 0. Without any batch norm
    the new one starts untrained. Kernels smaller than 3x3 are padded with zeros about their
    centre, larger ones are cropped to it; a depthwise kernel has one slice per channel.

    Args:
        convolutions: the block's convolutions in order.
        batchnorms: its batch norms in order.
        kernel_shape: (3, 3, input channels, filters) of the compressed convolution.
        over: `block` for the literal reading of Eq. 2: the mean of all 3x3 slices of the block
            fills every slice of the kernel, and the mean of all biases, gammas and so on fills
            every vector. `channel` averages over the layers for each output channel.

    Raises:
        InputError: if `over` is `channel` and the layers have different numbers of filters.
    """
    kernels, biases = _convolution_weights(convolutions)
    gammas, betas, means, variances = _batchnorm_weights(batchnorms)
    filters = kernel_shape[-1]
    if over == "block":
        slices = [kernel.reshape(*kernel.shape[:2], -1) for kernel in kernels]
        kernel = np.concatenate(slices, axis=-1).mean(axis=-1)[:, :, np.newaxis, np.newaxis]

        def average(vectors: list[np.ndarray]) -> np.ndarray:
            return np.full(filters, np.concatenate(vectors).mean())

    else:
        check_channels(convolutions, batchnorms, filters)
        kernel = np.mean([kernel.mean(axis=2, keepdims=True) for kernel in kernels], axis=0)

        def average(vectors: list[np.ndarray]) -> np.ndarray:
            return np.broadcast_to(np.mean(vectors, axis=0), filters)

    return CompressedWeights(
        kernels=(np.broadcast_to(kernel, kernel_shape),),
        bias=average(biases),
        gamma=average(gammas),
        beta=average(betas),
        moving_mean=average(means),
        moving_variance=average(variances),
    )


def separated(weights: CompressedWeights) -> CompressedWeights:
    """Returns the weights of a separable convolution that computes what a convolution does.

    The pointwise kernel averages over the input channels, so that an optimiser moves both
    kernels at a similar rate.

    Args:
        weights: of a convolution whose slices are all the same, as `mean` over the block
            returns them.
    """
    (kernel,) = weights.kernels
    channels = kernel.shape[2]
    pointwise = np.full((1, 1, *kernel.shape[2:]), 1 / channels, kernel.dtype)
    return replace(weights, kernels=(channels * kernel[..., :1], pointwise))


def check_channels(
    convolutions: Sequence[keras.layers.Layer],
    batchnorms: Sequence[keras.layers.BatchNormalization],
    filters: int,
) -> None:
    """Checks that a block's layers can be averaged channel by channel.

    Args:
        convolutions: the block's convolutions in order.
        batchnorms: its batch norms.
        filters: the number of channels that the block returns.

    Raises:
        InputError: if one of them has another number of filters or channels.
    """
    kernels, _ = _convolution_weights(convolutions)
    found = [kernel.shape[-1] for kernel in kernels]
    found += [batchnorm.moving_mean.shape[0] for batchnorm in batchnorms]
    if set(found) != {filters}:
        shown = ", ".join(map(str, dict.fromkeys(found)))
        raise InputError(
            "--mean_over=channel needs the same number of filters in all layers of a block; "
            f"{convolutions[0].name} to {convolutions[-1].name} have {shown}; "
            "use --mean_over=block"
        )


def _convolution_weights(
    convolutions: Sequence[keras.layers.Layer],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns the kernels, each (3, 3, inputs, filters), and the biases."""
    kernels, biases = [], []
    for layer in convolutions:
        of_layer = [_three_by_three(kernel) for kernel in _kernels(layer)]
        kernels += of_layer
        filters = of_layer[-1].shape[-1]
        biases.append(_values(layer.bias) if layer.use_bias else np.zeros(filters))
    return kernels, biases


def _kernels(layer: keras.layers.Layer) -> list[np.ndarray]:
    """Returns a convolution's kernels, each (rows, columns, inputs, filters)."""
    if isinstance(layer, keras.layers.Conv2D):
        return [_values(layer.kernel)]
    separable = isinstance(layer, keras.layers.SeparableConv2D)
    depthwise = _values(layer.depthwise_kernel if separable else layer.kernel)
    depthwise = depthwise.reshape(*depthwise.shape[:2], 1, -1)
    return [depthwise, _values(layer.pointwise_kernel)] if separable else [depthwise]


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


def _batchnorm_weights(
    layers: Sequence[keras.layers.BatchNormalization],
) -> tuple[list[np.ndarray], ...]:
    """Returns the gammas, betas, moving means and moving variances of batch norms."""
    if not layers:
        return tuple([np.array([value])] for value in (1.0, 0.0, 0.0, 1.0))
    ones = [np.ones(layer.moving_mean.shape) for layer in layers]
    gammas = [
        _values(bn.gamma) if bn.scale else one for bn, one in zip(layers, ones, strict=True)
    ]
    betas = [
        _values(bn.beta) if bn.center else 0 * one for bn, one in zip(layers, ones, strict=True)
    ]
    means = [_values(layer.moving_mean) for layer in layers]
    variances = [_values(layer.moving_variance) for layer in layers]
    return gammas, betas, means, variances


def _values(variable: keras.Variable) -> np.ndarray:
    """Returns a variable's values, in 32 bits at least."""
    values = variable.numpy()  # NumPy sums in the type that it is given
    return values.astype(np.result_type(values.dtype, np.float32), copy=False)
