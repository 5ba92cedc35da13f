"""The control of claim 2 (section 4): the parent trained on, no block compressed.

What a method that updates the whole model gains over the parent may be what more training alone
gains. The control trains a copy of the parent for as many epochs, by the same optimiser.
"""

import functools

import keras

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import phases, training
from deep_net_triage.learning import walk as activations
from deep_net_triage.learning.phases import Phase
from deep_net_triage.learning.retraining import Trained
from deep_net_triage.network import convolutions, surgery
from deep_net_triage.records.journal import Journal


class Control:
    """The trials of the control, which run as those of a block do (`retraining.Retraining`).

    Args:
        parent: read, never changed.
        dataset: what to train on, and be judged by after each epoch.
        settings: everything else.
    """

    # No block is broken, left out or replaced.
    without_training = {"reinitialized_accuracy": None, "bypassed_accuracy": None}
    latencies: dict[str, float] = {}

    def __init__(self, parent: keras.Model, dataset: Dataset, settings: Settings) -> None:
        self.parent = parent
        self.dataset = dataset
        self.settings = settings
        self.student = surgery.copy(parent, synchronized=devices.replicas() > 1)
        convolutions.speed_up(self.student)

    def run(self, method: str, seed: int, journal: Journal) -> Trained:
        """Trains a copy of the parent on, from where its journal ends.

        Args:
            method: `control`.
            seed: of the order of images.
            journal: is told of each epoch that ends.

        Raises:
            TrainingFailed: if a loss is no longer finite.
        """
        surgery.restart(self.student, self.parent, seed)
        facts = journal.facts
        if "initial_accuracy" not in facts:
            test, batch_size = self.dataset.test, self.settings.batch_size
            facts["initial_accuracy"] = training.evaluate(
                self._phase.learner, test.images, test.labels, batch_size
            )[1]
        phases.classify(self._phase, self.dataset, self.settings, seed, journal)
        return Trained(self.student, facts["initial_accuracy"], None, None)

    @functools.cached_property
    def _phase(self) -> Phase:
        learner = training.classifier(self.student, self.settings)
        return Phase(learner, "model", activations.from_images(self.dataset))
