"""Random changes to training images: shifts and flips."""

import numpy as np
import tensorflow as tf

_SEED = 0  # of the fixed draws, which all trials share
_AT_ONCE = 1024


def shifted(images: tf.Tensor, draws: tf.Tensor, flip: bool) -> tf.Tensor:
    """Returns images, each shifted over a border of zeros and perhaps flipped left to right.

    Args:
        images: (batch, height, width, channels).
        draws: (batch, 3), from 0 to below 1: vertical shift, horizontal shift, flip.
        flip: whether to flip the images whose third draw is at least a half.
    """
    height, width = images.shape[1:3]
    border = (height // 8, width // 8)
    padded = tf.pad(images, [[0, 0], [border[0]] * 2, [border[1]] * 2, [0, 0]])
    top, left = (
        tf.cast(draws[:, axis] * (2 * border[axis] + 1), tf.int32)[:, tf.newaxis]
        for axis in (0, 1)
    )
    columns = tf.range(width)
    if flip:
        columns = tf.where(draws[:, 2:] < 0.5, columns, columns[::-1])
    rows = tf.gather(padded, top + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(rows, left + columns, axis=2, batch_dims=1)


def fixed_draws(images: tf.Tensor, copies: int, flip: bool) -> np.ndarray:
    """Returns several augmented draws of each image, the same for every trial.

    Args:
        images: (images, height, width, channels).
        copies: how many draws.
        flip: whether to flip about half of them.

    Returns:
        A first draw of every image, then a second of every image, and so on,
        (copies * images, ...), as `batches.Examples` takes them.
    """
    drawn = []
    for copy in range(copies):
        draws = tf.random.stateless_uniform((len(images), 3), (_SEED, copy))
        for first in range(0, len(images), _AT_ONCE):
            rows = slice(first, first + _AT_ONCE)
            drawn.append(shifted(images[rows], draws[rows], flip).numpy())
    return np.concatenate(drawn)
