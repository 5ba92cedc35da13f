"""A split becomes batches: in an order that seed and epoch alone determine, or as it stands."""

import tensorflow as tf

from deep_net_triage.datasets import Split


def training_batches(
    split: Split, *, batch_size: int, seed: int, epochs: int, augment: str = "none"
) -> tf.data.Dataset:
    """Returns all batches of a training, epoch after epoch, each image once an epoch.

    The order of an epoch depends on `seed` and the epoch's number alone. One iterator serves
    the whole training: tf.data can take seconds to tear one down.

    Args:
        split: images and labels.
        batch_size: images a batch; an epoch's last batch may hold fewer.
        seed: of the order, and of what augmentation draws.
        epochs: how many.
        augment: `none`, or `flip_crop`: each image flipped or not, and shifted by up to an
            eighth of its side over a black border.

    Returns:
        A data set of (images, labels): uint8 (batch, height, width, channels), int32 (batch,).
    """

    def epoch_of_indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(split)), seed=(seed, tf.cast(epoch, tf.int64))
        )
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return batches.map(lambda indices: (epoch, indices))

    def gather(epoch: tf.Tensor, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch, labels = _examples(split, indices)
        if augment == "flip_crop":
            draw = (seed, tf.cast(indices[0], tf.int64) + (epoch + 1) * len(split))
            batch = flip_and_crop(batch, draw)
        return batch, labels

    batches = tf.data.Dataset.range(epochs).flat_map(epoch_of_indices)
    return _unstalled(batches.map(gather).prefetch(2))


def evaluation_batches(split: Split, *, batch_size: int) -> tf.data.Dataset:
    """Returns a split's (images, labels) in its own order, none left out."""
    indices = tf.data.Dataset.range(len(split)).batch(batch_size)
    return _unstalled(indices.map(lambda chosen: _examples(split, chosen)).prefetch(2))


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


def _examples(split: Split, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.gather(split.images, indices), tf.gather(split.labels, indices)


def _unstalled(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches without the autotuner, whose thread holds up the end of an iterator."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
