"""Optimisers and learning rates, as the settings ask for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from deep_net_triage.commands.settings import Settings


class _WithOwnRates:
    """A mixin for Keras's optimisers: some variables have their own learning rate.

    Weight decay keeps the rate of the other variables.

    Args:
        learning_rate: of the other variables; a number or a schedule.
        own: the variables with their own rate.
        factor: their rate divided by that of the others.
        arguments: of Keras's optimiser.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        own: Sequence[keras.Variable] = (),
        factor: float = 1.0,
        **arguments: object,
    ) -> None:
        super().__init__(learning_rate, **arguments)
        # Keras's own optimisers tell variables apart like this; 3.15 has no public way.
        self._own = {self._var_key(variable) for variable in own}
        self._factor = factor

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates a variable; Keras calls it on each replica."""
        if self._var_key(variable) in self._own:
            learning_rate = learning_rate * self._factor
        super().update_step(gradient, variable, learning_rate)


class _FusedAdam(keras.optimizers.Adam):
    """Keras's Adam, whose update of a weight is one operation of TensorFlow's.

    The formula is the same. Keras uses a dozen operations, and each of them reads and writes
    memory: at full width, they take 8 % of a step on two cores.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Updates a variable and its two moments; Keras calls it on each replica."""
        # Keras's own optimisers look up their state like this; 3.15 has no public way.
        index = self._get_variable_index(variable)
        dtype = variable.dtype
        # `tf.cast` of a Python number would go through float32.
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        step = tf.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].handle,
            v=self._velocities[index].handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


class Adam(_WithOwnRates, _FusedAdam):
    """Adam in which some variables have their own learning rate."""


class SGD(_WithOwnRates, keras.optimizers.SGD):
    """Plain gradient descent in which some variables have their own learning rate."""


@dataclass(frozen=True)
class LearningRates:
    """The learning rates of a phase, and how long they last.

    Attributes:
        rate: the learning rate, at the top of its schedule.
        epochs: of the phase.
        steps: per epoch.
        own: variables with their own rate.
        own_rate: that rate, at the top of the same schedule; None for `rate`.
    """

    rate: float
    epochs: int
    steps: int
    own: tuple[keras.Variable, ...] = ()
    own_rate: float | None = None


def make(
    settings: Settings, network: keras.Model, rates: LearningRates
) -> keras.optimizers.Optimizer:
    """Returns the optimiser of a phase that trains on labels.

    Args:
        settings: optimiser, weight decay and schedule.
        network: what is trained; its biases and its batch norms' weights do not decay.
        rates: learning rates and steps.
    """
    scheduled = rate_of(settings, rates.rate, rates.epochs, rates.steps)
    factor = (rates.own_rate or rates.rate) / rates.rate
    if settings.optimizer == "sgd":
        return SGD(scheduled, rates.own, factor)
    optimizer = Adam(scheduled, rates.own, factor, weight_decay=settings.weight_decay or None)
    optimizer.exclude_from_weight_decay([v for v in network.weights if v.ndim < 2])
    return optimizer


def scaled(
    optimizer: keras.optimizers.Optimizer, network: keras.Model
) -> keras.optimizers.Optimizer:
    """Returns an optimiser that scales the loss if a network computes in float16.

    Keras does so if the global policy is mixed_float16. The layers of a loaded network keep
    their own policy, which may be another.
    """
    by_keras = keras.config.dtype_policy().name == "mixed_float16"
    coarse = any(layer.compute_dtype == "float16" for layer in network.layers)
    if coarse and not by_keras:
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def rate_of(
    settings: Settings, rate: float, epochs: int, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate of a phase, or its schedule over the phase's steps.

    With `cosine` the rate falls to 0 at the end of the last epoch. It depends only on the
    optimiser's count of steps, which a checkpoint holds.

    Args:
        settings: schedule and epochs of warm-up.
        rate: the highest learning rate.
        epochs: of the phase, those of warm-up included.
        steps: per epoch.
    """
    warmup = settings.warmup_epochs
    if not settings.reports_last_epoch and not warmup:
        return rate
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else rate,
        decay_steps=(epochs - warmup) * steps,
        alpha=0.0 if settings.reports_last_epoch else 1.0,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup * steps,
    )
