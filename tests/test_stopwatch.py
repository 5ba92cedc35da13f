import contextlib
import os
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.devices import Share
from deep_net_triage.learning import guards, stopwatch
from deep_net_triage.network import blocks


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stopwatch, "_SECONDS", 0.0)


def test_a_measurement_leaves_no_trace(parent, toy_dataset, small_settings):
    settings = small_settings(batch_size=8)
    digest = guards.weights_digest(parent)
    found = blocks.find_blocks(parent)
    drawn = []
    for measures in (False, True):
        keras.utils.set_random_seed(3)
        if measures:
            measured = stopwatch.measure(parent, found, toy_dataset, settings)
        drawn.append((np.random.uniform(), float(tf.random.uniform(()))))
    assert guards.weights_digest(parent) == digest
    assert drawn[0] == drawn[1]
    assert set(measured.blocks) == {"block1", "block2"}
    seconds = [measured.step, measured.forward, measured.tracing]
    assert all(number > 0 for number in seconds)


def test_a_network_that_takes_images_of_any_size_is_timed(toy_dataset, small_settings):
    images = keras.Input((None, None, 2))
    x = keras.layers.Resizing(8, 8)(images)
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3)(x))
    network = keras.Model(images, keras.layers.Dense(3)(x))
    measured = stopwatch.measure(network, (), toy_dataset, small_settings(batch_size=8))
    assert measured.step > 0


class Timed:
    """Steps of 5 seconds and 2 for each image; the first takes 12."""

    first = 12.0

    def __init__(self, fewest):
        self.fewest = fewest
        self.tried = []

    def step(self, images, about):
        self.tried.append(images)
        return 5.0 + 2 * images


def test_a_large_batch_is_timed_by_small_ones(parent, toy_dataset, small_settings, monkeypatch):
    monkeypatch.setattr(stopwatch, "_forward", lambda *given: lambda images: 1.0 + images / 2)
    timed = Timed(fewest=2)
    settings = small_settings(batch_size=32)
    measured = stopwatch.measure(parent, (), toy_dataset, settings, timed)
    assert timed.tried == [2, 16]
    assert measured.step == 5 + 2 * 32
    assert measured.forward == 1 + 32 / 2
    assert measured.tracing == 12 - (5 + 2 * 2)
    assert measured.slowdowns == {1: 1.0}


def test_assumed_times_follow_the_multiply_accumulates(parent, small_settings):
    found = blocks.find_blocks(parent)
    assumed = stopwatch.assumed(parent, found, small_settings(batch_size=10))
    # Block 1 is two 3x3 convolutions on 8x8 positions, from 2 to 3 and from 3 to 3 channels.
    macs = 8 * 8 * 9 * (2 * 3 + 3 * 3)
    assert assumed.blocks["block1"].original == pytest.approx(10 * macs / 25e9)
    assert assumed.blocks["block1"].replacement == pytest.approx(10 * 8 * 8 * 9 * 2 * 3 / 25e9)
    assert assumed.step == pytest.approx(3 * assumed.forward)
    # Block 1 and its pooling lie before block 2, also if block 2 alone is timed.
    (second,) = stopwatch.assumed(
        parent, found[1:], small_settings(batch_size=10)
    ).blocks.values()
    assert second.before == pytest.approx(10 * macs / 25e9)
    assert assumed.blocks["block2"].before == pytest.approx(second.before)
    assert assumed.blocks["block1"].before == 0


def test_cores_are_halved_as_long_as_it_is_worth_it(monkeypatch):
    narrow = []
    monkeypatch.setattr(stopwatch.devices, "cores", lambda: 8)

    @contextlib.contextmanager
    def bound_to_share(share):
        narrow.append(share.count)
        yield

    monkeypatch.setattr(stopwatch.devices, "bound_to_share", bound_to_share)
    # Of which 1.2 times is the crowd's.
    seconds = iter([1.2 * 2.2, 1.2 * 4.0, 99.0])
    timed = types.SimpleNamespace(step=lambda images, about: next(seconds))
    # A half takes 1.1 times as long, a quarter 2 times: eighths are not tried.
    slowdowns = stopwatch._slowdowns(timed, 32, 2.0)
    assert slowdowns == pytest.approx({1: 1.0, 2: 1.1, 4: 2.0})
    assert narrow == [2, 4]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds cores")
def test_a_process_is_narrowed_to_its_share_and_widened_again(monkeypatch):
    bound = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 3, 5, 7})
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: bound.append(cores))
    with devices.bound_to_share(Share(0, 2)):
        assert bound
        assert all(cores == [2, 5] for cores in bound)
        bound.clear()
    assert bound
    assert all(cores == [2, 3, 5, 7] for cores in bound)
