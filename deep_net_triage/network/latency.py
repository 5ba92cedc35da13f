"""How long a model takes for a batch of images, on this machine."""

import statistics
import time
from dataclasses import dataclass

import keras
import tensorflow as tf

# Enough for a median and its spread; more are taken while they are cheap.
RUNS = 7
LARGE_BATCH = 64
SECONDS = 1.0


@dataclass(frozen=True)
class Latency:
    """Seconds that a batch takes.

    Attributes:
        median: of all runs.
        spread: between the first and the third quartile.
    """

    median: float
    spread: float


def compare(
    parent: keras.Model, student: keras.Model, image: tuple[int, int, int]
) -> dict[str, float]:
    """Measures two models side by side, for one image and for many.

    Args:
        parent: the one.
        student: the other.
        image: shape of one.

    Returns:
        `latency`, for one image, `batch_latency`, for 64, both of the student, the same of the
        parent after `parent_`, and the spread of each after its name; all in seconds.
    """
    found = {}
    for name, images in (("latency", 1), ("batch_latency", LARGE_BATCH)):
        for title, model in ((f"parent_{name}", parent), (name, student)):
            measured = measure(model, (images, *image))
            found |= {title: measured.median, f"{title}_spread": measured.spread}
    return found


def measure(model: keras.Model, shape: tuple[int, int, int, int]) -> Latency:
    """Returns how long a model takes to tell the classes of a batch of images.

    Two runs go before those that count: the first of a shape is traced, and the second still
    fills caches. Nothing else should run on the machine meanwhile.

    Args:
        model: returns a number a class.
        shape: of the batch.
    """
    batch = tf.random.stateless_uniform(shape, (0, 0))
    batch = tf.cast(255 * batch, model.inputs[0].dtype)
    forward = tf.function(lambda received: model(received, training=False))
    for _ in range(2):
        forward(batch).numpy()
    seconds: list[float] = []
    while len(seconds) < RUNS or sum(seconds) < SECONDS:
        started = time.perf_counter()
        forward(batch).numpy()
        seconds.append(time.perf_counter() - started)
    first, median, third = statistics.quantiles(seconds, n=4)
    return Latency(median, third - first)
