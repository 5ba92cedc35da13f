"""Keras models with training steps of their own, which learn labels or the parent's block.

`Classifier` learns labels, `StudentTeacher` what the parent's block returns.

Steps are equal however many replicas share a batch. Keras averages a replica's losses over that
replica's images, then over the replicas: with unequal shares, such as those of an epoch's last
batch, some images weigh more than others. Here each replica sums over its images and divides by
the number of all, so that the gradients add up to the gradient of the whole batch.
"""

import math

import keras
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.network import logits

# Floor of probabilities before the logarithm: the smallest normal float32.
SMALLEST = 2.0**-126


class Learner(keras.Model):
    """A model that is trained on batches of (inputs, targets, weights) by steps of its own.

    Weights say how much each image counts (`batches.training_batches`); without them, 1.

    Args:
        network: its trainable layers learn.
        name: of the model.
        clip_norm: the largest norm that a step's gradient of all weights together may have;
            None for any.

    Attributes:
        network: the trained network.
        loss_mean: the loss over the images of the epoch so far.
    """

    def __init__(self, network: keras.Model, name: str, clip_norm: float | None = None) -> None:
        super().__init__(name=name)
        self.network = network
        self.clip_norm = clip_norm
        self.loss_mean = keras.metrics.Mean(name="loss")
        # The network is built; under a strategy Keras would otherwise build this by a dry run.
        self.built = True

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The trainable variables of `network`."""
        return self.network.trainable_variables

    def _maybe_symbolic_build(self, **_: object) -> None:
        """Does nothing, because the network is built.

        Private in Keras 3.15, where it averages the first batch over the replicas to learn its
        shape, which fails where their shares are unequal. A test trains on such shares.
        """

    def per_image_losses(
        self, received: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns each image's loss, (batch,), and updates the metrics other than the loss.

        Args:
            received: the network's input.
            target: labels, or what the network should return.
            weights: how much each image counts, (batch,).
        """
        raise NotImplementedError

    def gradient_step(
        self, received: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Takes one step of the optimiser along the gradient of a batch's mean loss.

        Args:
            received: the network's input, a replica's share of the batch.
            target: labels, or what the network should return, likewise.
            weights: how much each image counts, likewise.

        Returns:
            The metrics so far, by name.
        """
        with tf.GradientTape() as tape:
            losses = self.per_image_losses(received, target, weights)
            loss = share_of_mean(losses, weights)
            # A network's own losses, such as weight decay, count once for all replicas.
            for penalty in self.network.losses:
                loss += tf.cast(penalty, loss.dtype) / devices.replicas()
            scaled_loss = self.optimizer.scale_loss(loss)
        found = zip(
            tape.gradient(scaled_loss, self.trainable_variables),
            self.trainable_variables,
            strict=True,
        )
        # A weight that the output does not depend on has no gradient.
        pairs = [(gradient, weight) for gradient, weight in found if gradient is not None]
        gradients, learning = map(list, zip(*pairs, strict=True))
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = nan_unless_all_finite(gradients)
        if self.clip_norm:
            limit = self.optimizer.scale_loss(tf.constant(self.clip_norm, scaled_loss.dtype))
            gradients = clipped(gradients, limit)
        self.optimizer.apply(gradients, learning)
        self.loss_mean.update_state(losses, weights)
        return self.get_metrics_result()


class Classifier(Learner):
    """Trains a network on labels by cross-entropy, and evaluates it.

    Args:
        network: returns one number per class; its trainable layers learn.
        label_smoothing: the share of each training label that is spread over all classes; not
            used in evaluation.
        clip_norm: as `Learner` takes it.

    Raises:
        InputError: if the numbers are neither logits nor probabilities.
    """

    def __init__(
        self,
        network: keras.Model,
        label_smoothing: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(network, f"{network.name}_and_labels", clip_norm)
        self.from_logits = logits.returns_logits(network)
        self.label_smoothing = label_smoothing
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss and the accuracy, over the images of the epoch so far."""
        return [self.loss_mean, self.accuracy]

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns what the network returns."""
        return self.network(inputs, training=training)

    def per_image_losses(
        self, received: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns each image's cross-entropy, (batch,), and updates the accuracy."""
        returned = self.network(received, training=True)
        self.accuracy.update_state(target, returned, weights)
        return self.cross_entropies(returned, target, self.label_smoothing)

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Takes one step on a batch."""
        return self.gradient_step(*keras.utils.unpack_x_y_sample_weight(data))

    def test_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Evaluates the network on a batch."""
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        # Called by itself, this learner would round inputs to the precision of the policy.
        returned = self.network(inputs, training=False)
        self.accuracy.update_state(labels, returned, weights)
        losses = self.cross_entropies(returned, labels)
        self.loss_mean.update_state(losses, weights)
        return self.get_metrics_result()

    def cross_entropies(
        self, returned: tf.Tensor, labels: tf.Tensor, smoothing: float = 0.0
    ) -> tf.Tensor:
        """Returns each image's cross-entropy, (batch,).

        Args:
            returned: by the network, (batch, classes).
            labels: (batch,).
            smoothing: the share of each label that is spread over all classes.
        """
        logits = self.logits(returned)
        if not smoothing:
            return keras.losses.sparse_categorical_crossentropy(
                labels, logits, from_logits=True
            )
        whole = tf.one_hot(tf.cast(labels, tf.int32), logits.shape[-1], dtype=logits.dtype)
        return keras.losses.categorical_crossentropy(
            whole, logits, from_logits=True, label_smoothing=smoothing
        )

    def logits(self, returned: tf.Tensor) -> tf.Tensor:
        """Returns what a network returned as logits, in float32 at least.

        Logarithms of probabilities are logits too. A softmax's own are preferred: in half
        precision a small probability becomes 0, while its logit is still exact.
        """
        if self.from_logits:
            return at_least_float32(returned)
        # Keras 3.15 attaches a softmax's logits to its output under this private name. After a
        # Flatten they are lost; Keras would then clip probabilities at 1e-7, and so the loss
        # at 16. Tests hold both losses.
        own = getattr(returned, "_keras_logits", None)
        if own is not None:
            return at_least_float32(own)
        return tf.math.log(tf.maximum(at_least_float32(returned), SMALLEST))


def at_least_float32(values: tf.Tensor) -> tf.Tensor:
    """Returns values in float32 at least: half precision is too coarse for a loss."""
    return tf.cast(values, tf.float64 if values.dtype == tf.float64 else tf.float32)


class StudentTeacher(Learner):
    """Trains a student's compressed block to return what the parent's block returns (2.3.5).

    Parent and student are the same network up to the block, so one pass through the layers
    before it feeds both, and nothing after it is computed. The loss of a batch is the squared
    L2 norm of the difference of the pooled outputs, averaged over the batch (Eq. 3).

    Args:
        before: the frozen layers from the inputs to the block; without layers if the inputs are
            what the block receives.
        teacher: the parent's block; None if the targets are what it returns.
        student: the compressed block; its trainable layers learn.
        clip_norm: as `Learner` takes it.
    """

    def __init__(
        self,
        before: keras.Model,
        teacher: keras.Model | None,
        student: keras.Model,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(student, f"{student.name}_and_teacher", clip_norm)
        self.before = before
        self.teacher = teacher
        self.relative_error = RelativeError()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss and the relative error, over the images of the epoch so far."""
        return [self.loss_mean, self.relative_error]

    def per_image_losses(
        self, received: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns each image's squared L2 distance (Eq. 3), (batch,)."""
        output = self.network(received, training=True)
        self.relative_error.update_state(target, output, weights)
        return squared_distances(target, output)

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Takes one step of the compressed block towards the parent's pooled output."""
        inputs, target, weights = keras.utils.unpack_x_y_sample_weight(data)
        received = self.before(inputs, training=False)
        if self.teacher:
            target = self.teacher(received, training=False)
        return self.gradient_step(received, target, weights)


class RelativeError(keras.metrics.Metric):
    """The sum of squared distances from the targets, over the sum of their squared norms.

    It is 0 for a perfect student and 1 for one that returns zeros.
    """

    def __init__(self) -> None:
        super().__init__(name="relative_error")
        self.distance = self.add_variable((), "zeros", name="distance")
        self.norm = self.add_variable((), "zeros", name="norm")

    def update_state(
        self, target: tf.Tensor, output: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Adds a batch; both tensors are (batch, height, width, filters)."""
        target = tf.cast(target, at_least_float32(output).dtype)
        distances = squared_distances(target, output)
        norms = squared_distances(target, tf.zeros_like(target))
        weights = 1.0 if sample_weight is None else tf.cast(sample_weight, norms.dtype)
        self.distance.assign_add(tf.reduce_sum(weights * distances))
        self.norm.assign_add(tf.reduce_sum(weights * norms))

    def result(self) -> tf.Tensor:
        """Returns the ratio of the sums."""
        return keras.ops.divide_no_nan(self.distance, self.norm)


def squared_distances(target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Returns each image's squared L2 distance between two tensors (Eq. 3), (batch,).

    In float32 at least: half precision overflows on a sum of so many squares. The result has
    the output's precision.
    """
    output = at_least_float32(output)
    difference = output - tf.cast(target, output.dtype)
    return tf.reduce_sum(tf.square(difference), axis=tuple(range(1, len(difference.shape))))


def share_of_mean(losses: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Returns what a replica contributes to the mean loss over the images of all replicas.

    Args:
        losses: of the replica's images, (images,).
        weights: how much each counts, (images,); None for all alike.
    """
    weights = tf.ones_like(losses) if weights is None else tf.cast(weights, losses.dtype)
    replica = tf.distribute.get_replica_context()
    of_all = replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(weights))
    return tf.reduce_sum(weights * losses) / of_all


def clipped(gradients: list[tf.Tensor], limit: tf.Tensor) -> list[tf.Tensor]:
    """Returns a replica's share of the gradient of all replicas, clipped to a norm.

    Keras 3.15 clips the gradient of each replica before they are added up, so that the number
    of replicas would change the step.

    Args:
        gradients: of a replica's share of the mean loss.
        limit: the largest norm of all gradients together, scaled as the loss is.
    """
    replica = tf.distribute.get_replica_context()
    whole = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    norm = tf.linalg.global_norm(whole)
    factor = tf.cast(limit, norm.dtype) / tf.maximum(norm, tf.cast(limit, norm.dtype))
    return [gradient * (factor / devices.replicas()) for gradient in whole]


def nan_unless_all_finite(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns a replica's gradients, or NaNs if any replica has a gradient that is not finite.

    A step whose scaled loss overflows is skipped, on all replicas if it overflows on one. Keras
    3.15 would let each replica decide by its own gradients, before they are added up.
    """
    finite = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
    broken = 1.0 - tf.cast(tf.reduce_all(finite), tf.float32)
    replica = tf.distribute.get_replica_context()
    anywhere = replica.all_reduce(tf.distribute.ReduceOp.SUM, broken) > 0
    return [
        tf.where(anywhere, tf.constant(math.nan, gradient.dtype), gradient)
        for gradient in gradients
    ]
