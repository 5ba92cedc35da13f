"""Frees what TensorFlow holds of a training after its models are gone."""

import contextlib
import gc
from collections.abc import Iterator

from tensorflow.python.framework import ops


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Frees, when it exits, everything that trainings inside it leave behind.

    Keras sums gradients over replicas, even over one, by an operation with a custom gradient.
    TensorFlow never removes such a gradient from its registry, and with it holds the traced
    step, its weights and its optimiser's state: 12 bytes per weight for every trial. Gradients
    that were registered inside are removed here; they are looked up only while a step is
    traced.

    TensorFlow 2.21 has no public way to remove one; `tests/test_memory.py` fails if this
    private way stops working.
    """
    gradients = ops.gradient_registry._registry
    known = set(gradients)
    try:
        yield
    finally:
        for name in gradients.keys() - known:
            del gradients[name]
        gc.collect()  # models, layers and graphs refer to each other in cycles
