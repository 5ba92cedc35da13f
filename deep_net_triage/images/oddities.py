"""Checks a data set before anything is trained on it."""

import hashlib

import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.images.splits import Dataset, Split


def refuse(dataset: Dataset) -> None:
    """Raises InputError if a label is not the number of a class."""
    classes = len(dataset.class_names)
    for name, split in dataset.splits.items():
        labels = split.labels.numpy()
        wrong = np.flatnonzero((labels < 0) | (labels >= classes))
        if len(wrong):
            raise InputError(
                f"{dataset.name}: {len(wrong)} labels of the split {name} are out of range "
                f"(the first is {labels[wrong[0]]}, of example {wrong[0]}); its {classes} "
                f"classes are 0 to {classes - 1}: prepare the data set again"
            )


def notice(dataset: Dataset) -> list[str]:
    """Returns a warning for each property of a data set that makes results less meaningful."""
    lines = []
    present = set(dataset.train.labels.numpy().tolist())
    absent = [name for n, name in enumerate(dataset.class_names) if n not in present]
    if absent:
        first = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        lines.append(
            f"{len(absent)} of {len(dataset.class_names)} classes have no training image "
            f"({first}) and can't be learned: use more --train_examples"
        )
    seen = set(_digests(dataset.train))
    for name in [name for name in dataset.splits if name != "train"]:
        split = dataset.splits[name]
        shared = sum(digest in seen for digest in _digests(split))
        if shared:
            lines.append(
                f"{shared} of {len(split)} {name} images are training images as well: "
                "accuracies are too high, so take them out of one of the splits"
            )
    return [f"warning: {dataset.name}: {line}" for line in lines]


def _digests(split: Split) -> list[bytes]:
    """Returns a digest of each image's pixels."""
    return [
        hashlib.blake2b(image, digest_size=16).digest()
        for first in range(0, len(split), 256)  # one NumPy copy of all would double the memory
        for image in split.images[first : first + 256].numpy()
    ]
