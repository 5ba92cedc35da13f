"""Trains a network for a few steps, to see how long they take."""

import math
import time
from collections.abc import Callable
from statistics import median

import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning.learner import Classifier
from deep_net_triage.network import costs

# At most 20 steps are timed, and at least 3 unless they take longer than `_LONGEST` seconds.
MOST_STEPS, _FEWEST_STEPS = 20, 3
_LONGEST = 4.0
# A large network is timed on fewer images than a batch has: as many as keep a forward pass on
# each replica within this many multiply-accumulates.
_LARGEST_PASS = 2e10


class TimedTraining:
    """A throwaway training, run only to be timed.

    Args:
        learner: compiled; the weights of its network change.
        dataset: training images are read.
        settings: the batch size.

    Attributes:
        fewest: the images of the first step, on each replica: its share of a batch, or fewer if
            the network is large.
        first: the seconds of the first step, which includes tracing it.
    """

    def __init__(self, learner: Classifier, dataset: Dataset, settings: Settings) -> None:
        train = dataset.train
        self.fewest = max(
            1, min(share_of_batch(settings), int(_LARGEST_PASS / costs.macs(learner.network)))
        )
        self._learner = learner
        self._learner.optimizer.build(self._learner.trainable_variables)
        self._batch = train.images, train.labels, tf.ones(len(train))
        self._step = self._compiled()
        self.first = self._seconds(self.fewest)

    def step(self, images: int, about: float) -> float:
        """Takes some steps, and returns the median of their seconds.

        It is the median because an occasional step takes a second longer than the others.

        Args:
            images: of a step, on each replica. A changed number does not retrace the step.
            about: how many seconds they should take.
        """
        taken: list[float] = []
        while (sum(taken) < about and len(taken) < MOST_STEPS) or (
            sum(taken) < _LONGEST and len(taken) < _FEWEST_STEPS
        ):
            taken.append(self._seconds(images))
        return median(taken)

    def _seconds(self, images: int) -> float:
        """Returns the seconds of one step."""
        batch = [rows[:images] for rows in self._batch]
        started = time.perf_counter()
        # A number is returned when the step has ended.
        float(self._step(*batch))
        return time.perf_counter() - started

    def _compiled(self) -> Callable[..., tf.Tensor]:
        """Returns a training step as Keras takes it, for any number of images."""
        strategy = tf.distribute.get_strategy()
        signature = [tf.TensorSpec((None, *rows.shape[1:]), rows.dtype) for rows in self._batch]
        # Keras compiles without XLA where a layer, such as RandomRotation, does not allow it.
        xla = self._learner.jit_compile or None

        @tf.function(input_signature=signature, jit_compile=xla)
        def step(*batch: tf.Tensor) -> tf.Tensor:
            metrics = strategy.run(self._learner.gradient_step, args=batch)
            return strategy.experimental_local_results(metrics["loss"])[0]

        return step

    @property
    def bytes(self) -> int:
        """What its weights and its optimiser's state take."""
        variables = [*self._learner.variables, *self._learner.optimizer.variables]
        return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)


def share_of_batch(settings: Settings) -> int:
    """Returns how many images of a batch a replica gets."""
    return -(-settings.batch_size // devices.replicas())
