"""Images with labels in memory: what is trained on, tested on, and held out."""

import dataclasses
import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from deep_net_triage.errors import InputError
from deep_net_triage.images import subsets


@dataclass(frozen=True)
class Split:
    """Raw images and their labels, as tensors in the host's memory.

    Args:
        images: array or tensor, (examples, height, width, channels); floating images become
            float32, all others uint8.
        labels: integers, (examples,), which become int32.
    """

    images: tf.Tensor
    labels: tf.Tensor

    def __post_init__(self) -> None:
        with tf.device("CPU:0"):
            floating = tf.as_dtype(self.images.dtype).is_floating
            images = tf.cast(self.images, tf.float32 if floating else tf.uint8)
            object.__setattr__(self, "images", images)
            object.__setattr__(self, "labels", tf.convert_to_tensor(self.labels, tf.int32))

    def __len__(self) -> int:
        """Number of examples."""
        return int(self.labels.shape[0])

    def channel_statistics(self, image_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns `channel_statistics` of the images, computed once for each size."""
        if image_size not in self._statistics:
            self._statistics[image_size] = channel_statistics(self.images, image_size)
        return self._statistics[image_size]

    @functools.cached_property
    def _statistics(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        return {}


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
        name: the data set's name, as the user gave it.
        train: the images to train on.
        test: the images to measure accuracy on, in the data set's order.
        class_names: one name per label.
        varying_size: whether the images had several sizes and were resized when read.
        validation: images held out to choose the epoch, and what to compress; None if the test
            images choose, as in the paper.
        near_duplicates: the number of test images that are nearly equal to a training image;
            None if they were not counted.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    varying_size: bool = False
    validation: Split | None = None
    near_duplicates: int | None = None

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that it has, by their names."""
        splits = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split for name, split in splits.items() if split is not None}

    @property
    def input_shape(self) -> tuple[int | None, int | None, int]:
        """Height, width and channels of a raw image; height and width are None if they vary."""
        height, width, channels = self.train.images.shape[1:]
        return (None, None, channels) if self.varying_size else (height, width, channels)


def hold_out(dataset: Dataset, fraction: float) -> Dataset:
    """Returns a data set with a part of its training images held out.

    Class proportions are kept, and each class keeps at least one training image if possible.
    A data set that has validation images of its own is returned as it is.

    Raises:
        InputError: if no image is held out, or none is left to train on.
    """
    if dataset.validation is not None:
        return dataset
    images, labels = (tensor.numpy() for tensor in (dataset.train.images, dataset.train.labels))
    count = round(fraction * len(labels))
    if not 0 < count < len(labels):
        raise InputError(
            f"--validation_fraction={fraction} of {len(labels)} training images holds out "
            f"{count}; at least one must be held out, and one left to train on"
        )
    held = np.isin(np.arange(len(labels)), subsets.proportional_subset(labels, count))
    return dataclasses.replace(
        dataset,
        train=Split(images[~held], labels[~held]),
        validation=Split(images[held], labels[held]),
    )


def digest(dataset: Dataset) -> str:
    """Returns a digest of all pixels and labels, in order, as 16 hexadecimal digits."""
    total = hashlib.sha256()
    for split in dataset.splits.values():
        for tensor in (split.images, split.labels):
            total.update(f"{tensor.dtype.name} {tuple(tensor.shape)}".encode())
            total.update(np.ascontiguousarray(tensor.numpy()))
    return total.hexdigest()[:16]


def channel_statistics(images: tf.Tensor, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and standard deviation of each RGB channel after resizing (section 3).

    Args:
        images: uint8, (examples, height, width, 1 or 3).
        image_size: height and width of the network's input in pixels.

    Returns:
        Two float64 arrays of shape (3,), in units of raw pixels.

    Raises:
        InputError: if a channel is constant, so that it can't be normalised.
    """
    total = squares = 0.0
    for start in range(0, len(images), 256):
        batch = tf.image.resize(images[start : start + 256], (image_size, image_size))
        batch = batch.numpy().astype(np.float64)
        total = total + batch.sum(axis=(0, 1, 2))
        squares = squares + np.square(batch).sum(axis=(0, 1, 2))
    pixels = len(images) * image_size**2
    mean = total / pixels
    deviation = np.sqrt(np.maximum(squares / pixels - np.square(mean), 0))
    # Far below one grey level in one pixel of 60,000 images, but far above rounding errors.
    if np.any(deviation < 1e-4):
        raise InputError("all training pixels of a channel are equal; check the images")
    return np.broadcast_to(mean, 3), np.broadcast_to(deviation, 3)
