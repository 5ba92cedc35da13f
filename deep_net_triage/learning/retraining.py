"""The trials of one block, or of the control: one student, retrained by method after method.

All trials of a block train the same network. They share one student, which each trial takes
back to its start, because tracing a training step takes seconds.
"""

import functools
from dataclasses import dataclass

import keras
import numpy as np

from deep_net_triage import devices
from deep_net_triage.commands.settings import DISTILL_LEARNING_RATE, Settings
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import guards, predictions, training
from deep_net_triage.learning.adam import Adam
from deep_net_triage.learning.learner import Learner, StudentTeacher
from deep_net_triage.learning.sources import Source, from_images
from deep_net_triage.methods import TABLE, Method
from deep_net_triage.network import convolutions, outputs, surgery
from deep_net_triage.network.blocks import Block
from deep_net_triage.records.journal import Journal


@dataclass(frozen=True)
class Trained:
    """A student at the end of its trial.

    Attributes:
        model: the student with the weights of its best classification epoch; the next trial
            overwrites them.
        initial_accuracy: on the test images before any training, 0..1.
        distilled_accuracy: after the student-teacher phase; None without one.
        final_correct: which test images the student of the last epoch classifies correctly,
            bool, (images,).
    """

    model: keras.Model
    initial_accuracy: float
    distilled_accuracy: float | None
    final_correct: np.ndarray


class Phase:
    """One way to train a student: a learner, the layers it trains, and what it reads.

    Args:
        student: the whole network, of which the learner trains all or a part.
        block: the compressed one; None for the control.
        learner: compiled.
        updates: the compressed `block`, or the whole `model`.
        source: what the learner reads.
    """

    def __init__(
        self,
        student: keras.Model,
        block: Block | None,
        learner: Learner,
        updates: str,
        source: Source,
    ) -> None:
        self.learner = learner
        self.source = source
        self._student = student
        self._block = block
        self._updates = updates
        self._scalars: list[tuple[keras.Variable, np.ndarray]] = []

    def enter(self) -> None:
        """Makes this phase's layers trainable, freezes the others, and resets the optimiser.

        Each phase of each trial begins with it. Keras traces a step when it first runs, with
        the layers that are trainable at that moment.
        """
        surgery.set_trainable(self._student, self._block, self._updates)
        optimizer = self.learner.optimizer
        if not optimizer.built:
            optimizer.build(self.learner.trainable_variables)
            # Its rate, its count of steps and, in half precision, its loss scale.
            self._scalars = [(v, v.numpy()) for v in optimizer.variables if v.ndim == 0]
        for variable in optimizer.variables:
            if variable.ndim:
                variable.assign(keras.ops.zeros_like(variable))
        for variable, value in self._scalars:
            variable.assign(value)


class Retraining:
    """Compresses a block of the parent and retrains the student by one method after another.

    The control of claim 2 (section 4) compresses no block: it trains a copy of the parent for
    as many epochs, with the same optimiser, and so shows what more training alone gains.

    Args:
        parent: read, never changed.
        block: which block to compress; None for the control.
        dataset: what to train on and, after each epoch, to test on.
        source: the images, or what the parent computes from them before the block.
        settings: of the command.

    Attributes:
        student: the network that is trained.
    """

    def __init__(
        self,
        parent: keras.Model,
        block: Block | None,
        dataset: Dataset,
        source: Source,
        settings: Settings,
    ) -> None:
        self.parent = parent
        self.block = block
        self.dataset = dataset
        self.source = source
        self.settings = settings
        self.student = self._untrained()
        convolutions.speed_up(self.student)
        self._from_logits = outputs.returns_logits(self.student)
        self._initial_accuracies: dict[tuple[str | None, int, str], float] = {}

    def run(self, method: str, seed: int, journal: Journal) -> Trained:
        """Retrains the student by a method (2.3), from where its journal ends.

        Args:
            method: a name from `methods.TABLE`; one that compresses a block if there is one.
            seed: of the initialisation and of the order of images.
            journal: receives each epoch that ends.

        Raises:
            TrainingFailed: if a loss is no longer finite, or a guard fails.
        """
        row, facts = TABLE[method], journal.facts
        self._start(row, seed)
        kernel = self._kernel()
        classification = self._of_block if row.updates == "block" else self._of_model
        if "initial_accuracy" not in facts:
            facts["initial_accuracy"] = self._initial_accuracy(classification, row, seed)
        if row.distil:
            self._distil(seed, journal)
            guards.check_frozen(self.student, self.parent, self.block)
            if "distilled_accuracy" not in facts:
                facts["distilled_accuracy"] = self._accuracy(classification)
        final_correct = self._classify(classification, seed, journal)
        if row.updates == "block":
            guards.check_frozen(self.student, self.parent, self.block)
        if self.block:
            guards.check_learned(kernel, self._kernel())
        return Trained(
            model=self.student,
            initial_accuracy=facts["initial_accuracy"],
            distilled_accuracy=facts.get("distilled_accuracy"),
            final_correct=final_correct,
        )

    def _untrained(self) -> keras.Model:
        synchronized = devices.replicas() > 1
        if self.block is None:
            return surgery.copy(self.parent, synchronized=synchronized)
        return surgery.compress(
            self.parent,
            self.block,
            initializer="glorot_uniform",
            seed=0,
            batchnorm_momentum=self.settings.batchnorm_momentum,
            synchronized=synchronized,
        )

    def _start(self, row: Method, seed: int) -> None:
        """Sets the student to where a trial starts, whatever ran before."""
        if self.block is None:
            surgery.restart(self.student, self.parent, seed)
        else:
            surgery.start(
                self.student,
                self.parent,
                self.block,
                initializer=row.initializer,
                seed=seed,
                mean_over=self.settings.mean_over,
            )

    @functools.cached_property
    def _of_block(self) -> Phase:
        """Classification that trains the compressed block and reads the source."""
        place = self.source.place(self.student)
        cut = surgery.cut(self.student, place, self.student.outputs[0])
        learner = training.classifier(cut, self.settings, self._from_logits)
        return Phase(self.student, self.block, learner, "block", self.source)

    @functools.cached_property
    def _of_model(self) -> Phase:
        """Classification that trains the whole model and reads images."""
        learner = training.classifier(self.student, self.settings, self._from_logits)
        return Phase(self.student, self.block, learner, "model", from_images(self.dataset))

    @functools.cached_property
    def _of_pair(self) -> Phase:
        """The student-teacher phase; it computes nothing behind the block."""
        parent, block, source = self.parent, self.block, self.source
        pair = StudentTeacher(
            surgery.cut(parent, source.place(parent), block.received_by(parent)),
            surgery.segment(parent, block) if source.targets is None else None,
            surgery.segment(self.student, block),
        )
        pair.compile(
            optimizer=Adam(DISTILL_LEARNING_RATE),
            jit_compile=devices.compile_with_xla(),
        )
        return Phase(self.student, block, pair, "block", source)

    def _kernel(self) -> np.ndarray | None:
        if self.block is None:
            return None
        return self.student.get_layer(self.block.compressed_layers[0]).kernel.numpy()

    def _initial_accuracy(self, phase: Phase, row: Method, seed: int) -> float:
        """Returns the accuracy before training, computed once for methods that share it."""
        start = (row.initializer, seed, row.updates)
        if start not in self._initial_accuracies:
            self._initial_accuracies[start] = self._accuracy(phase)
        return self._initial_accuracies[start]

    def _accuracy(self, phase: Phase) -> float:
        labels, batch_size = self.dataset.test.labels, self.settings.batch_size
        return training.evaluate(phase.learner, phase.source.test, labels, batch_size)[1]

    def _distil(self, seed: int, journal: Journal) -> None:
        """Trains the compressed block to return what the parent's block returns."""
        phase, labels = self._of_pair, self.dataset.train.labels
        targets = labels if self.source.targets is None else self.source.targets
        phase.enter()
        schedule = training.Schedule("distill", self.settings.distill_epochs, seed)
        training.fit(
            phase.learner, (phase.source.train, targets), self.settings, schedule, journal
        )

    def _classify(self, phase: Phase, seed: int, journal: Journal) -> np.ndarray:
        """Trains on labels, and leaves the student at its best epoch.

        Returns:
            Which test images the student of the last epoch classifies correctly.
        """
        dataset, source = self.dataset, phase.source
        final_correct = []
        held_out = dataset.validation
        evaluation = training.Evaluation(
            (source.test, dataset.test.labels),
            held_out and (source.validation, held_out.labels),
            lambda: final_correct.append(
                predictions.correct(self.student, dataset.test.images, dataset.test.labels)
            ),
        )
        phase.enter()
        training.fit(
            phase.learner,
            (source.train, dataset.train.labels),
            self.settings,
            training.Schedule("train", self.settings.epochs, seed),
            journal,
            evaluation,
        )
        return final_correct[0]
