"""The trials of one block: a student taken through its phases, again and again.

All trials of a block train the same network. They share one student, which each takes back to
its start, and with it the traced steps, which take seconds to make.
"""

import functools
from dataclasses import dataclass

import keras
import numpy as np

from deep_net_triage import devices
from deep_net_triage.commands.settings import DISTILL_LEARNING_RATE, Settings
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import evidence, guards, phases, training
from deep_net_triage.learning import walk as activations
from deep_net_triage.learning.adam import Adam
from deep_net_triage.learning.phases import Phase
from deep_net_triage.learning.student_teacher import StudentTeacher
from deep_net_triage.learning.walk import Source
from deep_net_triage.methods import METHODS, Method
from deep_net_triage.network import convolutions, latency, surgery
from deep_net_triage.network.blocks import Block
from deep_net_triage.records.journal import Journal


@dataclass(frozen=True)
class Trained:
    """A student after its trial.

    Attributes:
        model: the student with the weights of its best classification epoch, until the next
            trial of the block begins.
        initial_accuracy: right after surgery, nothing trained.
        distilled_accuracy: after the student-teacher phase; None without one.
        similarity: of what the block returns to what the parent's returned (linear CKA).
    """

    model: keras.Model
    initial_accuracy: float
    distilled_accuracy: float | None
    similarity: float | None


class Retraining:
    """Compresses a block of the parent and retrains the student by one method after another.

    Args:
        parent: read, never changed.
        block: which block to compress.
        dataset: what to train on, and be judged by after each epoch.
        source: what of the data set is kept closer to the block.
        settings: everything else.
    """

    def __init__(
        self,
        parent: keras.Model,
        block: Block,
        dataset: Dataset,
        source: Source,
        settings: Settings,
    ) -> None:
        self.parent = parent
        self.block = block
        self.dataset = dataset
        self.source = source
        self.settings = settings
        self.student = surgery.compress(
            parent,
            block,
            initializer="glorot_uniform",
            seed=0,
            batchnorm_momentum=settings.batchnorm_momentum,
            synchronized=devices.replicas() > 1,
        )
        convolutions.speed_up(self.student)
        self._initial_accuracies: dict[tuple[str, int, str], float] = {}

    def run(self, method: str, seed: int, journal: Journal) -> Trained:
        """Retrains the student by a method (2.3), from where its journal ends.

        Args:
            method: a name from `METHODS`.
            seed: of the initialisation and of the order of images.
            journal: is told of each epoch that ends, and of what is found on the way.

        Raises:
            TrainingFailed: if a loss is no longer finite, or a guard is hurt.
        """
        row = METHODS[method]
        surgery.start(
            self.student,
            self.parent,
            self.block,
            initializer=row.initializer,
            seed=seed,
            mean_over=self.settings.mean_over,
        )
        kernel = self._kernel()
        classification = self._of_block if row.updates == "block" else self._of_model
        facts = journal.facts
        if "initial_accuracy" not in facts:
            facts["initial_accuracy"] = self._initial_accuracy(classification, row, seed)
        if row.distil:
            self._distil(seed, journal)
            guards.check_frozen(self.student, self.parent, self.block)
            if "distilled_accuracy" not in facts:
                facts["distilled_accuracy"] = self._accuracy(classification)
        self._classify(classification, seed, journal)
        if row.updates == "block":
            guards.check_frozen(self.student, self.parent, self.block)
        guards.check_learned(kernel, self._kernel())
        return Trained(
            self.student,
            facts["initial_accuracy"],
            facts.get("distilled_accuracy"),
            evidence.similarity(self.parent, self.student, self.block, self.source),
        )

    @functools.cached_property
    def without_training(self) -> dict[str, float | None]:
        """The parent's accuracy with the block broken, and without it."""
        return evidence.accuracies(self.parent, self.block, self.dataset, self.source)

    @functools.cached_property
    def _of_block(self) -> Phase:
        """Classification that updates the compressed block, fed from what is kept."""
        place, source = self.source.place(self.student), self.source
        cut = surgery.cut(self.student, place, self.student.outputs[0])
        surgery.set_trainable(self.student, self.block, "block")
        return Phase(training.classifier(cut, self.settings), "block", source)

    @functools.cached_property
    def _of_model(self) -> Phase:
        """Classification that updates the whole model, fed with images."""
        surgery.set_trainable(self.student, self.block, "model")
        learner = training.classifier(self.student, self.settings)
        return Phase(learner, "model", activations.from_images(self.dataset))

    @functools.cached_property
    def _of_pair(self) -> Phase:
        """The student-teacher phase: no layer behind the block, no teacher that is kept."""
        parent, block, source = self.parent, self.block, self.source
        pair = StudentTeacher(
            surgery.cut(parent, source.place(parent), block.received_by(parent)),
            surgery.segment(parent, block) if source.targets is None else None,
            surgery.segment(self.student, block),
        )
        surgery.set_trainable(self.student, block, "block")
        pair.compile(
            optimizer=Adam(DISTILL_LEARNING_RATE),
            jit_compile=devices.compile_with_xla(),
        )
        return Phase(pair, "block", source)

    @functools.cached_property
    def latencies(self) -> dict[str, float]:
        """How long parent and student take, in seconds; empty where that is not asked for."""
        if not self.settings.latency:
            return {}
        shape = tuple(self.dataset.test.images.shape[1:])
        return latency.compare(self.parent, self.student, shape)

    def _kernel(self) -> np.ndarray:
        return self.student.get_layer(self.block.compressed_layers[0]).kernel.numpy()

    def _initial_accuracy(self, phase: Phase, row: Method, seed: int) -> float:
        """Returns the accuracy before training, measured once for methods that share it."""
        start = (row.initializer, seed, row.updates)
        if start not in self._initial_accuracies:
            self._initial_accuracies[start] = self._accuracy(phase)
        return self._initial_accuracies[start]

    def _accuracy(self, phase: Phase) -> float:
        labels, batch_size = self.dataset.test.labels, self.settings.batch_size
        return training.evaluate(phase.learner, phase.source.test, labels, batch_size)[1]

    def _classify(self, phase: Phase, seed: int, journal: Journal) -> None:
        surgery.set_trainable(self.student, self.block, phase.updates)
        phases.classify(phase, self.dataset, self.settings, seed, journal)

    def _distil(self, seed: int, journal: Journal) -> None:
        """Trains the compressed block to return what the parent's block returns."""
        phase, labels = self._of_pair, self.dataset.train.labels
        targets = labels if self.source.targets is None else self.source.targets
        surgery.set_trainable(self.student, self.block, phase.updates)
        phase.restart_optimizer()
        training.fit(
            "distill",
            phase.learner,
            (phase.source.train, targets),
            self.settings,
            self.settings.distill_epochs,
            seed,
            journal,
        )
