"""A data set's images become what a given model takes: of its sides, of its channels."""

import dataclasses

import numpy as np
import tensorflow as tf

from deep_net_triage.errors import InputError
from deep_net_triage.images.datasets import Dataset, Split, resized
from deep_net_triage.wording import counted

_BATCH = 64  # resized at once, as float32


def fitted(dataset: Dataset, shape: tuple[int | None, int | None, int]) -> Dataset:
    """Returns a data set with images of the shape that a model takes; itself if they fit.

    Images are resized as Keras's `Resizing` does, bilinearly and without antialiasing. Integer
    pixels are rounded to whole levels. Grey images are repeated to RGB.

    Args:
        dataset: its images have 1 or 3 channels, or as many as the model takes.
        shape: height, width and channels of the model's input; None for a side of any length.

    Raises:
        InputError: if the images have other channels than the model takes, and are not grey
            images for an RGB model.
    """
    height, width, _ = dataset.train.images.shape[1:]
    wanted = (shape[0] or height, shape[1] or width, shape[2])
    splits = {"train": dataset.train, "test": dataset.test}
    other = {name: split for name, split in splits.items() if _shape(split) != wanted}
    if not other:
        return dataset
    for split in other.values():
        channels = _shape(split)[2]
        if channels != wanted[2] and (channels, wanted[2]) != (1, 3):
            raise InputError(
                f"{dataset.name} has images of {counted(channels, 'channel')}, and the model "
                f"takes {counted(wanted[2], 'channel')}; allowed: as many, or grey images for "
                "an RGB model, so convert the images, or give a model that takes them"
            )
    return dataclasses.replace(
        dataset,
        **{n: Split(reshaped(s.images, wanted), s.labels) for n, s in other.items()},
        varying_size=dataset.varying_size and wanted[:2] == (height, width),
    )


def _shape(split: Split) -> tuple[int, int, int]:
    return tuple(split.images.shape[1:])


def reshaped(images: tf.Tensor | np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Returns images resized to a shape, grey ones repeated where it has more channels.

    Args:
        images: uint8 or floating, (examples, height, width, channels); 1 channel, or as many
            as the shape.
        shape: height, width, channels.

    Returns:
        uint8 or float32, (examples, height, width, channels).
    """
    floating = tf.as_dtype(images.dtype).is_floating
    result = np.empty((len(images), *shape), np.float32 if floating else np.uint8)
    # Not on a GPU: data sets read from TFDS are resized on the CPU, and levels shall agree.
    with tf.device("CPU:0"):
        for start in range(0, len(images), _BATCH):
            batch = resized(images[start : start + _BATCH], *shape[:2])
            result[start : start + _BATCH] = batch  # NumPy repeats a single channel
    return result
