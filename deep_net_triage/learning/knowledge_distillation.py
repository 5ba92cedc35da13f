"""Training of a whole student on labels and on its parent's outputs at once."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from deep_net_triage.commands.settings import Settings
from deep_net_triage.learning.learner import Classifier, squared_distances
from deep_net_triage.network import graphs
from deep_net_triage.network.block import Block
from deep_net_triage.network.graphs import Graph, with_held

# Layers of a model that change images at random while it trains.
_AUGMENTATIONS = tuple(
    kind
    for name, kind in vars(keras.layers).items()
    if name.startswith(("Rand", "AugMix", "Pipeline", "Solarization"))
)


class KnowledgeDistillation(Classifier):
    """Trains a student on labels, and on what its parent returns for the same images.

    An image's loss is its cross-entropy plus, by `--distill`,

    - `logits`: the divergence of the two softened outputs (Hinton et al. 2015), times the
      square of the temperature, so that a higher temperature does not shrink its gradients,
    - `features`: the squared L2 distance between a block's outputs in student and parent
      (Eq. 3), divided by the squared norm of the parent's, and averaged over the blocks,
    - `both`: the sum of these two.

    Args:
        student: a whole network; its trainable layers learn.
        parent: what it was made from; read, never changed.
        blocks: the compressed ones.
        settings: what is learned from the parent, temperature, label smoothing and clipping.
    """

    def __init__(
        self,
        student: keras.Model,
        parent: keras.Model,
        blocks: Sequence[Block],
        settings: Settings,
    ) -> None:
        super().__init__(student, settings.label_smoothing, settings.clip_norm)
        self.temperature = settings.temperature if settings.distill != "features" else None
        self.compares_features = settings.distill != "logits"
        starts = _augmented_by(student), _augmented_by(parent)
        # Both see the same images: the student's layers change them for its parent as well.
        self.augmentation = graphs.cut(student, student.inputs[0], starts[0])
        self.student, self.teacher = (
            keras.Model(start, [model.outputs[0], *(b.returned_by(model) for b in blocks)])
            for start, model in zip(starts, (student, parent), strict=True)
        )

    def per_image_losses(
        self, received: tf.Tensor, target: tf.Tensor, weights: tf.Tensor | None
    ) -> tf.Tensor:
        """Returns each image's loss, (batch,), and updates the accuracy."""
        received = self.augmentation(received, training=True)
        returned, *features = _as_list(self.student(received, training=True))
        wanted, *wanted_features = _as_list(self.teacher(received, training=False))
        self.accuracy.update_state(target, returned, weights)
        losses = self.cross_entropies(returned, target, self.label_smoothing)
        if self.temperature:
            logits, wanted_logits = map(self.logits, (returned, wanted))
            losses += divergences(wanted_logits, logits, self.temperature)
        if self.compares_features:
            pairs = list(zip(wanted_features, features, strict=True))
            losses += sum(_relative_distances(*pair) for pair in pairs) / len(pairs)
        return losses


def _augmented_by(model: keras.Model) -> keras.KerasTensor:
    """Returns the output of a model's last augmentation layer; its input without such a layer.

    Only layers through which all paths lead count, and none that has something to learn.
    """
    graph = Graph(model)
    ends = [graph.operations[step[-1]] for step in graph.trunk()]
    layers = [end for end in ends if isinstance(end, keras.layers.Layer) and not end.weights]
    augmented = [
        layer.output
        for layer in layers
        if any(isinstance(held, _AUGMENTATIONS) for held in with_held(layer))
    ]
    return augmented[-1] if augmented else model.inputs[0]


def _as_list(outputs: tf.Tensor | list[tf.Tensor]) -> list[tf.Tensor]:
    """Returns a model's outputs as a list: Keras returns the only one alone."""
    return outputs if isinstance(outputs, list) else [outputs]


def _relative_distances(wanted: tf.Tensor, returned: tf.Tensor) -> tf.Tensor:
    """Returns squared distances over the squared norms of what is wanted, (batch,)."""
    norms = squared_distances(wanted, tf.zeros_like(wanted))
    return tf.math.divide_no_nan(squared_distances(wanted, returned), norms)


def divergences(wanted: tf.Tensor, logits: tf.Tensor, temperature: float) -> tf.Tensor:
    """Returns T^2 times the Kullback-Leibler divergence of softened outputs, (batch,).

    Args:
        wanted: the parent's logits, (batch, classes).
        logits: the student's, (batch, classes).
        temperature: T; both are divided by it.
    """
    expected = tf.nn.log_softmax(wanted / temperature)
    difference = expected - tf.nn.log_softmax(logits / temperature)
    return temperature**2 * tf.reduce_sum(tf.exp(expected) * difference, axis=-1)
