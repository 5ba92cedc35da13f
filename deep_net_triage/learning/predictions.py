"""Which images a model gets right, computed operation by operation: nothing is traced."""

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage.learning.batches import Rows

# Few enough for memory, many enough for calling a layer to cost little beside what it does.
PIXELS_AT_ONCE = 2**20


def correct(model: keras.Model, rows: Rows, labels: tf.Tensor) -> np.ndarray:
    """Says of each image whether a model tells its class.

    Args:
        model: returns a number a class.
        rows: a row an image, as the model takes them.
        labels: int32, (images,).

    Returns:
        bool, (images,).
    """
    at_once = images_at_once(model)
    found = []
    for first in range(0, len(rows), at_once):
        batch = tf.cast(rows[first : first + at_once], model.inputs[0].dtype)
        found.append(np.argmax(model(batch, training=False), axis=1))
    return np.concatenate(found) == np.asarray(labels)


def images_at_once(model: keras.Model) -> int:
    """Returns how many images a model may be given, by the largest map it makes of one."""
    maps = [
        tensor.shape[1] * tensor.shape[2]
        for layer in model.layers
        for tensor in keras.tree.flatten(layer.output)
        if len(tensor.shape) == 4 and None not in tensor.shape[1:3]
    ]
    return max(1, PIXELS_AT_ONCE // max(maps, default=PIXELS_AT_ONCE))
