"""A network and its labels: cross-entropy, one step at a time, and how many it gets right."""

import keras
import tensorflow as tf

from deep_net_triage.learning.learner import Learner


class Classifier(Learner):
    """Trains a network on labels, and is evaluated on them.

    Args:
        network: returns a number a class, logits or, where its last layer is a softmax,
            probabilities; whatever of it is open to training learns.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(network, f"{network.name}_and_labels")
        last = getattr(network.layers[-1], "activation", None)
        self.from_logits = last is not keras.activations.softmax
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss and the accuracy, over the images of the epoch so far."""
        return [self.loss_mean, self.accuracy]

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns what the network returns."""
        return self.network(inputs, training=training)

    def losses_of(
        self, received: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns each image's cross-entropy in training, (batch,), and counts those right."""
        return self._judged(self.network(received, training=True), target, weights)

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Moves the network one step towards the labels of a batch."""
        return self.descend(*keras.utils.unpack_x_y_sample_weight(data))

    def test_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Judges the network by a batch."""
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        losses = self._judged(self(inputs, training=False), labels, weights)
        self.loss_mean.update_state(losses, weights)
        return self.numbers()

    def _judged(
        self, returned: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        self.accuracy.update_state(labels, returned, weights)
        # In float32 at least: half precision is too coarse for what is small.
        exact = tf.float64 if returned.dtype == tf.float64 else tf.float32
        return keras.losses.sparse_categorical_crossentropy(
            labels, tf.cast(returned, exact), from_logits=self.from_logits
        )
