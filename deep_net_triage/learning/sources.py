"""What the trials of a block read: images, or what the parent computes from them."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning.batches import Rows

# Returns a tensor of a model: the same one in a parent and in each of its students.
Place = Callable[[keras.Model], keras.KerasTensor]


@dataclass(frozen=True)
class Source:
    """Arrays that the trials of a block read, with one row per image.

    Attributes:
        place: returns the tensor of a model whose values `train`, `test` and `validation` hold;
            the layers between it and the block are computed in each epoch.
        train: of the training images, in the data set's order.
        test: of the test images.
        validation: of the held-out images; None if none are held out.
        targets: what the parent's block returns for the training images; None if it is
            computed in each epoch.
    """

    place: Place
    train: Rows
    test: Rows
    validation: Rows | None = None
    targets: Rows | None = None


def from_images(dataset: Dataset) -> Source:
    """Returns a source that holds the images themselves."""
    held_out = dataset.validation.images if dataset.validation else None
    splits = dataset.train.images, dataset.test.images, held_out
    return Source(lambda model: model.inputs[0], *splits)
