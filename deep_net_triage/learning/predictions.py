"""Which images a model classifies correctly; it runs eagerly, because tracing takes seconds."""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import steps
from deep_net_triage.learning.batches import Rows
from deep_net_triage.steps import Report, Reporter, Step

# Small enough to fit in memory, and large enough that computing outweighs the calls.
PIXELS_AT_ONCE = 2**20


def correct(
    model: keras.Model, rows: Rows, labels: tf.Tensor, report: Report = steps.ignore
) -> np.ndarray:
    """Returns which images a model classifies correctly.

    Args:
        model: returns one number per class.
        rows: one per image, as the model takes them.
        labels: int32, (images,).
        report: receives how many images have been classified.

    Returns:
        bool, (images,).
    """
    reporter, classes, done = Reporter(report), [], 0
    reporter.begin(Step("classifying", of=len(rows), unit="image"))
    for returned in outputs(model, rows):
        classes.append(np.argmax(returned, axis=1))
        done += len(classes[-1])
        reporter.reached(done, done)
    return np.concatenate(classes) == np.asarray(labels)


def outputs(model: keras.Model, rows: Rows) -> Iterator[tf.Tensor]:
    """Yields what a model returns for one batch of rows after another, in their order."""
    at_once = images_at_once(model)
    for first in range(0, len(rows), at_once):
        batch = tf.cast(rows[first : first + at_once], model.inputs[0].dtype)
        yield model(batch, training=False)


def images_at_once(model: keras.Model) -> int:
    """Returns how many images to give a model at once, by the largest map of one image."""
    maps = [
        tensor.shape[1] * tensor.shape[2]
        for layer in model.layers
        for tensor in keras.tree.flatten(layer.output)
        if len(tensor.shape) == 4 and None not in tensor.shape[1:3]
    ]
    return max(1, PIXELS_AT_ONCE // max(maps, default=PIXELS_AT_ONCE))
