"""Trains a network for a few steps, to see how long they take."""

import itertools
import math
import time
from statistics import fmean

import keras
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import batches, training
from deep_net_triage.learning.batches import Examples
from deep_net_triage.network import costs

# No measurement takes more steps than this.
MOST_STEPS = 20
# A step of a large network is timed with fewer images than a batch has. This is the number of
# multiply-accumulates of a forward pass that a step may have on each replica.
_LARGEST_PASS = 2e10


class TimedTraining:
    """The training of a network that nobody needs afterwards.

    Args:
        network: its weights change.
        dataset: training images are read.
        settings: optimiser, augmentation and batch size.

    Attributes:
        fewest: the images of the first step, on each replica: its share of a batch, or fewer if
            the network is large.
        first: the seconds of the first step, which includes tracing it.
        second: those of the second one.
    """

    def __init__(self, network: keras.Model, dataset: Dataset, settings: Settings) -> None:
        train = dataset.train
        self.fewest = max(
            1, min(share_of_batch(settings), int(_LARGEST_PASS / costs.macs(network)))
        )
        self._learner = training.learner_of(network, settings, len(train))
        self._examples = Examples(train.images, train.labels, len(train), settings.augment)
        self.first, self.second = self._run(self.fewest, 2)

    def step(self, images: int, count: int = 1) -> float:
        """Takes some steps, and returns the mean of their seconds.

        A step before them is not counted: at the beginning of an epoch, tf.data may tear down
        the last one for a second.

        Args:
            images: of a step, on each replica. Another number than before is not traced anew.
            count: of the steps.
        """
        return fmean(self._run(images, count + 1)[1:])

    def _run(self, images: int, count: int) -> list[float]:
        """Takes some steps, and returns the seconds of each."""
        made = training.divided(
            batches.training_batches(
                self._examples,
                batch_size=images * devices.replicas(),
                seed=0,
                epochs=range(MOST_STEPS),
                replicas=devices.replicas(),
            )
        )
        clock = _Clock()
        self._learner.fit(
            made,
            steps_per_epoch=count,
            epochs=1,
            callbacks=[clock],
            shuffle=False,
            verbose=0,
        )
        return [after - before for before, after in itertools.pairwise(clock.times)]

    @property
    def bytes(self) -> int:
        """What its weights and its optimiser's state take."""
        variables = [*self._learner.variables, *self._learner.optimizer.variables]
        return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)


class _Clock(keras.callbacks.Callback):
    """Notes when the training begins and when each step ends, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Notes the time."""
        self.times.append(time.perf_counter())

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the time."""
        self.times.append(time.perf_counter())


def share_of_batch(settings: Settings) -> int:
    """Returns how many images of a batch a replica gets."""
    return -(-settings.batch_size // devices.replicas())
