"""The time that a model takes for a batch of images, on this machine."""

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import devices, steps
from deep_net_triage.devices import Share
from deep_net_triage.errors import ExportFailed
from deep_net_triage.network import litert
from deep_net_triage.network.latencies import FORMATS, Latency
from deep_net_triage.steps import Report, Step
from deep_net_triage.wording import counted

# Each model runs at least this often, and for at least this many seconds.
RUNS = 7
SECONDS = 1.0
# Long enough for many runs of a small model, so that few of them find the other model's weights
# in the cache; short enough for several turns within `SECONDS`.
SECONDS_OF_TURN = 0.1
LARGE_BATCH = 64  # images

# Runs a model once.
Run = Callable[[], object]
# Makes a model ready to run on a batch, with at most so many threads.
Prepared = Callable[[np.ndarray, int], Run]


@dataclass(frozen=True)
class Timing:
    """The time of a batch over several runs, in seconds.

    Attributes:
        median: of all runs.
        spread: the distance from the first to the third quartile.
    """

    median: float
    spread: float


def compare(
    parent: keras.Model,
    smaller: keras.Model,
    images: tf.Tensor,
    batches: Sequence[int] = (1, LARGE_BATCH),
) -> list[list[Timing]]:
    """Returns the latencies of a parent and a smaller model for each number of images.

    Both run in Keras, with all threads. Nothing else should run on the machine meanwhile.

    Args:
        parent: a model that takes images.
        smaller: another one, which takes the same images.
        images: (images, height, width, channels); the first ones are timed.
        batches: numbers of images.
    """
    return [
        _in_turns([_keras(model, _batch(images, number)) for model in (parent, smaller)])
        for number in batches
    ]


def table(
    parent: keras.Model,
    smaller: keras.Model,
    images: tf.Tensor,
    batches: Sequence[int] = (1, LARGE_BATCH),
    formats: Sequence[str] = tuple(FORMATS),
    report: Report = steps.ignore,
    refused: Callable[[str], None] = lambda reason: None,
) -> list[Latency]:
    """Returns the latencies of a parent and a smaller model, with one thread and with all.

    The two models take turns, so that other work on the machine slows both. A setting takes a
    few seconds, a large model's longer. LiteRT files are written to a temporary folder.

    Args:
        parent: a model that takes images.
        smaller: another one, which takes the same images.
        images: training images, (images, height, width, channels). The first ones are timed,
            and the ranges of int8 are measured on them.
        batches: numbers of images.
        formats: keys of `FORMATS`.
        report: receives how many settings have been timed.
        refused: receives why a format is left out, because a model can't be converted to it.

    Returns:
        One of the parent and one of the smaller model for each setting, in the order of the
        formats, then of the batches, then of one thread and all.
    """
    models = {"parent": parent, "smaller": smaller}
    latencies: list[Latency] = []
    settings = [(batch, threads) for batch in batches for threads in _threads()]
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(formats):
            progress = {"done": number * len(settings), "of": len(formats) * len(settings)}
            report(Step(f"preparing {FORMATS[name]}", **progress))
            try:
                ready = [
                    _prepared(name, model, Path(folder) / f"{title}.tflite", images)
                    for title, model in models.items()
                ]
            except ExportFailed as failure:
                refused(f"{FORMATS[name]} is not timed: {failure}")
                continue
            for batch, threads in settings:
                setting = f"{FORMATS[name]}, batch {batch}, {counted(threads, 'thread')}"
                report(Step(f"timing {setting}", **progress))
                timings = _on_threads(ready, _batch(images, batch), threads)
                latencies += [
                    Latency(title, name, batch, threads, timing.median, timing.spread)
                    for title, timing in zip(models, timings, strict=True)
                ]
                progress["done"] += 1
    return latencies


def _threads() -> tuple[int, ...]:
    """Returns the numbers of threads to time with: one and all."""
    if not hasattr(os, "sched_setaffinity"):  # exists on Linux only
        return (devices.cores(),)
    return tuple(dict.fromkeys((1, devices.cores())))


def _batch(images: tf.Tensor, count: int) -> np.ndarray:
    """Returns the first images, over and over if there are too few."""
    return np.resize(np.asarray(images[:count]), (count, *images.shape[1:]))


def _prepared(name: str, model: keras.Model, file: Path, images: tf.Tensor) -> Prepared:
    """Returns a model in one of the `FORMATS`, to be run by `_on_threads`."""
    if name == "keras":
        return lambda batch, threads: _keras(model, batch)
    if name == "litert":
        litert.write(model, file)
    else:
        litert.write_int8(model, file, images)

    def ready(batch: np.ndarray, threads: int) -> Run:
        run = litert.runner(file, threads)
        return functools.partial(run, batch.astype(model.inputs[0].dtype))

    return ready


def _keras(model: keras.Model, batch: np.ndarray) -> Run:
    received = tf.cast(batch, model.inputs[0].dtype)
    forward = tf.function(lambda images: model(images, training=False))
    return lambda: forward(received).numpy()


def _on_threads(ready: Sequence[Prepared], batch: np.ndarray, threads: int) -> list[Timing]:
    """Returns what models take for a batch, with one thread or with all.

    TensorFlow can't reduce its threads once they have started, so they are bound to a single
    core, which runs one of them at a time. Handing work to each other costs them time: a VGG16
    of half the width took a third longer for one image, and a tenth longer for 64, than with a
    true single thread, and so did a smaller network.
    """
    with devices.bound_to_share(Share(0, devices.cores() // threads)):
        return _in_turns([prepared(batch, threads) for prepared in ready])


def _in_turns(runs: Sequence[Run]) -> list[Timing]:
    """Returns how long runs of several models take, which take turns.

    Two warm-up runs of each trace the model and fill caches.
    """
    for run in runs:
        for _ in range(2):
            run()
    taken: list[list[float]] = [[] for _ in runs]
    while any(len(seconds) < RUNS or sum(seconds) < SECONDS for seconds in taken):
        for run, seconds in zip(runs, taken, strict=True):
            seconds.extend(_turn(run))
    timings = []
    for seconds in taken:
        first, median, third = statistics.quantiles(seconds, n=4)
        timings.append(Timing(median, third - first))
    return timings


def _turn(run: Run) -> list[float]:
    """Returns the seconds of each run of one turn."""
    taken: list[float] = []
    while not taken or sum(taken) < SECONDS_OF_TURN:
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return taken
