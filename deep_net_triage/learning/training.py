"""Fits a network to its targets epoch by epoch, evaluates it, and resumes where a run ended."""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import devices, steps
from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import TrainingFailed
from deep_net_triage.learning import batches, optimizers
from deep_net_triage.learning.batches import Examples, Rows
from deep_net_triage.learning.learner import Classifier, Learner
from deep_net_triage.learning.optimizers import LearningRates
from deep_net_triage.learning.stepping import StepReports
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.results import Epoch
from deep_net_triage.steps import Report

# Batches, divided among the replicas.
Divided = tf.data.Dataset | tf.distribute.DistributedDataset


@dataclass(frozen=True)
class Schedule:
    """The epochs of a phase.

    Attributes:
        phase: `train` on labels, or `distill` on what the parent's block returns.
        epochs: how many the phase has.
        seed: of the order of the images.
        patience: the phase ends after so many epochs without a better one; None to run all
            epochs.
    """

    phase: Literal["train", "distill"]
    epochs: int
    seed: int
    patience: int | None = None

    def ended(self, epochs: Sequence[Epoch]) -> bool:
        """Returns whether the phase is over after some of its epochs."""
        if len(epochs) >= self.epochs:
            return True
        if self.patience is None:
            return False
        judged = [epoch.judged_by for epoch in epochs]
        return bool(judged) and len(judged) - 1 - judged.index(max(judged)) >= self.patience


@dataclass(frozen=True)
class Evaluation:
    """What a network is evaluated on after each epoch: inputs and labels.

    Attributes:
        test: the test images.
        held_out: the validation images, by which an epoch is judged; None if it is judged by
            the test images, as in the paper.
    """

    test: tuple[Rows, Rows]
    held_out: tuple[Rows, Rows] | None


def compile_for_labels(learner: Classifier, settings: Settings, rates: LearningRates) -> None:
    """Gives a classifier a fresh optimiser for a phase."""
    learner.compile(
        optimizer=optimizers.scaled(
            optimizers.make(settings, learner.network, rates), learner.network
        ),
        jit_compile=devices.compile_with_xla(),
    )


def evaluate(
    learner: Classifier,
    inputs: Rows,
    labels: Rows,
    batch_size: int,
    report: Report = steps.ignore,
) -> tuple[float, float]:
    """Returns a network's mean loss and its accuracy (0..1) over all rows.

    Args:
        learner: compiled.
        inputs, labels: one row per image.
        batch_size: images at once.
        report: receives how many steps have been taken.
    """
    test, count = _for_evaluation((inputs, labels), batch_size)
    reports = StepReports(report, batch_size, count)
    numbers = learner.evaluate(
        test, steps=count, callbacks=[reports], return_dict=True, verbose=0
    )
    return numbers["loss"], _exact(numbers["accuracy"], len(labels))


def fit(
    learner: Learner,
    train: Examples,
    settings: Settings,
    schedule: Schedule,
    journal: Journal,
    evaluation: Evaluation | None = None,
) -> "Fitted":
    """Trains a network for the epochs of a phase that its journal does not have yet.

    Args:
        learner: compiled.
        train: inputs, and labels or other targets.
        settings: batch size, and whether the last epoch is chosen or the best.
        schedule: which epochs there are.
        journal: receives each epoch that ends.
        evaluation: what each epoch is evaluated on; None for no evaluation.

    Returns:
        The state after the last epoch. The network has that epoch's weights, not the best's.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    # Built now, because `Fitted` saves its variables. An optimiser that scales its loss must
    # not be built twice.
    if not learner.optimizer.built:
        learner.optimizer.build(learner.trainable_variables)
    state = Fitted(learner, chooses=evaluation is not None and not settings.reports_last_epoch)
    ended, arrays = journal.of_phase(schedule.phase), journal.resumed(schedule.phase)
    if arrays is not None:
        state.resume(arrays, ended)
    report, test_steps = journal.watch.step, 0
    examples, validation, held_out = {}, {}, None
    if evaluation:
        labels = evaluation.test[1]
        examples = {"accuracy": train.images, "val_accuracy": len(labels)}
        made, test_steps = _for_evaluation(evaluation.test, settings.batch_size)
        validation = {"validation_data": made, "validation_steps": test_steps}
        if evaluation.held_out:
            held_out = functools.partial(
                evaluate, learner, *evaluation.held_out, settings.batch_size, report
            )
    if not schedule.ended(ended):
        learner.fit(
            _for_training(train, settings, schedule, len(ended)),
            steps_per_epoch=math.ceil(train.images / settings.batch_size),
            initial_epoch=len(ended),
            epochs=schedule.epochs,
            callbacks=[
                StepReports(report, settings.batch_size, test_steps, schedule.phase),
                _Recorder(schedule, journal, examples, state, held_out),
            ],
            shuffle=False,  # `training_batches` has shuffled
            verbose=0,
            **validation,
        )
    return state


def _for_training(
    train: Examples, settings: Settings, schedule: Schedule, first: int
) -> Divided:
    return divided(
        batches.training_batches(
            train,
            batch_size=settings.batch_size,
            seed=schedule.seed,
            epochs=range(first, schedule.epochs),
            replicas=devices.replicas(),
        )
    )


def _for_evaluation(test: tuple[Rows, Rows], batch_size: int) -> tuple[Divided, int]:
    """Returns batches that repeat without end, and the number that holds each image once."""
    made = batches.evaluation_batches(test, batch_size=batch_size, replicas=devices.replicas())
    # Without end, because Keras can't count batches that are divided, and warns when they end.
    return divided(made.repeat()), math.ceil(len(test[1]) / batch_size)


def divided(shares: tf.data.Dataset) -> Divided:
    """Gives each replica its own share; a strategy's own division may leave some empty."""
    if devices.replicas() == 1:
        return shares
    return tf.distribute.get_strategy().distribute_datasets_from_function(lambda _: shares)


def _exact(accuracy: float, examples: int) -> float:
    """Returns the fraction of examples that a float32 accuracy stands for."""
    return round(accuracy * examples) / examples


class Fitted:
    """A phase's state for checkpoints: weights, optimiser state and random states.

    If the best epoch may be chosen, its weights are held as well.

    Args:
        learner: what is fitted.
        chooses: whether the best epoch may be chosen, so that its weights are kept.
    """

    def __init__(self, learner: Learner, chooses: bool) -> None:
        self.chooses = chooses
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
        if self.chooses and accuracy > self.best_accuracy:
            self.best_accuracy = accuracy
            self.best = [_values(weight) for weight in self.weights]

    def restore_best(self) -> None:
        """Gives the network the weights of its best epoch."""
        for weight, value in zip(self.weights, self.best, strict=False):
            weight.assign(value)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all values by name, for a checkpoint."""
        arrays = {
            f"{kind}_{number}": _values(variable)
            for kind, variables in self._variables.items()
            for number, variable in enumerate(variables)
        }
        return arrays | {f"best_{number}": value for number, value in enumerate(self.best)}

    def resume(self, arrays: dict[str, np.ndarray], ended: Sequence[Epoch]) -> None:
        """Sets everything to the values of a checkpoint, made after the epochs that ended."""
        for kind, variables in self._variables.items():
            for number, variable in enumerate(variables):
                variable.assign(arrays[f"{kind}_{number}"])
        if self.chooses:
            self.best_accuracy = max(epoch.judged_by for epoch in ended)
            self.best = [arrays[f"best_{number}"] for number in range(len(self.weights))]


def _values(variable: keras.Variable) -> np.ndarray:
    """Returns a variable's values in a type that NumPy can save: bfloat16 becomes float32."""
    values = variable.numpy()
    return values.astype(np.float32) if values.dtype.kind == "V" else values


class _Recorder(keras.callbacks.Callback):
    """Writes each epoch to the journal, and stops at a loss that is no longer finite.

    Args:
        schedule: of the phase.
        journal: receives each epoch.
        examples: number of images behind each accuracy that the phase measures, by its name.
        state: of the phase.
        held_out: returns loss and accuracy on the validation images; None without these.
    """

    def __init__(
        self,
        schedule: Schedule,
        journal: Journal,
        examples: dict[str, int],
        state: Fitted,
        held_out: Callable[[], tuple[float, float]] | None,
    ) -> None:
        super().__init__()
        self.schedule = schedule
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
                    f"{name} is {numbers[name]} after {self.schedule.phase} epoch {epoch + 1}"
                )
        accuracies = {
            name: _exact(numbers[name], count) for name, count in self.examples.items()
        }
        ended = Epoch(
            phase=self.schedule.phase,
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
        if self.schedule.ended(self.journal.of_phase(self.schedule.phase)):
            self.model.stop_training = True
