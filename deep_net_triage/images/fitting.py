"""Resizes a data set's images to the input shape of a given model."""

import dataclasses

import numpy as np
import tensorflow as tf

from deep_net_triage.errors import InputError
from deep_net_triage.images.datasets import resized
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.wording import counted

_BATCH = 64  # images resized at once, as float32


def fitted(dataset: Dataset, shape: tuple[int | None, int | None, int]) -> Dataset:
    """Returns a data set with images of a model's input shape; the same object if they fit.

    Images are resized like Keras's `Resizing` layer: bilinearly, without antialiasing. Integer
    pixels are rounded. Grey images become RGB by repeating the channel.

    Args:
        dataset: its images may have any size.
        shape: height, width and channels of the model's input; None for a side of any length.

    Raises:
        InputError: if the numbers of channels differ, except for grey images and an RGB model.
    """
    height, width, _ = dataset.train.images.shape[1:]
    wanted = (shape[0] or height, shape[1] or width, shape[2])
    shapes = {name: tuple(split.images.shape[1:]) for name, split in dataset.splits.items()}
    other = {name: split for name, split in dataset.splits.items() if shapes[name] != wanted}
    if not other:
        return dataset
    for name in other:
        channels = shapes[name][2]
        if channels != wanted[2] and (channels, wanted[2]) != (1, 3):
            raise InputError(
                f"{dataset.name} has images of {counted(channels, 'channel')}, and the model "
                f"takes {counted(wanted[2], 'channel')}; allowed: the same number, or grey "
                "images for an RGB model; convert the images, or choose another model"
            )
    return dataclasses.replace(
        dataset,
        **{n: Split(reshaped(s.images, wanted), s.labels) for n, s in other.items()},
        varying_size=dataset.varying_size and wanted[:2] == (height, width),
    )


def reshaped(images: tf.Tensor | np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Returns images resized to a shape; a single channel is repeated if the shape has more.

    Args:
        images: uint8 or floating, (examples, any height, any width, 1 or channels).
        shape: height, width, channels.

    Returns:
        uint8 or float32, (examples, height, width, channels).
    """
    floating = tf.as_dtype(images.dtype).is_floating
    result = np.empty((len(images), *shape), np.float32 if floating else np.uint8)
    # On the CPU, where images from TFDS are resized as well, so that pixels are equal.
    with tf.device("CPU:0"):
        for start in range(0, len(images), _BATCH):
            batch = resized(images[start : start + _BATCH], *shape[:2])
            result[start : start + _BATCH] = batch  # NumPy repeats a single channel
    return result
