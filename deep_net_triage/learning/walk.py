"""One walk through the frozen parent: what each block receives and returns, computed once.

What block k returns is the target of its student-teacher phase and what block k + 1 receives.
A method that updates the compressed block alone never changes what lies before it, so that
part of the network is computed once an image, not once an image, epoch and method.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning.rows import Room, Rows
from deep_net_triage.learning.shared_rows import SharedRoom
from deep_net_triage.methods import METHODS
from deep_net_triage.network import surgery
from deep_net_triage.network.blocks import Block

# A place in a network, the same one in a parent and in each of its students.
Place = Callable[[keras.Model], keras.KerasTensor]


def images_of(model: keras.Model) -> keras.KerasTensor:
    """Returns the place where images enter a model."""
    return model.inputs[0]


@dataclass(frozen=True)
class Source:
    """What the trials of a block read instead of computing it.

    Attributes:
        place: where in the network `train` and `test` stand; what lies between it and the
            block is computed again and again.
        train: a row a training image, in the data set's order.
        test: the same for the test images.
        validation: the same for the images that are held out; None without any.
        targets: what the parent's block returns for the training images; None where it is
            not kept.
    """

    place: Place
    train: Rows
    test: Rows
    validation: Rows | None = None
    targets: Rows | None = None


class Walk:
    """Goes through the parent from block to block and keeps what the block at hand needs.

    Everything kept is exact only while nothing random happens to the images: with
    augmentation, don't walk, and train from `from_images`.

    Args:
        parent: read, never changed.
        dataset: its images.
        room: how much may be kept.
        batch_size: images that are computed at once.
        dtype: what is kept is rounded to it; None for what the network itself computes in.
    """

    def __init__(
        self,
        parent: keras.Model,
        dataset: Dataset,
        room: Room | SharedRoom,
        batch_size: int,
        dtype: str | None = None,
    ) -> None:
        self.parent = parent
        self.room = room
        self.batch_size = batch_size
        self.dtype = dtype
        self._images = self._here = from_images(dataset)
        self._ahead: Source | None = None

    def to(self, block: Block, with_targets: bool) -> Source:
        """Goes on to a block and returns what is kept there; what lies behind is let go.

        Args:
            block: one that begins no earlier than those visited before.
            with_targets: whether its student-teacher phase will be trained.
        """
        for source in filter(None, (self._ahead, self._here, self._images)):
            if self._separates(source.place) and self._leads(source.place, block.received_by):
                self._here = source
                break
        self._ahead = None
        if self._separates(block.received_by):
            self._here = self._pushed(
                self._here, block.received_by, f"received by {block.name}"
            )
        here = self._here
        if not with_targets:
            return here
        ahead = self._pushed(here, block.returned_by, f"returned by {block.name}")
        if ahead is here:
            return here
        self._ahead = ahead
        return dataclasses.replace(here, targets=ahead.train)

    def _separates(self, place: Place) -> bool:
        """Says whether all that the parent returns depends on is what stands at a place.

        It does not where a branch of the network goes around it.
        """
        return self._leads(place, lambda model: model.outputs[0])

    def _leads(self, place: Place, later: Place) -> bool:
        """Says whether what stands at a later place depends on nothing but what is at one."""
        try:
            surgery.cut(self.parent, place(self.parent), later(self.parent))
        except ValueError:  # how Keras says that they are not connected
            return False
        return True

    def _pushed(self, source: Source, place: Place, name: str) -> Source:
        """Returns what is kept at a later place; the same source where nothing is gained."""
        start, end = source.place(self.parent), place(self.parent)
        if start is end:
            return dataclasses.replace(source, place=place)
        between = surgery.cut(self.parent, start, end)
        # Resizing again costs less than keeping what it makes of an image. Nor can a place be
        # kept behind a layer that draws at random, such as dropout: it differs at each pass.
        if not between.weights or len(between.variables) > len(between.weights):
            return source
        splits = [source.train, source.test]
        if source.validation is not None:
            splits.append(source.validation)
        ends = np.cumsum([len(rows) for rows in splits])
        shape = between.compute_output_shape((int(ends[-1]), *source.train.shape[1:]))
        forward = tf.function(
            lambda batch: between(batch, training=False), reduce_retracing=True
        )

        def fill(rows: np.ndarray) -> bool:
            for received, returned in zip(splits, np.split(rows, ends[:-1]), strict=True):
                for first in range(0, len(received), self.batch_size):
                    batch = slice(first, first + self.batch_size)
                    with np.errstate(over="ignore"):
                        returned[batch] = forward(tf.convert_to_tensor(received[batch]))
                    if self.dtype and not np.all(np.isfinite(returned[batch])):
                        return False  # beyond the narrow type's range
            return True

        kept = self.room.kept(name, shape, self.dtype or end.dtype, fill)
        return source if kept is None else Source(place, *np.split(kept, ends[:-1]))


class Route:
    """A walk over the blocks of a study in their order, whichever of them have trials to run.

    What is computed in one go decides how it is rounded: a study that was interrupted must not
    take shorter ways than one that was not.

    Args:
        walk: at its beginning.
        blocks: in the order of the network.
        with_targets: whether student-teacher phases will be trained.
    """

    def __init__(self, walk: Walk, blocks: Sequence[Block], with_targets: bool) -> None:
        self.walk = walk
        self.with_targets = with_targets
        self._ahead = list(blocks)

    def to(self, block: Block) -> Source:
        """Goes on to a block that lies ahead, and returns what is kept there."""
        while True:
            passed = self._ahead.pop(0)
            source = self.walk.to(passed, self.with_targets)
            if passed == block:
                return source


def route(
    parent: keras.Model,
    dataset: Dataset,
    settings: Settings,
    blocks: Sequence[Block],
    shared: Path | None = None,
) -> Route:
    """Returns the route of a study, with the room that its settings give.

    Args:
        parent: read, never changed.
        dataset: its images.
        settings: how much may be kept.
        blocks: in the order of the network.
        shared: the folder where processes keep it for each other; None where they don't.
    """
    if shared:
        room = SharedRoom(shared, settings.activation_disk)
    else:
        room = Room(
            settings.activation_dir or settings.folder,
            settings.activation_memory,
            settings.activation_disk,
        )
    rounded = None if settings.activation_dtype == "exact" else settings.activation_dtype
    walk = Walk(parent, dataset, room, settings.batch_size, rounded)
    return Route(walk, blocks, any(METHODS[name].distil for name in settings.methods))


def from_images(dataset: Dataset) -> Source:
    """Returns the source that keeps nothing: the images themselves."""
    held_out = dataset.validation.images if dataset.validation else None
    return Source(images_of, dataset.train.images, dataset.test.images, held_out)
