"""Fits a network to labels and evaluates it: parents and students the same way."""

import functools
import math
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import TrainingFailed
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import batches
from deep_net_triage.learning.adam import Adam
from deep_net_triage.learning.classifier import Classifier
from deep_net_triage.learning.learner import Learner
from deep_net_triage.learning.rows import Rows
from deep_net_triage.network import convolutions
from deep_net_triage.records.journal import Journal, Record

PARENT_SEED = 0


def train_parent(
    parent: keras.Model, dataset: Dataset, settings: Settings, journal: Journal
) -> None:
    """Trains a parent and leaves it with the weights of its best epoch.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    keras.utils.set_random_seed(PARENT_SEED)
    convolutions.speed_up(parent)
    train, test, held_out = dataset.train, dataset.test, dataset.validation
    fit(
        "train",
        classifier(parent, settings),
        (train.images, train.labels),
        settings,
        settings.parent_epochs,
        PARENT_SEED,
        journal,
        test=(test.images, test.labels),
        validation=held_out and (held_out.images, held_out.labels),
    )


def classifier(network: keras.Model, settings: Settings) -> Classifier:
    """Returns what trains a network on labels, with a fresh optimiser."""
    optimizers = {"adam": Adam, "sgd": keras.optimizers.SGD}
    learner = Classifier(network)
    learner.compile(
        optimizer=optimizers[settings.optimizer](settings.learning_rate),
        jit_compile=devices.compile_with_xla(),
    )
    return learner


def evaluate(
    learner: Classifier, inputs: Rows, labels: Rows, batch_size: int
) -> tuple[float, float]:
    """Returns a network's mean loss and its accuracy (0..1) over all rows."""
    test, steps = _for_evaluation((inputs, labels), batch_size)
    numbers = learner.evaluate(test, steps=steps, return_dict=True, verbose=0)
    return numbers["loss"], _exact(numbers["accuracy"], len(labels))


def fit(
    phase: str,
    learner: Learner,
    train: tuple[Rows, Rows],
    settings: Settings,
    epochs: int,
    seed: int,
    journal: Journal,
    *,
    test: tuple[Rows, Rows] | None = None,
    validation: tuple[Rows, Rows] | None = None,
) -> None:
    """Trains a network for what its journal does not have yet of a phase.

    Args:
        phase: `train` or `distill`.
        learner: compiled; a network with its labels, or a student with its teacher.
        train: what it receives, and the labels or what it shall return.
        settings: batch size and augmentation.
        epochs: how many the phase has.
        seed: of the order.
        journal: is told of each epoch that ends.
        test: the same as `train` for judging each epoch, where it is judged; the network is
            then left with the weights of its best one.
        validation: likewise, what tells the best epoch instead of `test`.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    # Else it has no state to keep yet; one that scales its loss must not be built twice.
    if not learner.optimizer.built:
        learner.optimizer.build(learner.trainable_variables)
    state = _State(learner)
    done = journal.epochs_done(phase)
    kept = journal.resumed(phase)
    if kept is not None:
        judge = "held_out_accuracy" if validation else "val_accuracy"
        accuracies = [r[judge] for r in journal.records if r["phase"] == phase]
        state.resume(kept, max(accuracies) if test else None)
    judged = {}
    examples = {}
    if test:
        examples = {"accuracy": len(train[1]), "val_accuracy": len(test[1])}
        made, steps = _for_evaluation(test, settings.batch_size)
        judged = {"validation_data": made, "validation_steps": steps}
    held_out = None
    if validation:
        held_out = functools.partial(evaluate, learner, *validation, settings.batch_size)
    if done < epochs:
        learner.fit(
            _for_training(train, settings, seed, range(done, epochs)),
            steps_per_epoch=math.ceil(len(train[1]) / settings.batch_size),
            initial_epoch=done,
            epochs=epochs,
            callbacks=[_Recorder(phase, journal, examples, state, held_out)],
            shuffle=False,  # the batches are
            verbose=0,
            **judged,
        )
    state.restore_best()


# Batches, divided among the replicas.
Divided = tf.data.Dataset | tf.distribute.DistributedDataset


def _for_training(
    train: tuple[Rows, Rows], settings: Settings, seed: int, epochs: range
) -> Divided:
    return _divided(
        batches.training_batches(
            *train,
            batch_size=settings.batch_size,
            seed=seed,
            epochs=epochs,
            augment=settings.augment,
            replicas=devices.replicas(),
        )
    )


def _for_evaluation(test: tuple[Rows, Rows], batch_size: int) -> tuple[Divided, int]:
    """Returns batches again and again, and how many steps see each image once."""
    made = batches.evaluation_batches(*test, batch_size=batch_size, replicas=devices.replicas())
    # Endless, because Keras can't count batches that are divided, and warns when they end.
    return _divided(made.repeat()), math.ceil(len(test[1]) / batch_size)


def _divided(shares: tf.data.Dataset) -> Divided:
    """Hands each replica its own share; by itself a strategy may leave some of them none."""
    if devices.replicas() == 1:
        return shares
    return tf.distribute.get_strategy().distribute_datasets_from_function(lambda _: shares)


def _exact(accuracy: float, examples: int) -> float:
    """Returns the fraction of examples that a float32 accuracy stands for."""
    return round(accuracy * examples) / examples


class _State:
    """All that the rest of a phase depends on, the best epoch so far included.

    Args:
        learner: what is fitted.
    """

    def __init__(self, learner: Learner) -> None:
        weights = {id(weight) for weight in learner.weights}
        measured = {id(variable) for variable in learner.metrics_variables}
        layers = learner.network.layers
        self.weights = [w for layer in layers if layer.trainable for w in layer.weights]
        self._variables = {
            "weight": self.weights,
            # Of layers that draw at random.
            "random": [v for v in learner.variables if id(v) not in weights | measured],
            "optimizer": list(learner.optimizer.variables),
        }
        self.best: list[np.ndarray] = []
        self.best_accuracy = -1.0

    def judge(self, accuracy: float) -> None:
        """Keeps what has learned where it is better than ever before."""
        if accuracy > self.best_accuracy:
            self.best_accuracy = accuracy
            self.best = [weight.numpy() for weight in self.weights]

    def restore_best(self) -> None:
        """Takes what has learned back to the best epoch, where epochs were judged."""
        for weight, value in zip(self.weights, self.best, strict=False):
            weight.assign(value)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns it by name, for a checkpoint."""
        arrays = {
            f"{kind}_{number}": variable.numpy()
            for kind, variables in self._variables.items()
            for number, variable in enumerate(variables)
        }
        return arrays | {f"best_{number}": value for number, value in enumerate(self.best)}

    def resume(self, arrays: dict[str, np.ndarray], best_accuracy: float | None) -> None:
        """Takes everything to where a checkpoint was made."""
        for kind, variables in self._variables.items():
            for number, variable in enumerate(variables):
                variable.assign(arrays[f"{kind}_{number}"])
        if best_accuracy is not None:
            self.best_accuracy = best_accuracy
            self.best = [arrays[f"best_{number}"] for number in range(len(self.weights))]


class _Recorder(keras.callbacks.Callback):
    """Turns each epoch into a record, and stops at a loss that is no longer finite.

    Args:
        phase: `train` or `distill`.
        journal: is told of each epoch.
        examples: behind each accuracy that the phase measures, by its name.
        state: of the phase.
        held_out: returns loss and accuracy on the images that tell the best epoch; None where
            the test images do.
    """

    def __init__(
        self,
        phase: str,
        journal: Journal,
        examples: dict[str, int],
        state: _State,
        held_out: Callable[[], tuple[float, float]] | None,
    ) -> None:
        super().__init__()
        self.phase = phase
        self.journal = journal
        self.examples = examples
        self.state = state
        self.held_out = held_out
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the epoch's clock."""
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Ends the epoch in the journal."""
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
        if self.held_out:
            record["held_out_accuracy"] = self.held_out()[1]
        record["seconds"] = time.perf_counter() - self.started
        if "val_accuracy" in numbers:
            self.state.judge(record.get("held_out_accuracy", numbers["val_accuracy"]))
        self.journal.end_epoch(record, self.state.arrays())
