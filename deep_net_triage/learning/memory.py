"""Lets go of what TensorFlow keeps of a training after its models are gone."""

import contextlib
import gc
from collections.abc import Iterator

from tensorflow.python.framework import ops


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Frees, at its end, everything that trainings inside it leave behind.

    Keras sums gradients over replicas, one replica too, by an operation with a gradient of its
    own, and TensorFlow registers each such gradient for ever: with it the traced training step,
    its weights and its optimiser's state, 12 bytes a weight and trial. What was registered
    inside is removed; a gradient is looked up only while a step is being traced.

    TensorFlow 2.21 has no public way to remove one; `tests/test_memory.py` fails where this
    private one no longer works.
    """
    gradients = ops.gradient_registry._registry
    known = set(gradients)
    try:
        yield
    finally:
        for name in gradients.keys() - known:
            del gradients[name]
        gc.collect()  # models, layers and graphs hold each other in circles
