"""Fits a parent, takes a student through its phases, and evaluates both the same way."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import batches, devices, surgery
from deep_net_triage.blocks import Block
from deep_net_triage.datasets import Dataset, Split
from deep_net_triage.errors import TrainingFailed
from deep_net_triage.methods import METHODS
from deep_net_triage.settings import DISTILL_LEARNING_RATE, Settings
from deep_net_triage.student_teacher import StudentTeacher

# A record of `epochs.jsonl` and what takes it, at the end of each epoch.
Record = dict[str, object]
Report = Callable[[Record], None]

PARENT_SEED = 0


@dataclass(frozen=True)
class Trained:
    """A student after its trial.

    Attributes:
        model: the student with the weights of its best classification epoch.
        initial_accuracy: right after surgery, nothing trained.
        distilled_accuracy: after the student-teacher phase; None without one.
    """

    model: keras.Model
    initial_accuracy: float
    distilled_accuracy: float | None


def train_parent(
    parent: keras.Model, dataset: Dataset, settings: Settings, report: Report
) -> None:
    """Trains a parent and leaves it with the weights of its best epoch on the test split.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    keras.utils.set_random_seed(PARENT_SEED)
    compile_classifier(parent, settings)
    _classify(parent, dataset, settings, settings.parent_epochs, PARENT_SEED, report)


def train_student(
    parent: keras.Model,
    block: Block,
    method: str,
    seed: int,
    dataset: Dataset,
    settings: Settings,
    report: Report,
) -> Trained:
    """Compresses a block of the parent and retrains the student by a method (2.3).

    Args:
        parent: read, never changed but for being frozen.
        block: which block to compress.
        method: a name from `METHODS`.
        seed: of the initialisation and of the order of images.
        dataset: what to train on, and be judged by after each epoch.
        settings: everything else.
        report: called with each epoch's record.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    row = METHODS[method]
    keras.utils.set_random_seed(seed)
    student = surgery.compress(
        parent,
        block,
        initializer=row.initializer,
        seed=seed,
        mean_over=settings.mean_over,
        batchnorm_momentum=settings.batchnorm_momentum,
        synchronized=devices.replicas() > 1,
    )
    surgery.set_trainable(student, block, row.updates)
    compile_classifier(student, settings)
    _, initial_accuracy = evaluate(student, dataset.test, settings.batch_size)
    distilled_accuracy = None
    if row.distil:
        _distil(parent, student, block, dataset, settings, seed, report)
        _, distilled_accuracy = evaluate(student, dataset.test, settings.batch_size)
        # Distillation froze what this method may train.
        surgery.set_trainable(student, block, row.updates)
        compile_classifier(student, settings)
    _classify(student, dataset, settings, settings.epochs, seed, report)
    return Trained(student, initial_accuracy, distilled_accuracy)


def compile_classifier(model: keras.Model, settings: Settings) -> None:
    """Prepares a model for classification with a fresh optimiser."""
    optimizers = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
    last = getattr(model.layers[-1], "activation", None)
    model.compile(
        optimizer=optimizers[settings.optimizer](settings.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=last is not keras.activations.softmax
        ),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=devices.compile_with_xla(),
    )


def evaluate(model: keras.Model, split: Split, batch_size: int) -> tuple[float, float]:
    """Returns a compiled model's mean loss and its accuracy (0..1) over a whole split."""
    test = batches.evaluation_batches(split, batch_size=batch_size)
    numbers = model.evaluate(test, return_dict=True, verbose=0)
    return numbers["loss"], _exact(numbers["accuracy"], split)


def _exact(accuracy: float, split: Split) -> float:
    """Returns the fraction of images that a float32 accuracy stands for."""
    return round(accuracy * len(split)) / len(split)


def _classify(
    model: keras.Model,
    dataset: Dataset,
    settings: Settings,
    epochs: int,
    seed: int,
    report: Report,
) -> None:
    """Trains a compiled model on the labels and leaves it with its best epoch's weights."""
    best = _BestWeights()
    model.fit(
        _training_batches(dataset, settings, epochs, seed),
        steps_per_epoch=math.ceil(len(dataset.train) / settings.batch_size),
        validation_data=batches.evaluation_batches(
            dataset.test, batch_size=settings.batch_size
        ),
        epochs=epochs,
        callbacks=[best, _Recorder("train", dataset, report)],
        shuffle=False,  # the batches are
        verbose=0,
    )
    model.set_weights(best.weights)


def _distil(
    parent: keras.Model,
    student: keras.Model,
    block: Block,
    dataset: Dataset,
    settings: Settings,
    seed: int,
    report: Report,
) -> None:
    """Trains the student's compressed block to return what the parent's block returns."""
    pair = StudentTeacher(parent, student, block)
    pair.compile(
        optimizer=keras.optimizers.Adam(DISTILL_LEARNING_RATE),
        jit_compile=devices.compile_with_xla(),
    )
    pair.fit(
        _training_batches(dataset, settings, settings.distill_epochs, seed),
        steps_per_epoch=math.ceil(len(dataset.train) / settings.batch_size),
        epochs=settings.distill_epochs,
        callbacks=[_Recorder("distill", dataset, report)],
        shuffle=False,
        verbose=0,
    )


def _training_batches(
    dataset: Dataset, settings: Settings, epochs: int, seed: int
) -> tf.data.Dataset:
    return batches.training_batches(
        dataset.train,
        batch_size=settings.batch_size,
        seed=seed,
        epochs=epochs,
        augment=settings.augment,
    )


class _Recorder(keras.callbacks.Callback):
    """Turns each epoch into a record, and stops at a loss that is no longer finite."""

    def __init__(self, phase: str, dataset: Dataset, report: Report) -> None:
        super().__init__()
        self.phase = phase
        self.splits = {"accuracy": dataset.train, "val_accuracy": dataset.test}
        self.report = report
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        for name in ("loss", "val_loss"):
            if not math.isfinite(numbers.get(name, 0.0)):
                raise TrainingFailed(
                    f"{name} is {numbers[name]} after {self.phase} epoch {epoch + 1}"
                )
        for name in self.splits.keys() & numbers.keys():
            numbers[name] = _exact(numbers[name], self.splits[name])
        record: Record = {"phase": self.phase, "epoch": epoch + 1}
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            record[name] = numbers.get(name)
        if "relative_error" in numbers:
            record["relative_error"] = numbers["relative_error"]
        record["seconds"] = time.perf_counter() - self.started
        self.report(record)


class _BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the first epoch with the highest test accuracy."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = -1.0
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs and logs["val_accuracy"] > self.accuracy:
            self.accuracy = logs["val_accuracy"]
            self.weights = self.model.get_weights()
