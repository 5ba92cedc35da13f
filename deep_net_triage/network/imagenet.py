"""Weights of Keras's VGG16, which has no batch norm, moved into a parent that has.

The parent then computes what the original computed, from its own input: its first convolution
absorbs the other preprocessing, and each batch norm is set so that it changes nothing.
"""

import warnings

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage.errors import InputError
from deep_net_triage.network.blocks import find_blocks

# Keras's VGG16 takes blue, green, red less these means, undivided; here in our order, RGB.
KERAS_MEAN = np.array([123.68, 116.779, 103.939])
FULL_IMAGE_SIZE = 224  # the size whose fc1 and fc2 the published weights hold
# Batch norm's identity holds for any statistics; these only have to be good to train from.
STATISTICS_IMAGES = 2048


def load_source(weights: str, image_size: int) -> keras.Model:
    """Returns Keras's VGG16 with the weights asked for.

    Args:
        weights: `imagenet`, or a file of weights of `keras.applications.VGG16`, with or
            without its dense layers.
        image_size: side in pixels of the parent's input; only for 224 are ImageNet's weights
            of the dense layers, 0.5 GB, downloaded.

    Raises:
        InputError: if the weights can't be had, or the file holds others.
    """
    from_file = weights != "imagenet"
    for include_top in (True, False) if from_file else (image_size == FULL_IMAGE_SIZE,):
        try:
            # Keras 3.15 warns of containers it does not find and does not need.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                return keras.applications.VGG16(include_top=include_top, weights=weights)
        # Keras raises whatever its readers do: OSError, ValueError, KeyError, h5py's own.
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
    if from_file:
        raise InputError(
            f"--parent_weights={weights} does not hold weights of keras.applications.VGG16 "
            f"({reason})"
        )
    raise InputError(
        f"ImageNet weights can't be downloaded ({reason}); download Keras's VGG16 weights "
        "elsewhere and name the file by --parent_weights=FILE"
    )


def transplant(source: keras.Model, parent: keras.Model, images: tf.Tensor) -> None:
    """Sets a parent's weights so that it computes what a VGG16 without batch norm does.

    Convolutions, and `fc1` and `fc2` where the source has both in the same shapes, are copied
    by name; `predictions` stays as it is. What the two compute is the same but for a border
    of one pixel a convolution: zero padding stands for another colour.

    Args:
        source: Keras's VGG16, or a narrower one with its layer names, which takes
            `keras.applications.vgg16.preprocess_input`.
        parent: as `VGG16.build` returns it, of the same width.
        images: training images, (examples, height, width, channels), some of which give the
            batch norms their statistics.
    """
    convolutions = [name for block in find_blocks(parent) for name in block.convolutions]
    shapes = [
        [layer.kernel.shape for layer in model.layers if layer.name in ("fc1", "fc2")]
        for model in (source, parent)
    ]
    dense = ["fc1", "fc2"] if shapes[0] == shapes[1] else []
    for name in convolutions + dense:
        parent.get_layer(name).set_weights(source.get_layer(name).get_weights())
    normalize = parent.get_layer("normalize")
    deviation = np.sqrt(np.ravel(normalize.variance))
    _absorb_preprocessing(
        parent.get_layer(convolutions[0]), np.ravel(normalize.mean), deviation
    )
    _set_batchnorms_to_identity(parent, images)


def _absorb_preprocessing(
    convolution: keras.layers.Conv2D, mean: np.ndarray, deviation: np.ndarray
) -> None:
    """Rewrites a convolution of BGR less Keras's means for RGB normalised by ours."""
    kernel, bias = convolution.get_weights()
    kernel = kernel[:, :, ::-1, :]
    shift = np.einsum("hwio,i->o", kernel, mean - KERAS_MEAN)
    kernel = kernel * deviation[np.newaxis, np.newaxis, :, np.newaxis]
    convolution.set_weights([kernel, bias + shift])


def _set_batchnorms_to_identity(parent: keras.Model, images: tf.Tensor) -> None:
    """Gives each batch norm its input's own statistics, and the gamma and beta that undo them.

    In inference it then changes nothing, and in training little.
    """
    blocks = find_blocks(parent)
    convolutions = [name for block in blocks for name in block.convolutions]
    batchnorms = [parent.get_layer(name) for block in blocks for name in block.batchnorms]
    for batchnorm in batchnorms:
        channels = batchnorm.gamma.shape[0]
        # The identity before any statistics are known: variance + epsilon = 1.
        unit = np.full(channels, 1 - batchnorm.epsilon)
        zeros = np.zeros(channels)
        batchnorm.set_weights([np.ones(channels), zeros, zeros, unit])
    inputs = keras.Model(parent.input, [parent.get_layer(name).output for name in convolutions])
    statistics = _moments(inputs, images)
    for batchnorm, (mean, variance) in zip(batchnorms, statistics, strict=True):
        gamma = np.sqrt(variance + batchnorm.epsilon)
        batchnorm.set_weights([gamma, mean, mean, variance])


def _moments(model: keras.Model, images: tf.Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns mean and variance of each channel of each output, over some training images."""

    @tf.function(reduce_retracing=True)
    def batch_moments(images: tf.Tensor) -> list[tf.Tensor]:
        outputs = keras.tree.flatten(model(images, training=False))
        moments = [tf.nn.moments(output, axes=(0, 1, 2)) for output in outputs]
        return [tf.stack([mean, variance + mean**2]) for mean, variance in moments]

    step = max(1, len(images) // STATISTICS_IMAGES)
    images = images[::step][:STATISTICS_IMAGES]
    sums: list[np.ndarray] | None = None
    for start in range(0, len(images), 8):  # small: all activations of a batch live at once
        batch = images[start : start + 8]
        found = [len(batch) * moment.numpy().astype(float) for moment in batch_moments(batch)]
        sums = found if sums is None else [a + b for a, b in zip(sums, found, strict=True)]
    means = [total / len(images) for total in sums]
    return [(mean, np.maximum(square - mean**2, 0)) for mean, square in means]
