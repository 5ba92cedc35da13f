"""Fits a network to its targets epoch by epoch, evaluates it, and resumes where a run ended."""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import TrainingFailed
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import batches
from deep_net_triage.learning.adam import Adam
from deep_net_triage.learning.batches import Rows
from deep_net_triage.learning.learner import Classifier, Learner
from deep_net_triage.network import convolutions, outputs
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.results import Epoch

PARENT_SEED = 0

# Batches, divided among the replicas.
Divided = tf.data.Dataset | tf.distribute.DistributedDataset


@dataclass(frozen=True)
class Schedule:
    """The epochs of a phase.

    Attributes:
        phase: `train` on labels, or `distill` on what the parent's block returns.
        epochs: how many the phase has.
        seed: of the order of the images.
    """

    phase: Literal["train", "distill"]
    epochs: int
    seed: int


@dataclass(frozen=True)
class Evaluation:
    """What a network is evaluated on after each epoch: inputs and labels.

    Attributes:
        test: the test images.
        held_out: the held-out training images, which choose the best epoch; None if the test
            images do, as in the paper.
        after_last: is called once, while the network has the weights of the last epoch.
    """

    test: tuple[Rows, Rows]
    held_out: tuple[Rows, Rows] | None
    after_last: Callable[[], None] = lambda: None


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
        classifier(parent, settings),
        (train.images, train.labels),
        settings,
        Schedule("train", settings.parent_epochs, PARENT_SEED),
        journal,
        Evaluation((test.images, test.labels), held_out and (held_out.images, held_out.labels)),
    )


def classifier(
    network: keras.Model, settings: Settings, from_logits: bool | None = None
) -> Classifier:
    """Returns the learner that trains a network on labels, with a fresh optimiser.

    Args:
        network: returns one number per class.
        settings: optimiser and learning rate.
        from_logits: whether the numbers are logits; None to read it from the graph, which must
            then be a whole network's.

    Raises:
        InputError: if the numbers are neither logits nor probabilities.
    """
    optimizers = {"adam": Adam, "sgd": keras.optimizers.SGD}
    if from_logits is None:
        from_logits = outputs.returns_logits(network)
    learner = Classifier(network, from_logits)
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
    learner: Learner,
    train: tuple[Rows, Rows],
    settings: Settings,
    schedule: Schedule,
    journal: Journal,
    evaluation: Evaluation | None = None,
) -> None:
    """Trains a network for the epochs of a phase that its journal does not have yet.

    Args:
        learner: compiled.
        train: inputs, and labels or other targets.
        settings: batch size and augmentation.
        schedule: which epochs there are.
        journal: receives each epoch that ends.
        evaluation: what each epoch is evaluated on; the network is left with the weights of its
            best epoch. None for no evaluation; it is left with those of the last.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    # Now, because `_State` saves its variables. One that scales its loss is never built twice.
    if not learner.optimizer.built:
        learner.optimizer.build(learner.trainable_variables)
    state = _State(learner)
    ended, arrays = journal.of_phase(schedule.phase), journal.resumed(schedule.phase)
    if arrays is not None:
        best = max(epoch.judged_by for epoch in ended) if evaluation else None
        state.resume(arrays, best)
    examples, validation, held_out = {}, {}, None
    if evaluation:
        labels = evaluation.test[1]
        examples = {"accuracy": len(train[1]), "val_accuracy": len(labels)}
        made, steps = _for_evaluation(evaluation.test, settings.batch_size)
        validation = {"validation_data": made, "validation_steps": steps}
        if evaluation.held_out:
            held_out = functools.partial(
                evaluate, learner, *evaluation.held_out, settings.batch_size
            )
    if len(ended) < schedule.epochs:
        learner.fit(
            _for_training(train, settings, schedule, len(ended)),
            steps_per_epoch=math.ceil(len(train[1]) / settings.batch_size),
            initial_epoch=len(ended),
            epochs=schedule.epochs,
            callbacks=[_Recorder(schedule.phase, journal, examples, state, held_out)],
            shuffle=False,  # `training_batches` has shuffled
            verbose=0,
            **validation,
        )
    if evaluation:
        evaluation.after_last()
    state.restore_best()


def _for_training(
    train: tuple[Rows, Rows], settings: Settings, schedule: Schedule, first: int
) -> Divided:
    return _divided(
        batches.training_batches(
            train,
            batch_size=settings.batch_size,
            seed=schedule.seed,
            epochs=range(first, schedule.epochs),
            augment=settings.augment,
            replicas=devices.replicas(),
        )
    )


def _for_evaluation(test: tuple[Rows, Rows], batch_size: int) -> tuple[Divided, int]:
    """Returns batches that repeat without end, and the number that holds each image once."""
    made = batches.evaluation_batches(test, batch_size=batch_size, replicas=devices.replicas())
    # Without end, because Keras can't count batches that are divided, and warns when they end.
    return _divided(made.repeat()), math.ceil(len(test[1]) / batch_size)


def _divided(shares: tf.data.Dataset) -> Divided:
    """Gives each replica its own share; a strategy's own division may leave some empty."""
    if devices.replicas() == 1:
        return shares
    return tf.distribute.get_strategy().distribute_datasets_from_function(lambda _: shares)


def _exact(accuracy: float, examples: int) -> float:
    """Returns the fraction of examples that a float32 accuracy stands for."""
    return round(accuracy * examples) / examples


class _State:
    """Everything that the rest of a phase depends on, including its best epoch.

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
        """Copies the weights if the accuracy is higher than after every epoch before."""
        if accuracy > self.best_accuracy:
            self.best_accuracy = accuracy
            self.best = [weight.numpy() for weight in self.weights]

    def restore_best(self) -> None:
        """Gives the network the weights of its best epoch, if epochs were evaluated."""
        for weight, value in zip(self.weights, self.best, strict=False):
            weight.assign(value)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all values by name, for a checkpoint."""
        arrays = {
            f"{kind}_{number}": variable.numpy()
            for kind, variables in self._variables.items()
            for number, variable in enumerate(variables)
        }
        return arrays | {f"best_{number}": value for number, value in enumerate(self.best)}

    def resume(self, arrays: dict[str, np.ndarray], best_accuracy: float | None) -> None:
        """Sets everything to the values of a checkpoint."""
        for kind, variables in self._variables.items():
            for number, variable in enumerate(variables):
                variable.assign(arrays[f"{kind}_{number}"])
        if best_accuracy is not None:
            self.best_accuracy = best_accuracy
            self.best = [arrays[f"best_{number}"] for number in range(len(self.weights))]


class _Recorder(keras.callbacks.Callback):
    """Writes each epoch to the journal, and stops at a loss that is no longer finite.

    Args:
        phase: `train` or `distill`.
        journal: receives each epoch.
        examples: number of images behind each accuracy that the phase measures, by its name.
        state: of the phase.
        held_out: returns loss and accuracy on the held-out images; None if none are held out.
    """

    def __init__(
        self,
        phase: Literal["train", "distill"],
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
        """Writes the epoch to the journal."""
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        for name in ("loss", "val_loss"):
            if not math.isfinite(numbers.get(name, 0.0)):
                raise TrainingFailed(
                    f"{name} is {numbers[name]} after {self.phase} epoch {epoch + 1}"
                )
        accuracies = {
            name: _exact(numbers[name], count) for name, count in self.examples.items()
        }
        ended = Epoch(
            phase=self.phase,
            epoch=epoch + 1,
            loss=numbers["loss"],
            val_loss=numbers.get("val_loss"),
            relative_error=numbers.get("relative_error"),
            held_out_accuracy=self.held_out()[1] if self.held_out else None,
            seconds=time.perf_counter() - self.started,
            **accuracies,
        )
        if ended.judged_by is not None:
            self.state.judge(ended.judged_by)
        self.journal.end_epoch(ended, self.state.arrays())
