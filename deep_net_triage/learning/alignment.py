"""Matches random filters with the parent's maps that resemble theirs, before any training.

The layers after a compressed block expect the parent's maps in their order. Random filters give
other maps in that order, often the negatives. A first block that is trained alone then spends
its epochs on flipping one filter after another. Dead maps, the scale of the maps and the batch
norm's statistics were ruled out as causes.
"""

import keras
import numpy as np
import tensorflow as tf
from scipy.optimize import linear_sum_assignment

from deep_net_triage.learning import predictions
from deep_net_triage.learning.batches import Rows
from deep_net_triage.network.block import Block
from deep_net_triage.network.graphs import by_name

# More would make the correlations more exact, but each trial with a random start computes them.
IMAGES_COMPARED = 256


def align(student: keras.Model, parent: keras.Model, block: Block, images: Rows) -> None:
    """Rearranges and negates a compressed block's filters so that their maps fit the parent's.

    It maximises the sum of the correlations of the filters' maps with the parent's maps. The
    filters of a random kernel (2.3.1) all have the same distribution, symmetric about zero, so
    the new kernel is as likely a draw as the old one.

    Args:
        student: with the block compressed and its kernel drawn; changed in place.
        parent: read, never changed.
        block: the compressed block.
        images: raw training images, (images, height, width, channels); `IMAGES_COMPARED` of
            them are read, always the same ones.
    """
    convolution = student.get_layer(block.compressed_layers[0])
    correlation = correlations(parent, block, convolution, images)
    filters, places = linear_sum_assignment(np.abs(correlation), maximize=True)
    signs = np.where(correlation[filters, places] < 0, -1, 1)
    kernel = block.kernels_in(student)[-1]  # its last axis are the filters
    drawn = kernel.numpy()
    aligned = np.empty_like(drawn)
    aligned[..., places] = signs * drawn[..., filters]
    kernel.assign(aligned)


def correlations(
    parent: keras.Model, block: Block, convolution: keras.layers.Layer, images: Rows
) -> np.ndarray:
    """Returns the correlation of each filter's map with each map of the parent's block.

    The parent's maps are its block's output before the pooling. The filters' maps are what the
    convolution alone returns for the input of the parent's block. Correlations are over all
    pixels of all images.

    Args:
        parent, block, images: as `align` takes them.
        convolution: of the compressed block.

    Returns:
        float64, (filters, maps), -1..1; 0 for a map that is the same everywhere.
    """
    # Not the first images: those of a folder are sorted by class.
    chosen = np.random.default_rng(0).permutation(len(images))[:IMAGES_COMPARED]
    end = by_name(parent)[block.layers[-1]].output
    both = keras.Model(parent.inputs[0], [block.received_by(parent), end])
    at_once = predictions.images_at_once(parent)
    products = 0.0
    for first in range(0, len(chosen), at_once):
        batch = tf.gather(images, chosen[first : first + at_once])
        received, returned = both(tf.cast(batch, parent.inputs[0].dtype), training=False)
        maps = _columns(convolution(received)), _columns(returned)
        dtype = tf.float64 if tf.float64 in {one.dtype for one in maps} else tf.float32
        maps = [tf.cast(one, dtype) for one in maps]
        columns = tf.concat([tf.ones_like(maps[0][:, :1]), *maps], axis=1)
        products += tf.matmul(columns, columns, transpose_a=True).numpy().astype(np.float64)
    products /= products[0, 0]  # the number of pixels
    means = products[0, 1:]
    covariance = products[1:, 1:] - np.outer(means, means)
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0))
    scales = np.outer(deviations, deviations)
    correlation = np.divide(covariance, scales, out=np.zeros_like(scales), where=scales > 0)
    filters = maps[0].shape[1]
    return correlation[:filters, filters:]


def _columns(maps: tf.Tensor) -> tf.Tensor:
    """Returns maps as one column of pixels per channel."""
    return tf.reshape(maps, (-1, maps.shape[-1]))
