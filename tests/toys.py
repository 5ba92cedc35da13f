"""A network and images small enough to train in a moment."""

import contextlib
import types

import keras
import numpy as np

from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.learning import whole_network
from deep_net_triage.learning.batches import Examples
from deep_net_triage.network import graphs


def toy_parent(seed=0):
    """A network of two blocks, of 2 and 3 convolutions, with moved statistics."""
    keras.utils.set_random_seed(seed)
    x = images = keras.Input((8, 8, 2), name="image")
    for b, (convolutions, filters) in enumerate(((2, 3), (3, 4)), start=1):
        for n in range(1, convolutions + 1):
            x = keras.layers.Conv2D(filters, 3, padding="same", name=f"b{b}_conv{n}")(x)
            x = keras.layers.BatchNormalization(momentum=0.9, name=f"b{b}_bn{n}")(x)
            x = keras.layers.ReLU(name=f"b{b}_relu{n}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"b{b}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(6, activation="relu", name="dense")(x)
    parent = keras.Model(images, keras.layers.Dense(3, name="logits")(x), name="toy")
    generator = np.random.default_rng(seed)
    for layer in parent.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            drawn = generator.uniform(0.5, 1.5, (4, layer.gamma.shape[0]))
            layer.set_weights(list(drawn))
    return parent


def toy_images(train, test):
    """Images of 8 x 8 x 2 in three classes, which their first channel tells apart."""
    generator = np.random.default_rng(1)

    def split(count):
        labels = np.arange(count) % 3
        images = generator.integers(0, 256, (count, 8, 8, 2))
        images[:, :, :, 0] = images[:, :, :, 0] // 4 + 60 * labels[:, None, None]
        return Split(images.astype(np.uint8), labels)

    return Dataset("toy", split(train), split(test), ("a", "b", "c"))


def compiled(network, settings, images=27):
    """The classifier of a network, compiled as for a parent."""
    dataset = types.SimpleNamespace(train=range(images))
    return whole_network.learner_of_parent(network, dataset, settings)


def examples(split):
    """The images of a split and their labels, as they are."""
    return Examples(split.images, split.labels, len(split))


def toy_arrays(count):
    """Images of 8 x 8 x 2 in three classes, which their first channel tells apart; arrays."""
    generator = np.random.default_rng(count)
    labels = np.arange(count) % 3
    images = generator.uniform(size=(count, 8, 8, 2)).astype(np.float32)
    images[:, :, :, 0] += labels[:, None, None]
    return images, labels


def before(model, block):
    """From images to what a block receives."""
    return graphs.cut(model, model.inputs[0], block.received_by(model))


@contextlib.contextmanager
def dtype_policy(name):
    """Layers that are made meanwhile have this policy."""
    earlier = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(earlier)


class Watcher:
    """Calls a function with each epoch of a training, and keeps the steps."""

    def __init__(self, epoch=lambda epoch: None):
        self.epoch = epoch
        self.steps = []

    def step(self, step):
        self.steps.append(step)
