"""The trials of one block, or of the control: one student, retrained by method after method.

All trials of a block train the same network. They share one student, which each trial takes
back to its start, because tracing a training step takes seconds.
"""

import functools
import math
from dataclasses import dataclass

import keras
import numpy as np

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import alignment, guards, optimizers, predictions, training
from deep_net_triage.learning.batches import Examples, Rows
from deep_net_triage.learning.knowledge_distillation import KnowledgeDistillation
from deep_net_triage.learning.learner import Classifier, Learner, StudentTeacher
from deep_net_triage.learning.optimizers import LearningRates
from deep_net_triage.learning.sources import Source, for_model
from deep_net_triage.methods import TABLE, Method
from deep_net_triage.network import convolutions, graphs, surgery
from deep_net_triage.network.block import Block
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.summaries import summarize


@dataclass(frozen=True)
class Trained:
    """A student at the end of its trial.

    Attributes:
        model: the student with the weights of its chosen classification epoch; the next trial
            overwrites them.
        initial_accuracy: on the test images before any training, 0..1.
        distilled_accuracy: after the student-teacher phase; None without one.
        final_correct: which test images it classifies correctly after the last epoch, bool,
            (images,); None if that is the chosen epoch.
    """

    model: keras.Model
    initial_accuracy: float
    distilled_accuracy: float | None
    final_correct: np.ndarray | None


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
        # Of the optimiser as it was built: its rate, its count of steps and, in half precision,
        # its loss scale.
        self._scalars: list[tuple[keras.Variable, np.ndarray]] | None = None

    def enter(self) -> None:
        """Makes this phase's layers trainable, freezes the others, and resets the optimiser.

        Each phase of each trial begins with it. Keras traces a step when it first runs, with
        the layers that are trainable at that moment.
        """
        surgery.set_trainable(self._student, self._block, self._updates)
        optimizer = self.learner.optimizer
        if self._scalars is None:
            optimizer.build(self.learner.trainable_variables)
            self._scalars = [(v, v.numpy()) for v in optimizer.variables if v.ndim == 0]
        for variable in optimizer.variables:
            if variable.ndim:
                variable.assign(keras.ops.zeros_like(variable))
        for variable, value in self._scalars:
            variable.assign(value)


class Retraining:
    """Compresses a block of the parent and retrains the student by one method after another.

    The control of claim 2 (section 4) compresses no block: it trains a copy of the parent on
    labels for as many epochs as a student, with the same optimiser, and so shows what more
    training alone gains.

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
        surgery.synchronize(self.student, devices.replicas() > 1)
        convolutions.speed_up(self.student)
        self._initial_accuracies: dict[tuple[str | None, int, str], float] = {}

    def run(self, method: str, seed: int, journal: Journal) -> Trained:
        """Retrains the student by a method (2.3), from where its journal ends.

        Args:
            method: a name from `methods.TABLE`: `control` if there is no block, else another.
            seed: of the initialisation and of the order of images.
            journal: receives each epoch that ends.

        Raises:
            TrainingFailed: if a loss is no longer finite, or a guard fails.
        """
        row, facts = TABLE[method], journal.facts
        self._start(row, seed)
        kernels = self._kernels()
        classification = self._classification(row)
        if "initial_accuracy" not in facts:
            facts["initial_accuracy"] = self._initial_accuracy(
                classification, row, seed, journal
            )
        if row.student_teacher:
            self._distil(seed, journal)
            guards.check_frozen(self.student, self.parent, self.block)
            if "distilled_accuracy" not in facts:
                facts["distilled_accuracy"] = self._accuracy(classification, journal)
        final_correct = self._classify(classification, seed, journal)
        if row.updates == "block":
            guards.check_frozen(self.student, self.parent, self.block)
        if self.block:
            guards.check_learned(kernels, self._kernels())
        distilled = facts.get("distilled_accuracy")
        return Trained(self.student, facts["initial_accuracy"], distilled, final_correct)

    def _untrained(self) -> keras.Model:
        if self.block is None:
            return surgery.copy(self.parent)
        return surgery.compress(
            self.parent,
            self.block,
            initializer="glorot_uniform",
            seed=0,
            batchnorm_momentum=self.settings.batchnorm_momentum,
        )

    def _start(self, row: Method, seed: int) -> None:
        """Sets the student to where a trial starts, whatever ran before."""
        if self.block is None:
            surgery.copy_weights_and_reseed(self.student, self.parent, seed)
        else:
            surgery.initialize(
                self.student,
                self.parent,
                self.block,
                initializer=row.initializer,
                seed=seed,
                mean_over=self.settings.mean_over,
            )
            if row.initializer == "glorot_uniform" and self.settings.block_start == "aligned":
                images = self.dataset.train.images
                alignment.align(self.student, self.parent, self.block, images)

    def _classification(self, row: Method) -> Phase:
        if row.updates == "block":
            return self._of_block
        return self._of_taught_model if row.taught else self._of_model

    @functools.cached_property
    def _of_block(self) -> Phase:
        """Classification that trains the compressed block and reads the source."""
        place = self.source.place(self.student)
        cut = graphs.cut(self.student, place, self.student.outputs[0])
        return self._of_labels(self._classifier(cut), "block", self.source)

    @functools.cached_property
    def _of_model(self) -> Phase:
        """Classification that trains the whole model and reads images."""
        images = for_model(self.dataset, self.settings)
        return self._of_labels(self._classifier(self.student), "model", images)

    @functools.cached_property
    def _of_taught_model(self) -> Phase:
        """Classification that trains the whole model on labels and the parent's outputs."""
        learner = KnowledgeDistillation(self.student, self.parent, (self.block,), self.settings)
        return self._of_labels(learner, "model", for_model(self.dataset, self.settings))

    def _classifier(self, network: keras.Model) -> Classifier:
        return Classifier(network, self.settings.label_smoothing, self.settings.clip_norm)

    def _of_labels(self, learner: Classifier, updates: str, source: Source) -> Phase:
        settings, compressed = self.settings, ()
        if self.block and updates == "model":
            # The last of them may be a function such as `keras.ops.relu`, which has no weights.
            made = [graphs.by_name(self.student)[name] for name in self.block.compressed_layers]
            compressed = tuple(w for each in made for w in getattr(each, "weights", ()))
        rates = LearningRates(
            settings.classification_rate(updates),
            settings.epochs,
            self._steps,
            own=compressed,
            own_rate=settings.layer_learning_rate,
        )
        training.compile_for_labels(learner, settings, rates)
        return Phase(self.student, self.block, learner, updates, source)

    @property
    def _steps(self) -> int:
        return math.ceil(len(self.dataset.train) / self.settings.batch_size)

    @functools.cached_property
    def _of_pair(self) -> Phase:
        """The student-teacher phase; it computes nothing after the block."""
        parent, block, source = self.parent, self.block, self.source
        settings = self.settings
        pair = StudentTeacher(
            graphs.cut(parent, source.place(parent), block.received_by(parent)),
            surgery.segment(parent, block) if source.targets is None else None,
            surgery.segment(self.student, block),
            settings.clip_norm,
        )
        rate = optimizers.rate_of(
            settings, settings.distillation_rate, settings.distill_epochs, self._steps
        )
        optimizer = optimizers.scaled(optimizers.Adam(rate), pair.network)
        pair.compile(optimizer=optimizer, jit_compile=devices.compile_with_xla())
        return Phase(self.student, block, pair, "block", source)

    def _kernels(self) -> list[np.ndarray]:
        kernels = self.block.kernels_in(self.student) if self.block else []
        return [kernel.numpy() for kernel in kernels]

    def _initial_accuracy(
        self, phase: Phase, row: Method, seed: int, journal: Journal
    ) -> float:
        """Returns the accuracy before training, computed once for methods that share it."""
        start = (row.initializer, seed, row.updates)
        if start not in self._initial_accuracies:
            self._initial_accuracies[start] = self._accuracy(phase, journal)
        return self._initial_accuracies[start]

    def _accuracy(self, phase: Phase, journal: Journal) -> float:
        labels, batch_size = self.dataset.test.labels, self.settings.batch_size
        inputs, report = phase.source.test, journal.watch.step
        return training.evaluate(phase.learner, inputs, labels, batch_size, report)[1]

    def _distil(self, seed: int, journal: Journal) -> None:
        """Trains the compressed block to return what the parent's block returns."""
        phase, labels = self._of_pair, self.dataset.train.labels
        targets = labels if self.source.targets is None else self.source.targets
        phase.enter()
        training.fit(
            phase.learner,
            self._examples(phase.source, targets),
            self.settings,
            training.Schedule("distill", self.settings.distill_epochs, seed),
            journal,
        )

    def _classify(self, phase: Phase, seed: int, journal: Journal) -> np.ndarray | None:
        """Trains on labels, and leaves the student at its chosen epoch.

        Returns:
            Which test images the student of the last epoch classifies correctly; None if that
            is the chosen epoch.
        """
        dataset, source = self.dataset, phase.source
        held_out = dataset.validation
        evaluation = training.Evaluation(
            (source.test, dataset.test.labels),
            held_out and (source.validation, held_out.labels),
        )
        phase.enter()
        fitted = training.fit(
            phase.learner,
            self._examples(source, dataset.train.labels),
            self.settings,
            training.Schedule("train", self.settings.epochs, seed),
            journal,
            evaluation,
        )
        curve = summarize(journal.epochs, self.settings.reports_last_epoch)
        if curve.chosen_epoch == self.settings.epochs:
            return None
        network, labels = phase.learner.network, dataset.test.labels
        final_correct = predictions.correct(network, source.test, labels)
        fitted.restore_best()
        return final_correct

    def _examples(self, source: Source, targets: Rows) -> Examples:
        return Examples(source.train, targets, len(self.dataset.train), source.augment)
