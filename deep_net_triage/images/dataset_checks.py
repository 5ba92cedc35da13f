"""Checks a data set before anything is trained on it."""

import hashlib

import numpy as np
import tensorflow as tf

from deep_net_triage.errors import InputError
from deep_net_triage.images.splits import Dataset, Split

# A thumbnail's side in pixels, and the correlation above which two thumbnails are nearly equal.
# In subsets of 12,000 images 0.97 finds 1 pair between the official splits of CIFAR-10, and 4
# of CIFAR-100, one of them with two labels; 0.95 finds 5 and 19, of which 5 have two labels.
_THUMBNAIL = 16
_NEARLY_EQUAL = 0.97


def check_labels(dataset: Dataset) -> None:
    """Raises InputError if there are no two classes, or a label is not the number of one."""
    classes = len(dataset.class_names)
    if classes < 2:
        raise InputError(
            f"{dataset.name} has a single class, and a classifier needs two: add images of "
            "another class"
        )
    for name, split in dataset.splits.items():
        labels = split.labels.numpy()
        wrong = np.flatnonzero((labels < 0) | (labels >= classes))
        if len(wrong):
            raise InputError(
                f"{dataset.name}: {len(wrong)} labels of the split {name} are out of range "
                f"(the first is {labels[wrong[0]]}, of example {wrong[0]}); its {classes} "
                f"classes are 0 to {classes - 1}: name all classes, or correct the labels"
            )


def warnings(dataset: Dataset) -> list[str]:
    """Returns a warning for each property of a data set that makes results less meaningful."""
    lines = []
    present = set(dataset.train.labels.numpy().tolist())
    absent = [name for n, name in enumerate(dataset.class_names) if n not in present]
    if absent:
        first = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        lines.append(
            f"no training image shows {len(absent)} of {len(dataset.class_names)} classes "
            f"({first}), which can't be learned: add images of them"
        )
    seen = set(_digests(dataset.train))
    for name in [name for name in dataset.splits if name != "train"]:
        split = dataset.splits[name]
        shared = sum(digest in seen for digest in _digests(split))
        if shared:
            lines.append(
                f"the training images include {shared} of {len(split)} {name} images: "
                "accuracies are too high, so take them out of one of the splits"
            )
    notes = [f"warning: {dataset.name}: {line}" for line in lines]
    if dataset.near_duplicates is not None:
        notes.append(
            f"{dataset.name}: {dataset.near_duplicates} of {len(dataset.test)} test images of "
            "this fold are nearly equal to a training image"
        )
    return notes


def near_duplicates(dataset: Dataset) -> int:
    """Returns the number of test images that are nearly equal to a training image.

    Two images are nearly equal if the pixels of their thumbnails, 16 x 16, have a correlation
    above 0.97. Handwritten digits reach this without being copies of each other.
    """
    train, test = _thumbnails(dataset.train), _thumbnails(dataset.test)
    highest = [
        np.max(test[first : first + 256] @ train.T, axis=1)
        for first in range(0, len(test), 256)  # the matrix of all pairs may exceed the memory
    ]
    return int(np.count_nonzero(np.concatenate(highest) > _NEARLY_EQUAL))


def _thumbnails(split: Split) -> np.ndarray:
    """Returns small images as rows whose scalar product is their correlation."""
    rows = np.concatenate(
        [
            tf.image.resize(
                split.images[first : first + 256], (_THUMBNAIL, _THUMBNAIL), antialias=True
            )
            .numpy()
            .reshape(-1, _THUMBNAIL**2 * split.images.shape[-1])
            for first in range(0, len(split), 256)
        ]
    )
    rows -= rows.mean(axis=1, keepdims=True)
    # An image of one colour correlates with nothing.
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _digests(split: Split) -> list[bytes]:
    """Returns a digest of each image's pixels."""
    return [
        hashlib.blake2b(image, digest_size=16).digest()
        for first in range(0, len(split), 256)  # one NumPy copy of all would double the memory
        for image in split.images[first : first + 256].numpy()
    ]
