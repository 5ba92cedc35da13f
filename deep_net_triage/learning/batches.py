"""Makes batches: in an order that depends on seed and epoch alone, or in the rows' order."""

import weakref
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from deep_net_triage.learning import augmentation

# One row per image; all such arrays of a split have the same order.
Rows = tf.Tensor | np.ndarray
# Inputs, targets, and the weight of each row.
Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class Examples:
    """What a network is trained on: inputs, and what it should return for them.

    Each array holds a row for every image, in the data set's order. It may hold several rows
    for each image: first one of every image, then a second of every image, and so on. With k
    such rounds, the epoch of number e reads round e % k.

    Attributes:
        inputs: images, or a network's outputs for them.
        targets: labels, or the outputs that a network should return.
        images: the number of images.
        augment: `none`; `crop`: in each epoch, each input is shifted anew by up to an eighth of
            its side over a border of zeros; `flip_crop`: and perhaps flipped.
    """

    inputs: Rows
    targets: Rows
    images: int
    augment: str = "none"


def training_batches(
    examples: Examples, *, batch_size: int, seed: int, epochs: range, replicas: int = 1
) -> tf.data.Dataset:
    """Returns all batches of a training, epoch after epoch, each image once an epoch.

    The order of an epoch depends on `seed` and the epoch's number alone. One iterator serves
    the whole training: tf.data can take seconds to tear one down.

    Args:
        examples: inputs and targets.
        batch_size: images per batch; an epoch's last batch may hold fewer.
        seed: of the order, and of augmentation.
        epochs: the epochs' numbers, from 0.
        replicas: how many replicas share each batch (`_shares`).

    Returns:
        A data set of (inputs, targets, weights); a weight says how much a row counts, float32.
    """
    count, augment = examples.images, examples.augment

    def epoch_of_indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count), seed=(seed, tf.cast(epoch, tf.int64))
        )
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        shares = batches.flat_map(lambda indices: _shares(indices, replicas))
        # Drawn per image, not per position in a batch: the number of replicas changes nothing.
        draws = tf.random.stateless_uniform((count, 3), (seed, tf.cast(epoch, tf.int64)))
        return shares.map(
            lambda indices, weights: (epoch, indices, weights, tf.gather(draws, indices))
        )

    def of_epoch(rows: Rows, epoch: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """Returns the rows of some images in the round that this epoch reads."""
        turn = epoch % (len(rows) // count)
        return _chosen(rows, indices + tf.cast(turn * count, indices.dtype))

    def gather(
        epoch: tf.Tensor, indices: tf.Tensor, weights: tf.Tensor, draws: tf.Tensor
    ) -> Batch:
        batch = of_epoch(examples.inputs, epoch, indices)
        if augment != "none":
            batch = augmentation.shifted(batch, draws, flip=augment == "flip_crop")
        return batch, of_epoch(examples.targets, epoch, indices), weights

    shares = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(epoch_of_indices)
    return _without_autotune(shares.map(gather).prefetch(2 * replicas))


def evaluation_batches(
    rows: tuple[Rows, Rows], *, batch_size: int, replicas: int = 1
) -> tf.data.Dataset:
    """Returns batches as `training_batches` does, of each row once, in the rows' order."""
    inputs, targets = rows

    def gather(indices: tf.Tensor, weights: tf.Tensor) -> Batch:
        return _chosen(inputs, indices), _chosen(targets, indices), weights

    batches = tf.data.Dataset.range(len(inputs)).batch(batch_size)
    shares = batches.flat_map(lambda indices: _shares(indices, replicas))
    return _without_autotune(shares.map(gather).prefetch(2 * replicas))


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
    # A tensor would copy the array in memory, and would read all of a memory-mapped one.
    # TensorFlow never frees the function, so it must not hold the array.
    held = weakref.ref(rows)
    chosen = tf.numpy_function(lambda at: np.take(held(), at, axis=0), [indices], rows.dtype)
    return tf.ensure_shape(chosen, (None, *rows.shape[1:]))


def _without_autotune(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the batches without tf.data's autotuner, which delays the end of an iterator."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
