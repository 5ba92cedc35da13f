"""Measures on a CPU whether a network trains faster in bfloat16 than in float32."""

import time
from collections.abc import Callable

import keras
import numpy as np

from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import memory, training
from deep_net_triage.network import costs

FULL, HALF = "float32", "mixed_bfloat16"
# Steps go on until there are so many of each kind, and until they have taken this long: others'
# work on the machine comes and goes.
STEPS = 3
SECONDS = 1.0
# A large network takes fewer images a step (by the multiply-accumulates of a forward pass), and
# fewer steps once they have taken this long, in seconds.
_LARGEST_PASS = 2e10
_LONGEST = 4.0
# On a busy machine two measurements of the same step lie up to a tenth apart.
WORTHWHILE = 1.1


def faster(gain: float) -> str:
    """Returns the dtype policy to train with, for what `gain` returns.

    bfloat16 rounds more, so that it has to save more time than a measurement is uncertain by.
    """
    return HALF if gain >= WORTHWHILE else FULL


def gain(build: Callable[[], keras.Model], dataset: Dataset, settings: Settings) -> float:
    """Returns the time of a training step in float32 over its time in mixed bfloat16.

    The two take turns, so that other work on the machine slows both. Tracing takes seconds,
    and so do the steps. The networks are thrown away, and the dtype policy is restored.

    Args:
        build: returns the network to train, made under the current dtype policy.
        dataset: its first training images are the batch.
        settings: optimiser and batch size.
    """
    policy = keras.config.dtype_policy()
    try:
        with memory.released():
            return _gain(build, dataset, settings)
    finally:
        keras.config.set_dtype_policy(policy)


def _gain(build: Callable[[], keras.Model], dataset: Dataset, settings: Settings) -> float:
    train, learners = dataset.train, {}
    for precision in (FULL, HALF):
        keras.config.set_dtype_policy(precision)
        learners[precision] = training.learner_of(build(), settings, len(train))
    affordable = int(_LARGEST_PASS / costs.macs(learners[FULL].network))
    count = max(1, min(settings.batch_size, affordable))
    images, labels = (np.asarray(rows[:count]) for rows in (train.images, train.labels))
    weights = np.ones(len(labels), np.float32)
    seconds: dict[str, list[float]] = {precision: [] for precision in learners}
    taken, pairs = 0.0, 0  # the first pair traces
    while pairs < 2 or (pairs <= STEPS and taken < _LONGEST) or taken < SECONDS:
        for precision, learner in learners.items():
            started = time.perf_counter()
            learner.train_on_batch(images, labels, weights)
            seconds[precision].append(time.perf_counter() - started)
        taken, pairs = sum(sum(of_one[1:]) for of_one in seconds.values()), pairs + 1
    # Of the steps that did not trace, the shortest was disturbed least.
    full, half = (min(seconds[precision][1:]) for precision in (FULL, HALF))
    return full / half
