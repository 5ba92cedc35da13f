"""What the trials of a block read: images, or what the parent computes from them."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import keras

from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import augmentation
from deep_net_triage.learning.batches import Rows

# Returns a tensor of a model: the same one in a parent and in each of its students.
Place = Callable[[keras.Model], keras.KerasTensor]


@dataclass(frozen=True)
class Source:
    """Arrays that the trials of a block read, with one row per image.

    Attributes:
        place: returns the tensor of a model whose values `train`, `test` and `validation` hold;
            the layers between it and the block are computed in each epoch.
        train: of the training images, in the data set's order; with fixed draws, several rows
            for each image, as in `batches.Examples`.
        test: of the test images.
        validation: of the validation images; None without these.
        targets: what the parent's block returns for the rows of `train`; None if it is
            computed in each epoch.
        augment: how training images change from epoch to epoch, as in `batches.Examples`.
    """

    place: Place
    train: Rows
    test: Rows
    validation: Rows | None = None
    targets: Rows | None = None
    augment: str = "none"


def for_model(dataset: Dataset, settings: Settings) -> Source:
    """Returns the images as phases that train a whole model read them."""
    held_out = dataset.validation.images if dataset.validation else None
    splits = dataset.train.images, dataset.test.images, held_out
    return Source(lambda model: model.inputs[0], *splits, augment=settings.augment)


def for_block(dataset: Dataset, settings: Settings) -> Source:
    """Returns the images as phases that update the compressed block alone read them.

    Unless they are drawn anew in each epoch, a walk can store what the layers before the block
    return for them.
    """
    images, copies = for_model(dataset, settings), settings.augment_copies
    if copies is None or settings.augment == "none":
        return images
    if copies == 0:
        return dataclasses.replace(images, augment="none")
    flip = settings.augment == "flip_crop"
    drawn = augmentation.fixed_draws(dataset.train.images, copies, flip)
    return dataclasses.replace(images, train=drawn, augment="none")
