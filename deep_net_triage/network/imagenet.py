"""The weights of Keras's VGG16, which has no batch norm, moved into a parent that has.

The parent then computes what Keras's VGG16 does, from its own input: its first convolution
absorbs the difference in preprocessing, and each batch norm is set to the identity.
"""

import warnings

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage.errors import InputError
from deep_net_triage.network.blocks import find_blocks

# Keras's VGG16 takes BGR images minus these means, undivided; here they are in RGB order.
KERAS_MEAN = np.array([123.68, 116.779, 103.939])
FULL_IMAGE_SIZE = 224  # pixels; the published weights of fc1 and fc2 fit this size only
# The identity holds for any statistics; those of a sample are good enough to train from.
STATISTICS_IMAGES = 2048


def load_source(weights: str, image_size: int) -> keras.Model:
    """Returns Keras's VGG16 with pretrained weights.

    Args:
        weights: `imagenet`, or a file of weights of `keras.applications.VGG16`, with or
            without its dense layers.
        image_size: the side in pixels of the parent's images. ImageNet's weights of the dense
            layers, 0.5 GB, are downloaded for 224 only.

    Raises:
        InputError: if the weights can't be downloaded, or the file does not hold such weights.
    """
    from_file = weights != "imagenet"
    for include_top in (True, False) if from_file else (image_size == FULL_IMAGE_SIZE,):
        try:
            # Keras 3.15 warns of missing containers that it does not need.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                return keras.applications.VGG16(include_top=include_top, weights=weights)
        # Keras passes on what its readers raise: OSError, ValueError, KeyError, h5py's errors.
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

    Convolutions are copied by name, `fc1` and `fc2` as well if the source has both in the same
    shapes; `predictions` keeps its weights. The results are equal except at a border of one
    pixel per convolution, because zero padding stands for another colour.

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
    """Changes a convolution of Keras's BGR images into one of the parent's normalised RGB."""
    kernel, bias = convolution.get_weights()
    kernel = kernel[:, :, ::-1, :]
    shift = np.einsum("hwio,i->o", kernel, mean - KERAS_MEAN)
    kernel = kernel * deviation[np.newaxis, np.newaxis, :, np.newaxis]
    convolution.set_weights([kernel, bias + shift])


def _set_batchnorms_to_identity(parent: keras.Model, images: tf.Tensor) -> None:
    """Sets each batch norm to its input's statistics, with a gamma and beta that undo them.

    It is then the identity in inference, and nearly so in training.
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
    """Returns for each output the mean and variance of each channel, over some images."""

    @tf.function(reduce_retracing=True)
    def batch_moments(images: tf.Tensor) -> list[tf.Tensor]:
        outputs = keras.tree.flatten(model(images, training=False))
        # Half precision overflows on the variance of maps of pixels from 0 to 255.
        exact = [tf.cast(output, tf.float32) for output in outputs]
        moments = [tf.nn.moments(output, axes=(0, 1, 2)) for output in exact]
        return [tf.stack([mean, variance + mean**2]) for mean, variance in moments]

    step = max(1, len(images) // STATISTICS_IMAGES)
    images = images[::step][:STATISTICS_IMAGES]
    sums: list[np.ndarray] | None = None
    for start in range(0, len(images), 8):  # small: all activations of a batch live at once
        batch = images[start : start + 8]
        more = [len(batch) * moment.numpy().astype(float) for moment in batch_moments(batch)]
        sums = more if sums is None else [a + b for a, b in zip(sums, more, strict=True)]
    means = [total / len(images) for total in sums]
    return [(mean, np.maximum(square - mean**2, 0)) for mean, square in means]
