"""Fits a network to labels and evaluates it: parents and students the same way."""

import math
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import batches, convolutions, devices
from deep_net_triage.adam import Adam
from deep_net_triage.datasets import Dataset
from deep_net_triage.errors import TrainingFailed
from deep_net_triage.rows import Rows
from deep_net_triage.settings import Settings

# A record of `epochs.jsonl` and what takes it, at the end of each epoch.
Record = dict[str, object]
Report = Callable[[Record], None]

PARENT_SEED = 0


def train_parent(
    parent: keras.Model, dataset: Dataset, settings: Settings, report: Report
) -> None:
    """Trains a parent and leaves it with the weights of its best epoch on the test split.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    keras.utils.set_random_seed(PARENT_SEED)
    convolutions.speed_up(parent)
    compile_classifier(parent, settings)
    train, test = dataset.train, dataset.test
    classify(
        parent,
        (train.images, train.labels),
        (test.images, test.labels),
        settings,
        settings.parent_epochs,
        PARENT_SEED,
        report,
    )


def compile_classifier(model: keras.Model, settings: Settings) -> None:
    """Prepares a model for classification with a fresh optimiser."""
    optimizers = {"adam": Adam, "sgd": keras.optimizers.SGD}
    last = getattr(model.layers[-1], "activation", None)
    model.compile(
        optimizer=optimizers[settings.optimizer](settings.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=last is not keras.activations.softmax
        ),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=devices.compile_with_xla(),
    )


def evaluate(
    model: keras.Model, inputs: Rows, labels: Rows, batch_size: int
) -> tuple[float, float]:
    """Returns a compiled model's mean loss and its accuracy (0..1) over all rows."""
    test = batches.evaluation_batches(inputs, labels, batch_size=batch_size)
    numbers = model.evaluate(test, return_dict=True, verbose=0)
    return numbers["loss"], _exact(numbers["accuracy"], len(labels))


def classify(
    model: keras.Model,
    train: tuple[Rows, Rows],
    test: tuple[Rows, Rows],
    settings: Settings,
    epochs: int,
    seed: int,
    report: Report,
) -> None:
    """Trains a compiled model on labels and leaves it with its best epoch's weights.

    Args:
        model: all of it, or cut at a place.
        train: what it receives, and the labels.
        test: the same, for judging each epoch.
        settings: batch size and augmentation.
        epochs: how many.
        seed: of the order.
        report: called with each epoch's record.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    best = _BestWeights()
    examples = {"accuracy": len(train[1]), "val_accuracy": len(test[1])}
    model.fit(
        training_batches(train, settings, epochs, seed),
        steps_per_epoch=math.ceil(len(train[1]) / settings.batch_size),
        validation_data=batches.evaluation_batches(*test, batch_size=settings.batch_size),
        epochs=epochs,
        callbacks=[best, Recorder("train", report, examples)],
        shuffle=False,  # the batches are
        verbose=0,
    )
    best.restore()


def training_batches(
    train: tuple[Rows, Rows], settings: Settings, epochs: int, seed: int
) -> tf.data.Dataset:
    """Returns all batches of a training as the settings want them."""
    return batches.training_batches(
        *train,
        batch_size=settings.batch_size,
        seed=seed,
        epochs=epochs,
        augment=settings.augment,
    )


def _exact(accuracy: float, examples: int) -> float:
    """Returns the fraction of examples that a float32 accuracy stands for."""
    return round(accuracy * examples) / examples


class Recorder(keras.callbacks.Callback):
    """Turns each epoch into a record, and stops at a loss that is no longer finite.

    Args:
        phase: `train` or `distill`.
        report: called with each record.
        examples: behind each accuracy that the phase measures, by its name.
    """

    def __init__(self, phase: str, report: Report, examples: dict[str, int]) -> None:
        super().__init__()
        self.phase = phase
        self.report = report
        self.examples = examples
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the epoch's clock."""
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the epoch."""
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        for name in ("loss", "val_loss"):
            if not math.isfinite(numbers.get(name, 0.0)):
                raise TrainingFailed(
                    f"{name} is {numbers[name]} after {self.phase} epoch {epoch + 1}"
                )
        for name, examples in self.examples.items():
            numbers[name] = _exact(numbers[name], examples)
        record: Record = {"phase": self.phase, "epoch": epoch + 1}
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            record[name] = numbers.get(name)
        if "relative_error" in numbers:
            record["relative_error"] = numbers["relative_error"]
        record["seconds"] = time.perf_counter() - self.started
        self.report(record)


class _BestWeights(keras.callbacks.Callback):
    """Keeps what may change in a model as it was after the epoch of highest test accuracy.

    The first such epoch counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = -1.0
        self.best: list[tuple[keras.Variable, np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs and logs["val_accuracy"] > self.accuracy:
            self.accuracy = logs["val_accuracy"]
            changing = [layer for layer in self.model.layers if layer.trainable]
            self.best = [(w, w.numpy()) for layer in changing for w in layer.weights]

    def restore(self) -> None:
        """Takes the model back to that epoch."""
        for variable, value in self.best:
            variable.assign(value)
