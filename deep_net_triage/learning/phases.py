"""One way to train a network: what learns, and what feeds it."""

import keras

from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import training
from deep_net_triage.learning.learner import Learner
from deep_net_triage.learning.walk import Source
from deep_net_triage.records.journal import Journal


class Phase:
    """A network, or part of it, made ready to be trained in one trial after another.

    Keras traces a step when it is first run, and with it what was open to training then.

    Attributes:
        learner: of all of the network, or of what is cut off at a place.
        updates: what learns: the compressed `block`, or the whole `model`.
        source: what it is fed with.
    """

    def __init__(self, learner: Learner, updates: str, source: Source) -> None:
        self.learner = learner
        self.updates = updates
        self.source = source
        optimizer = learner.optimizer
        optimizer.build(learner.trainable_variables)
        # Its rate, its count of steps and, in half precision, its loss scale.
        self._scalars = [(v, v.numpy()) for v in optimizer.variables if v.ndim == 0]

    def restart_optimizer(self) -> None:
        """Makes the optimiser a fresh one: each phase of each trial has its own."""
        for variable in self.learner.optimizer.variables:
            if variable.ndim:
                variable.assign(keras.ops.zeros_like(variable))
        for variable, value in self._scalars:
            variable.assign(value)


def classify(
    phase: Phase, dataset: Dataset, settings: Settings, seed: int, journal: Journal
) -> None:
    """Trains a network on labels by a fresh optimiser, and leaves it at its best epoch.

    Args:
        phase: what it trains.
        dataset: the labels.
        settings: epochs, batch size and augmentation.
        seed: of the order of images.
        journal: is told of each epoch that ends.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    held_out = dataset.validation
    phase.restart_optimizer()
    training.fit(
        "train",
        phase.learner,
        (phase.source.train, dataset.train.labels),
        settings,
        settings.epochs,
        seed,
        journal,
        test=(phase.source.test, dataset.test.labels),
        validation=held_out and (phase.source.validation, held_out.labels),
    )
