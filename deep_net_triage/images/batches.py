"""Rows become batches: in an order that seed and epoch alone determine, or as they stand."""

import weakref

import numpy as np
import tensorflow as tf

from deep_net_triage.learning.rows import Rows


def training_batches(
    inputs: Rows,
    targets: Rows,
    *,
    batch_size: int,
    seed: int,
    epochs: range,
    augment: str = "none",
) -> tf.data.Dataset:
    """Returns all batches of a training, epoch after epoch, each image once an epoch.

    The order of an epoch depends on `seed` and the epoch's number alone. One iterator serves
    the whole training: tf.data can take seconds to tear one down.

    Args:
        inputs: images, or what a network makes of them.
        targets: their labels, or what is to be returned for them.
        batch_size: images a batch; an epoch's last batch may hold fewer.
        seed: of the order, and of what augmentation draws.
        epochs: which, counted from 0.
        augment: `none`, or `flip_crop`: each image flipped or not, and shifted by up to an
            eighth of its side over a black border.

    Returns:
        A data set of (inputs, targets), each batch the same rows of both.
    """

    def epoch_of_indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(inputs)), seed=(seed, tf.cast(epoch, tf.int64))
        )
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return batches.map(lambda indices: (epoch, indices))

    def gather(epoch: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = _chosen(inputs, indices)
        if augment == "flip_crop":
            draw = (seed, tf.cast(indices[0], tf.int64) + (epoch + 1) * len(inputs))
            batch = flip_and_crop(batch, draw)
        return batch, _chosen(targets, indices)

    batches = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(epoch_of_indices)
    return _unstalled(batches.map(gather).prefetch(2))


def evaluation_batches(inputs: Rows, targets: Rows, *, batch_size: int) -> tf.data.Dataset:
    """Returns batches of (inputs, targets) in their own order, none left out."""

    def gather(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _chosen(inputs, indices), _chosen(targets, indices)

    return _unstalled(
        tf.data.Dataset.range(len(inputs)).batch(batch_size).map(gather).prefetch(2)
    )


def flip_and_crop(images: tf.Tensor, seed: tuple[int, tf.Tensor]) -> tf.Tensor:
    """Returns images each flipped left to right with probability a half, and shifted.

    Args:
        images: (batch, height, width, channels).
        seed: two integers; equal ones draw the same.
    """
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    border = (height // 8, width // 8)
    padded = tf.pad(images, [[0, 0], [border[0]] * 2, [border[1]] * 2, [0, 0]])
    # One draw of three numbers an image: stateless, so that nothing depends on what ran before.
    draws = tf.random.stateless_uniform((count, 3), seed)
    top, left = (
        tf.cast(draws[:, axis] * (2 * border[axis] + 1), tf.int32)[:, tf.newaxis]
        for axis in (0, 1)
    )
    columns = tf.range(width)
    columns = tf.where(draws[:, 2:] < 0.5, columns, columns[::-1])
    rows = tf.gather(padded, top + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(rows, left + columns, axis=2, batch_dims=1)


def _chosen(rows: Rows, indices: tf.Tensor) -> tf.Tensor:
    if tf.is_tensor(rows):
        return tf.gather(rows, indices)
    # An array as a tensor would be a second copy of it, and one on disk would be read whole.
    # TensorFlow never lets go of the function, which therefore must not hold the array.
    held = weakref.ref(rows)
    chosen = tf.numpy_function(lambda at: np.take(held(), at, axis=0), [indices], rows.dtype)
    return tf.ensure_shape(chosen, (None, *rows.shape[1:]))


def _unstalled(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches without the autotuner, whose thread holds up the end of an iterator."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
