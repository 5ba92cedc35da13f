"""What learns in small steps on batches, alike however many replicas share each batch.

Keras averages a replica's losses over the replica's own images, then over the replicas: with
unequal shares, such as an epoch's last batch has, some images weigh more than others. Here each
replica sums over its images and divides by those of all, so that the shares' gradients add up
to the gradient of the whole batch, whatever the shares are.
"""

import math

import keras
import tensorflow as tf


class Learner(keras.Model):
    """A model that is trained on batches of (inputs, targets, weights) by steps of its own.

    Weights say what each image counts (`batches.training_batches`); without them it is 1.

    Args:
        network: what of it learns.
        name: of the model.

    Attributes:
        network: likewise.
        loss_mean: the loss over the images of the epoch so far.
    """

    def __init__(self, network: keras.Model, name: str) -> None:
        super().__init__(name=name)
        self.network = network
        self.loss_mean = keras.metrics.Mean(name="loss")
        # Its parts are; under a strategy Keras would otherwise build it by a dry run.
        self.built = True

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Those of what learns."""
        return self.network.trainable_variables

    def _maybe_symbolic_build(self, **_: object) -> None:
        """Does not build what is built.

        Private in Keras 3.15, where it averages the first batch over the replicas to learn its
        shape, which fails where their shares are unequal. A test trains on such shares.
        """

    def numbers(self) -> dict[str, tf.Tensor]:
        """Returns each metric over the images of the epoch so far."""
        return {metric.name: metric.result() for metric in self.metrics}

    def losses_of(
        self, received: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns each image's loss, (batch,), and updates the metrics beside the loss.

        Args:
            received: what the network receives.
            target: what is asked of it.
            weights: what each image counts.
        """
        raise NotImplementedError

    def descend(
        self, received: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Moves what learns one step against the gradient of a batch's mean loss.

        Args:
            received: what the network receives, a replica's share of the batch.
            target: what is asked of it, likewise.
            weights: what each image counts, likewise.

        Returns:
            the metrics so far, by name.
        """
        with tf.GradientTape() as tape:
            losses = self.losses_of(received, target, weights)
            loss = share_of_mean(losses, weights)
            # A given network's own, such as weight decay: one for all replicas together.
            for penalty in self.network.losses:
                loss += tf.cast(penalty, loss.dtype) / _replicas()
            scaled_loss = self.optimizer.scale_loss(loss)
        learning = self.trainable_variables
        gradients = tape.gradient(scaled_loss, learning)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = agreed(gradients)
        self.optimizer.apply(gradients, learning)
        self.loss_mean.update_state(losses, weights)
        return self.numbers()


def share_of_mean(losses: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Returns what a replica adds to the mean over the images of all replicas.

    Args:
        losses: of the replica's images, (images,).
        weights: what each counts; None for all alike.
    """
    weights = tf.ones_like(losses) if weights is None else tf.cast(weights, losses.dtype)
    replica = tf.distribute.get_replica_context()
    of_all = replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weights))
    return tf.reduce_sum(weights * losses) / of_all


def agreed(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns a replica's gradients, none of them finite where another's are not.

    Where a scaled loss overflows, the step is left out. Keras 3.15 lets each replica decide
    that by its own gradients before they are added up, so that those in whose share nothing
    overflowed would take the step.
    """
    finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
    broken = 1.0 - tf.cast(tf.reduce_all(finite), tf.float32)
    replica = tf.distribute.get_replica_context()
    anywhere = replica.all_reduce(tf.distribute.ReduceOp.SUM, broken) > 0
    return [
        tf.where(anywhere, tf.constant(math.nan, gradient.dtype), gradient)
        for gradient in gradients
    ]


def _replicas() -> int:
    return tf.distribute.get_replica_context().num_replicas_in_sync
