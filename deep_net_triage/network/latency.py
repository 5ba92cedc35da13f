"""The time that a model takes for a batch of images, on this machine."""

import statistics
import time
from dataclasses import dataclass

import keras
import tensorflow as tf

# Runs go on until there are this many, and until they have taken this long.
RUNS = 7
SECONDS = 1.0
LARGE_BATCH = 64  # images


@dataclass(frozen=True)
class Latency:
    """The time of a batch over several runs, in seconds.

    Attributes:
        median: of all runs.
        spread: the distance from the first to the third quartile.
    """

    median: float
    spread: float


def compare(
    parent: keras.Model, student: keras.Model, image: tuple[int, int, int]
) -> dict[str, float]:
    """Returns the latencies of a parent and its student, for one image and for 64.

    Args:
        parent: a model that takes images.
        student: another one.
        image: (height, width, channels) of an image.

    Returns:
        In seconds, `latency` for one image and `batch_latency` for 64, both of the student,
        `parent_latency` and `parent_batch_latency`, and for each its spread, such as
        `latency_spread`.
    """
    latencies = {}
    for name, images in (("latency", 1), ("batch_latency", LARGE_BATCH)):
        for title, model in ((f"parent_{name}", parent), (name, student)):
            measured = measure(model, (images, *image))
            latencies |= {title: measured.median, f"{title}_spread": measured.spread}
    return latencies


def measure(model: keras.Model, shape: tuple[int, int, int, int]) -> Latency:
    """Returns the time that a model takes for a batch of random images.

    Two runs before the measured ones trace the model and fill caches. Nothing else should run
    on the machine meanwhile.

    Args:
        model: takes images.
        shape: (images, height, width, channels) of the batch.
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
