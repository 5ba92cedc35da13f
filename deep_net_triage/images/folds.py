"""Folds for cross-validation: over all of them, every image is a test image once."""

import dataclasses

import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.images import subsets
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.wording import counted


def fold(
    dataset: Dataset,
    number: int,
    count: int,
    train_examples: int | None = None,
    test_examples: int | None = None,
) -> Dataset:
    """Returns a data set that tests on one fold and trains on the others.

    Training and test images are put together and divided into folds of equal size, each with
    equally many images of a class as far as that is possible. Images that are held out
    (`validation`) stay where they are.

    Args:
        dataset: with all of its training and test images.
        number: of the fold that is tested, from 0.
        count: the number of folds.
        train_examples: the number of training images to use, class-balanced; None for all.
        test_examples: the same for the test images.

    Raises:
        InputError: if a class has fewer images than there are folds, or the folds have fewer
            images than are to be used.
    """
    from sklearn.model_selection import StratifiedKFold

    parts = (dataset.train, dataset.test)
    images, labels = (
        np.concatenate([getattr(part, name).numpy() for part in parts])
        for name in ("images", "labels")
    )
    sizes = np.bincount(labels, minlength=len(dataset.class_names))
    smallest = np.where(sizes > 0, sizes, len(labels)).argmin()
    if count > sizes[smallest]:
        raise InputError(
            f"--fold={number}/{count}: class {dataset.class_names[smallest]} of {dataset.name} "
            f"has {counted(int(sizes[smallest]), 'image')}; allowed: at most that many folds"
        )
    folds = StratifiedKFold(count, shuffle=True, random_state=subsets.SUBSET_SEED)
    train, test = list(folds.split(images, labels))[number]
    train = train[subsets.chosen_examples(labels[train], train_examples, "--train_examples")]
    test = test[subsets.chosen_examples(labels[test], test_examples, "--test_examples")]
    return dataclasses.replace(
        dataset,
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
    )
