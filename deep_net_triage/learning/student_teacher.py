"""Student-teacher training: a compressed block learns what the parent's returns (2.3.5)."""

import keras
import tensorflow as tf

from deep_net_triage.learning.learner import Learner


class RelativeError(keras.metrics.Metric):
    """The squared distance over the target's own squared norm, over all images seen.

    It is 0 for a perfect student and 1 for one that returns zeros.
    """

    def __init__(self, name: str = "relative_error", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.distance = self.add_variable((), "zeros", name="distance")
        self.norm = self.add_variable((), "zeros", name="norm")

    def update_state(
        self, target: tf.Tensor, output: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Adds a batch; both tensors are (batch, height, width, filters)."""
        distances = squared_distances(target, output)
        norms = squared_distances(target, tf.zeros_like(target))
        weights = 1.0 if sample_weight is None else tf.cast(sample_weight, norms.dtype)
        self.distance.assign_add(tf.reduce_sum(weights * distances))
        self.norm.assign_add(tf.reduce_sum(weights * norms))

    def result(self) -> tf.Tensor:
        """Returns the ratio of the sums."""
        return keras.ops.divide_no_nan(self.distance, self.norm)


class StudentTeacher(Learner):
    """Trains a student's compressed block alone on Eq. 3.

    Parent and student are the same network up to the block, so one pass through the layers
    before it feeds both, and nothing behind it is computed. The loss of a batch is the squared
    L2 norm of the difference of the pooled outputs, averaged over the global batch.

    Args:
        before: the frozen layers from the input to the block, none where it is the block's own.
        teacher: the parent's block; None where targets are what it returns.
        student: the compressed block; whatever of it is open to training learns.
    """

    def __init__(
        self, before: keras.Model, teacher: keras.Model | None, student: keras.Model
    ) -> None:
        super().__init__(student, f"{student.name}_and_teacher")
        self.before = before
        self.teacher = teacher
        self.relative_error = RelativeError()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss and the relative error, over the images of the epoch so far."""
        return [self.loss_mean, self.relative_error]

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the student's pooled output of the block."""
        return self.network(self.before(inputs, training=False), training=training)

    def losses_of(
        self, received: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns each image's squared L2 distance (Eq. 3), (batch,)."""
        output = self.network(received, training=True)
        self.relative_error.update_state(target, output, weights)
        return squared_distances(target, output)

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Moves the compressed block one step towards the parent's pooled output."""
        inputs, target, weights = keras.utils.unpack_x_y_sample_weight(data)
        received = self.before(inputs, training=False)
        if self.teacher:
            target = self.teacher(received, training=False)
        return self.descend(received, target, weights)


def squared_distances(target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Returns each image's squared L2 distance between two tensors (Eq. 3), (batch,).

    In float32 at least: half precision overflows on a sum of so many squares.
    """
    dtype = tf.float64 if target.dtype == tf.float64 else tf.float32
    difference = tf.cast(output, dtype) - tf.cast(target, dtype)
    return tf.reduce_sum(tf.square(difference), axis=tuple(range(1, len(difference.shape))))
