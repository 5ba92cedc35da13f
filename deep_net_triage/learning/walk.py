"""Computes what each block of the frozen parent receives and returns, once for all trials.

What block k returns is the target of its student-teacher phase (Eq. 3), and usually what block
k + 1 receives. A method that updates the compressed block alone never changes what lies before
it, so that part of the network is computed once per image, not in each epoch of each method.
"""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import steps
from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning.array_stores import ArrayStore, SharedArrayStore
from deep_net_triage.learning.sources import Place, Source, for_block
from deep_net_triage.network import graphs
from deep_net_triage.network.block import Block
from deep_net_triage.steps import Report, Reporter, Step


@dataclass(frozen=True)
class _Stop:
    """A tensor of the parent whose values may be kept.

    Attributes:
        name: of the array in the store.
        place: returns the tensor.
        at: the number of the block, and whether the block returns the tensor or receives it.
        starts_next: whether the next block can be computed from it alone, because no branch
            leads past it.
    """

    name: str
    place: Place
    at: tuple[int, bool]
    starts_next: bool


class Walk:
    """Computes what each block receives and returns, block after block.

    Each array is computed from the nearest earlier one that is in the store, even if no trials
    need the blocks between them. Where a computation starts decides how its values are rounded,
    and an interrupted study must round as an undisturbed one does.

    With augmentation that draws anew in each epoch nothing can be stored; use
    `sources.for_block` instead.

    Args:
        parent: read, never changed.
        dataset: its images.
        store: of the arrays.
        settings: the methods decide whether targets are computed.
        blocks: all that the study compresses, in the network's order.
        report: receives how far an array has been computed.
    """

    def __init__(
        self,
        parent: keras.Model,
        dataset: Dataset,
        store: ArrayStore | SharedArrayStore,
        settings: Settings,
        blocks: Sequence[Block],
        report: Report = steps.ignore,
    ) -> None:
        self.parent = parent
        self.store = store
        self.batch_size = settings.batch_size
        rounded = settings.activation_dtype
        self.dtype = None if rounded == "exact" else rounded
        self._blocks = tuple(blocks)
        self._stops = _stops(
            parent, self._blocks, with_targets=settings.has_student_teacher_phase
        )
        self._images = for_block(dataset, settings)
        self._ends = np.cumsum([len(split) for split in _splits(self._images)])
        self._ended = -1
        self._reporter = Reporter(report)

    def source_for(self, block: Block) -> Source:
        """Returns what the trials of a block read.

        What only earlier blocks need is removed from the store, unless processes share it.
        """
        number = self._blocks.index(block)
        if not self.store.shared:
            self._ended = max(self._ended, number - 1)
        source = self._nearest([stop for stop in self._stops if stop.at <= (number, False)])
        for stop in self._stops:
            if stop.at == (number, True) and (returned := self._kept(stop)):
                source = dataclasses.replace(source, targets=returned.train)
        self._tidy()
        return source

    def discard(self, block: Block) -> None:
        """Removes from the store what no later block needs.

        Every process may call it once all trials of the block, and of the blocks before it,
        have ended. If a process asks for such a block nevertheless, it is computed again.
        """
        self._ended = max(self._ended, self._blocks.index(block))
        self._tidy()

    def _nearest(self, stops: Sequence[_Stop]) -> Source:
        """Returns the source at the last of some stops from which a block can start."""
        for stop in reversed(stops):
            if stop.starts_next and (kept := self._kept(stop)):
                return kept
        return self._images

    def _kept(self, stop: _Stop) -> Source | None:
        """Returns the source at a stop, computed if the store lacks it; None if refused."""
        tensor = stop.place(self.parent)
        shape = (int(self._ends[-1]), *tensor.shape[1:])
        dtype = self.dtype or tensor.dtype
        array = self.store.get(stop.name, shape, dtype)
        if array is None and not self.store.refused(stop.name):
            start = self._nearest(self._stops[: self._stops.index(stop)])
            between = graphs.cut(self.parent, start.place(self.parent), tensor)
            # Resizing again costs less than storing resized images. Behind a layer that draws
            # at random, such as dropout, nothing can be stored, because each pass differs.
            if not between.weights or len(between.variables) > len(between.weights):
                return None
            self._tidy()
            fill = functools.partial(self._fill, start, between, stop.name)
            array = self.store.get_or_fill(stop.name, shape, dtype, fill)
        return None if array is None else Source(stop.place, *self._split(array))

    def _fill(self, start: Source, between: keras.Model, name: str, array: np.ndarray) -> bool:
        """Computes an array; returns False if a value is beyond the range of a narrow type."""
        self._reporter.begin(Step(name, of=len(array), unit="image"))
        computed = 0
        forward = tf.function(
            lambda batch: between(batch, training=False), reduce_retracing=True
        )
        for received, returned in zip(_splits(start), self._split(array), strict=True):
            for first in range(0, len(received), self.batch_size):
                batch = slice(first, first + self.batch_size)
                with np.errstate(over="ignore"):
                    returned[batch] = forward(tf.convert_to_tensor(received[batch]))
                if self.dtype and not np.all(np.isfinite(returned[batch])):
                    return False
                computed += len(returned[batch])
                self._reporter.reached(computed, computed)
        return True

    def _split(self, array: np.ndarray) -> list[np.ndarray]:
        return np.split(array, self._ends[:-1])

    def _tidy(self) -> None:
        """Removes the arrays of ended blocks, except the one where the next block starts."""
        following = (self._ended + 1, False)
        held = [stop for stop in self._stops if self.store.holds(stop.name)]
        starts = [stop for stop in held if stop.starts_next and stop.at <= following]
        needed = starts[-1:] if following[0] < len(self._blocks) else []
        for stop in held:
            if stop.at < following and stop not in needed:
                self.store.discard(stop.name)


def _stops(
    parent: keras.Model, blocks: tuple[Block, ...], *, with_targets: bool
) -> list[_Stop]:
    """Returns the stops of a walk, in their order."""
    stops = []
    for number, block in enumerate(blocks):
        if _cuts_through(parent, block.received_by):
            name = f"received by {block.name}"
            stops.append(_Stop(name, block.received_by, (number, False), True))
        if with_targets:
            name = f"returned by {block.name}"
            starts_next = _cuts_through(parent, block.returned_by) and all(
                _leads(parent, block.returned_by, following.received_by)
                for following in blocks[number + 1 : number + 2]
            )
            stops.append(_Stop(name, block.returned_by, (number, True), starts_next))
    return stops


def _cuts_through(parent: keras.Model, place: Place) -> bool:
    """Returns False if a branch of the network goes around a place."""
    return _leads(parent, place, lambda model: model.outputs[0])


def _leads(parent: keras.Model, place: Place, later: Place) -> bool:
    """Returns whether a later tensor depends on the images by an earlier one alone."""
    try:
        graphs.cut(parent, place(parent), later(parent))
    except ValueError:  # how Keras says that they are not connected
        return False
    return True


def _splits(source: Source) -> list[np.ndarray | tf.Tensor]:
    splits = (source.train, source.test, source.validation)
    return [split for split in splits if split is not None]
