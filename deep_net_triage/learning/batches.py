"""Makes batches: in an order that depends on seed and epoch alone, or in the rows' order."""

import weakref

import numpy as np
import tensorflow as tf

# One row per image; all such arrays of a split have the same order.
Rows = tf.Tensor | np.ndarray
# Inputs, targets, and the weight of each row.
Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def training_batches(
    rows: tuple[Rows, Rows],
    *,
    batch_size: int,
    seed: int,
    epochs: range,
    augment: str = "none",
    replicas: int = 1,
) -> tf.data.Dataset:
    """Returns all batches of a training, epoch after epoch, each image once an epoch.

    The order of an epoch depends on `seed` and the epoch's number alone. One iterator serves
    the whole training: tf.data can take seconds to tear one down.

    Args:
        rows: inputs and targets: images or a network's outputs for them, and labels or the
            outputs that a network should return.
        batch_size: images per batch; an epoch's last batch may hold fewer.
        seed: of the order, and of augmentation.
        epochs: the epochs' numbers, from 0.
        augment: `none`, or `flip_crop`: each image flipped or not, and shifted by up to an
            eighth of its side over a black border.
        replicas: how many replicas share each batch (`_shares`).

    Returns:
        A data set of (inputs, targets, weights); a weight says how much a row counts, float32.
    """
    inputs, targets = rows

    def epoch_of_indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(inputs)), seed=(seed, tf.cast(epoch, tf.int64))
        )
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        shares = batches.flat_map(lambda indices: _shares(indices, replicas))
        # Drawn per image, not per position in a batch: the number of replicas changes nothing.
        draws = tf.random.stateless_uniform((len(inputs), 3), (seed, tf.cast(epoch, tf.int64)))
        return shares.map(
            lambda indices, weights: (indices, weights, tf.gather(draws, indices))
        )

    def gather(indices: tf.Tensor, weights: tf.Tensor, draws: tf.Tensor) -> Batch:
        batch = _chosen(inputs, indices)
        if augment == "flip_crop":
            batch = flip_and_crop(batch, draws)
        return batch, _chosen(targets, indices), weights

    shares = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(epoch_of_indices)
    return _unstalled(shares.map(gather).prefetch(2 * replicas))


def evaluation_batches(
    rows: tuple[Rows, Rows], *, batch_size: int, replicas: int = 1
) -> tf.data.Dataset:
    """Returns batches as `training_batches` does, of each row once, in the rows' order."""
    inputs, targets = rows

    def gather(indices: tf.Tensor, weights: tf.Tensor) -> Batch:
        return _chosen(inputs, indices), _chosen(targets, indices), weights

    batches = tf.data.Dataset.range(len(inputs)).batch(batch_size)
    shares = batches.flat_map(lambda indices: _shares(indices, replicas))
    return _unstalled(shares.map(gather).prefetch(2 * replicas))


def flip_and_crop(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Returns images each flipped left to right with probability a half, and shifted.

    Args:
        images: (batch, height, width, channels).
        draws: (batch, 3), from 0 to 1: shift from the top and from the left, and flip.
    """
    height, width = images.shape[1:3]
    border = (height // 8, width // 8)
    padded = tf.pad(images, [[0, 0], [border[0]] * 2, [border[1]] * 2, [0, 0]])
    top, left = (
        tf.cast(draws[:, axis] * (2 * border[axis] + 1), tf.int32)[:, tf.newaxis]
        for axis in (0, 1)
    )
    columns = tf.range(width)
    columns = tf.where(draws[:, 2:] < 0.5, columns, columns[::-1])
    rows = tf.gather(padded, top + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(rows, left + columns, axis=2, batch_dims=1)


def _shares(indices: tf.Tensor, replicas: int) -> tf.data.Dataset:
    """Divides a batch, and returns (indices, weights) of one replica after another.

    No share is empty, because oneDNN's convolutions fail on one (TensorFlow 2.21). If a batch
    holds fewer images than there are replicas, each replica gets all of them, with smaller
    weights: the mean loss and the batch norm's statistics stay the same.
    """
    count = tf.size(indices, tf.int64)

    def share(replica: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        own = indices[replica * count // replicas : (replica + 1) * count // replicas]
        if replicas > 1:
            own = tf.cond(count < replicas, lambda: indices, lambda: own)
        weight = tf.where(count < replicas, 1 / replicas, 1.0)
        return own, tf.fill([tf.size(own)], weight)

    return tf.data.Dataset.range(replicas).map(share)


def _chosen(rows: Rows, indices: tf.Tensor) -> tf.Tensor:
    if tf.is_tensor(rows):
        return tf.gather(rows, indices)
    # A tensor would be a second copy of the array, and would read all of one on disk.
    # TensorFlow never frees the function, so it must not hold the array.
    held = weakref.ref(rows)
    chosen = tf.numpy_function(lambda at: np.take(held(), at, axis=0), [indices], rows.dtype)
    return tf.ensure_shape(chosen, (None, *rows.shape[1:]))


def _unstalled(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the batches without tf.data's autotuner, which delays the end of an iterator."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
