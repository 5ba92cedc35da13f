"""Times a few steps of a network on this machine, for an estimate of the whole study."""

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.devices import Share
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import timed_training, whole_network
from deep_net_triage.learning.timed_training import MOST_STEPS, TimedTraining
from deep_net_triage.learning.timings import BlockTimings, Timings
from deep_net_triage.network import costs, graphs, surgery
from deep_net_triage.network.block import Block

# Training steps are timed for about this many seconds, forward passes for a fraction of it.
_SECONDS = 0.8
# A training step takes about three forward passes.
_PASSES_PER_STEP = 3
# If a step of a whole batch takes too long, two smaller ones are timed: one of as many images
# as can be afforded, and one of this many times as many. A straight line through the two gives
# the time of the batch; with a smaller factor, noise would hide its slope.
_MORE_IMAGES = 8
# Twice as many trials at once pay off if a step slows down by less than this factor.
_WORTHWHILE = 1.7
# This process has a thread for each core of the machine. A worker that starts on a share of the
# cores has fewer, and is faster by this factor.
_CROWDED = 1.2
# Multiply-accumulates in a second, and the seconds that even the smallest step takes.
_ASSUMED_SPEED, _ASSUMED_STEP, _ASSUMED_TRACING = 25e9, 0.01, 1.0


def assumed(parent: keras.Model, blocks: Sequence[Block], settings: Settings) -> Timings:
    """Returns what steps of a parent would take on a slow computer, without timing any.

    Args:
        parent, blocks, settings: as `measure` takes them.
    """
    size = settings.batch_size

    def forward(model: keras.Model) -> float:
        return size * costs.macs(model) / _ASSUMED_SPEED

    through_parent = _ASSUMED_STEP / _PASSES_PER_STEP + forward(parent)
    return Timings(
        step=_PASSES_PER_STEP * through_parent,
        forward=through_parent,
        blocks=_of_blocks(parent, blocks, forward),
        tracing=_ASSUMED_TRACING,
        slowdowns={1: 1.0},
    )


def measure(
    parent: keras.Model,
    blocks: Sequence[Block],
    dataset: Dataset,
    settings: Settings,
    timed: TimedTraining | None = None,
) -> Timings:
    """Returns the seconds that a parent's training steps and forward passes take.

    A copy of the parent is trained, so that the parent and later trainings are not affected.

    Args:
        parent: trained or not.
        blocks: which of its blocks to time.
        dataset: training images are read.
        settings: batch size and optimiser; images are not augmented.
        timed: the training of such a copy, if there is one.
    """
    image = dataset.train.images.shape[1:]
    through_parent = _forward(parent, image)
    size = timed_training.share_of_batch(settings)
    if timed is None:
        copy = surgery.copy(parent)
        learner = whole_network.learner_of_parent(copy, dataset, settings)
        timed = TimedTraining(learner, dataset, settings)
    sizes = sorted({timed.fewest, min(_MORE_IMAGES * timed.fewest, size)})
    seconds = [timed.step(images, _SECONDS) for images in sizes]

    def at_full_size(seconds: Sequence[float]) -> float:
        return _on_line(sizes, seconds, size)

    def forward(model: keras.Model) -> float:
        # Time grows with the batch: convolutions have few weights to be read.
        return _forward(model, image)(sizes[-1]) * size / sizes[-1]

    return Timings(
        step=at_full_size(seconds),
        forward=at_full_size([through_parent(images) for images in sizes]),
        blocks=_of_blocks(parent, blocks, forward),
        tracing=max(0.0, timed.first - seconds[0]),
        slowdowns=_slowdowns(timed, size, seconds[0]) if len(sizes) == 1 else {1: 1.0},
    )


def _of_blocks(
    parent: keras.Model, blocks: Sequence[Block], forward: Callable[[keras.Model], float]
) -> dict[str, BlockTimings]:
    """Returns what forward passes through parts of a parent take, by the blocks' names.

    Args:
        parent: read, never changed.
        blocks: in the network's order.
        forward: returns the seconds of a forward pass through a model.
    """
    taken: dict[str, BlockTimings] = {}
    before, reached = 0.0, parent.inputs[0]
    for block in blocks:
        received = block.received_by(parent)
        if received is not reached:  # otherwise the block before it ends here
            before = forward(graphs.cut(parent, parent.inputs[0], received))
        original = forward(surgery.segment(parent, block))
        replacement = forward(surgery.replacement_model(parent, block))
        taken[block.name] = BlockTimings(original, replacement, before)
        before, reached = before + original, block.returned_by(parent)
    return taken


def _on_line(sizes: Sequence[int], seconds: Sequence[float], size: int) -> float:
    """Returns the seconds at a size on the line through those of one or two sizes."""
    slope = (seconds[-1] - seconds[0]) / max(1, sizes[-1] - sizes[0])
    return seconds[0] + max(0.0, slope) * (size - sizes[0])


def _forward(model: keras.Model, image: Sequence[int]) -> Callable[[int], float]:
    """Returns a function from a number of images to the seconds of a forward pass of them.

    Args:
        model: takes images, or what is computed from them.
        image: the shape of an image, for a model that takes images of any size.
    """
    received = model.inputs[0]
    shape = [side or of_image for side, of_image in zip(received.shape[1:], image, strict=True)]
    signature = [tf.TensorSpec((None, *shape), received.dtype)]

    @tf.function(input_signature=signature)
    def compute(batch: tf.Tensor) -> tf.Tensor:
        # One number, because it is the computing that counts, not the way from a GPU.
        return tf.reduce_sum(tf.cast(model(batch, training=False), tf.float32))

    def seconds(images: int) -> float:
        drawn = np.random.default_rng(0).uniform(size=(images, *shape))
        batch = tf.cast(drawn, received.dtype)
        compute(batch).numpy()
        taken: list[float] = []
        while not taken or (sum(taken) < _SECONDS / 8 and len(taken) < MOST_STEPS):
            started = time.perf_counter()
            compute(batch).numpy()
            taken.append(time.perf_counter() - started)
        return float(np.median(taken))

    return seconds


def _slowdowns(timed: TimedTraining, images: int, on_all_cores: float) -> dict[int, float]:
    """Returns by what factor a step is slower on a half, a quarter and so on of the cores.

    Halving ends where it no longer pays. Steps are timed by the clock: threads that wait for
    each other stay busy, which would inflate processor time. On a GPU cores don't matter.

    Args:
        timed: the training of a network whose steps take whole batches. The steps of larger
            ones keep all cores busy.
        images: of a step.
        on_all_cores: the seconds of a step, measured before.
    """
    slowdowns, shares = {1: 1.0}, 2
    if tf.config.list_physical_devices("GPU"):
        return slowdowns
    while shares <= devices.cores():
        with devices.bound_to_share(Share(0, shares)):
            seconds = timed.step(images, _SECONDS)
        slowdowns[shares] = max(1.0, seconds / on_all_cores / _CROWDED)
        if slowdowns[shares] > _WORTHWHILE * slowdowns[shares // 2]:
            break
        shares *= 2
    return slowdowns
