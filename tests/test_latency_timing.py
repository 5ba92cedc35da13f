import contextlib
import dataclasses
import json

import keras
import numpy as np
import pytest

from deep_net_triage.errors import ExportFailed
from deep_net_triage.network import latency_timing, litert
from deep_net_triage.network.latency_timing import Latency, Timing
from deep_net_triage.study import student_latencies


def classifier(filters):
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(filters, 3, activation="relu")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(3)(x))


@pytest.fixture(scope="module")
def parent():
    return classifier(8)


@pytest.fixture(scope="module")
def smaller():
    return classifier(2)


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(latency_timing, "SECONDS", 0.0)
    monkeypatch.setattr(latency_timing, "SECONDS_OF_TURN", 0.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a run moves it."""
    now = [100.0]
    monkeypatch.setattr(latency_timing.time, "perf_counter", lambda: now[0])
    return now


def test_both_models_are_measured_for_one_image_and_for_many(
    parent, smaller, brief, monkeypatch
):
    seen, run_keras = [], latency_timing._keras

    def spy(model, batch):
        seen.append((model is parent, batch.shape, batch.max() > 200))
        return run_keras(model, batch)

    monkeypatch.setattr(latency_timing, "_keras", spy)
    images = np.full((5, 6, 6, 1), 255, np.uint8)
    found = latency_timing.compare(parent, smaller, images)
    assert [one[:2] for one in seen] == [
        (True, (1, 6, 6, 1)),
        (False, (1, 6, 6, 1)),
        (True, (64, 6, 6, 1)),
        (False, (64, 6, 6, 1)),
    ]
    assert all(timing.median > 0 for both in found for timing in both)


def test_the_columns_of_each_model_hold_its_own_times(monkeypatch):
    monkeypatch.setattr(latency_timing, "_keras", lambda model, batch: (model, len(batch)))
    monkeypatch.setattr(
        latency_timing,
        "_in_turns",
        lambda runs: [Timing(who * images, 0.5) for who, images in runs],
    )
    timings = latency_timing.compare(3, 2, np.zeros((1, 6, 6, 1)))
    assert student_latencies._columns(timings) == {
        "parent_latency": 3,
        "parent_latency_spread": 0.5,
        "latency": 2,
        "latency_spread": 0.5,
        "parent_batch_latency": 192,
        "parent_batch_latency_spread": 0.5,
        "batch_latency": 128,
        "batch_latency_spread": 0.5,
    }


def test_first_runs_do_not_count(clock):
    """They take 100 seconds, the others 1, 2, ... 7."""
    seconds = iter([100, 100, 1, 2, 3, 4, 5, 6, 7])

    def run():
        clock[0] += next(seconds)

    assert latency_timing._in_turns([run]) == [Timing(median=4, spread=4)]


def test_models_take_turns_of_a_tenth_of_a_second(clock):
    order = []

    def run_of(name, seconds):
        def run():
            order.append(name)
            clock[0] += seconds

        return run

    first, second = latency_timing._in_turns([run_of("a", 0.0625), run_of("b", 0.25)])
    assert order[:4] == ["a", "a", "b", "b"]
    # Two runs of `a` make a turn, one run of `b`. Each has 7 runs and a second at least.
    assert order[4:] == ["a", "a", "b"] * 8
    assert (first.median, second.median) == (0.0625, 0.25)


def test_work_beside_them_slows_both(clock):
    """From the tenth second on, the machine takes twice as long."""

    def run_of(seconds):
        def run():
            clock[0] += seconds * (1 if clock[0] < 110 else 2)

        return run

    first, second = latency_timing._in_turns([run_of(1.0), run_of(0.5)])
    assert first.median == pytest.approx(2 * second.median)


def test_the_table_is_in_the_order_of_formats_batches_and_threads(
    parent, smaller, brief, monkeypatch
):
    shares, interpreters, reports = [], [], []

    @contextlib.contextmanager
    def bound_to_share(share):
        shares.append(share.count)
        yield

    def runner(file, threads):
        interpreters.append((file.stem, threads))
        return made(file, threads)

    made = litert.runner
    monkeypatch.setattr(latency_timing.litert, "runner", runner)
    monkeypatch.setattr(latency_timing.devices, "cores", lambda: 4)
    monkeypatch.setattr(latency_timing.devices, "bound_to_share", bound_to_share)
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 1)).astype(np.uint8)
    formats = ("litert_int8", "keras", "litert")
    found = latency_timing.table(parent, smaller, images, (1, 8), formats, reports.append)
    assert [(one.format, one.batch, one.threads, one.model) for one in found] == [
        (format, batch, threads, model)
        for format in formats
        for batch in (1, 8)
        for threads in (1, 4)
        for model in ("parent", "smaller")
    ]
    assert all(one.median > 0 and one.spread >= 0 for one in found)
    assert shares == [4, 1] * 6
    assert interpreters == [("parent", 1), ("smaller", 1), ("parent", 4), ("smaller", 4)] * 4
    assert [(step.work, step.done, step.of) for step in reports[:3]] == [
        ("preparing LiteRT int8", 0, 12),
        ("timing LiteRT int8, batch 1, 1 thread", 0, 12),
        ("timing LiteRT int8, batch 1, 4 threads", 1, 12),
    ]
    assert (reports[-1].work, reports[-1].done) == ("timing LiteRT, batch 8, 4 threads", 11)
    written = json.loads(json.dumps([dataclasses.asdict(one) for one in found]))
    assert [Latency(**one) for one in written] == found


def test_each_format_runs_its_own_model_on_the_given_images(parent, smaller, brief, tmp_path):
    """Four images are given for a batch of six."""
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 1)).astype(np.uint8)
    batch = latency_timing._batch(images, 6)
    assert (batch[4:] == images[:2]).all()
    # Eight bits round by a hundredth or so, which tells int8 from float32.
    rounding = {"keras": (0, 1e-6), "litert": (0, 1e-6), "litert_int8": (1e-4, 0.03)}
    for name, (least, most) in rounding.items():
        for model in (parent, smaller):
            expected = np.asarray(model(batch.astype(np.float32)))
            file = tmp_path / f"{name}.tflite"
            returned = latency_timing._prepared(name, model, file, images)(batch, 1)()
            difference = np.abs(returned - expected).max() / np.abs(expected).max()
            assert least <= difference <= most


def test_a_format_to_which_a_model_can_not_be_converted_is_left_out(
    parent, smaller, brief, monkeypatch
):
    def refuse(model, file):
        raise ExportFailed("LiteRT has no operation for it")

    monkeypatch.setattr(latency_timing.litert, "write", refuse)
    images, reasons = np.zeros((2, 6, 6, 1), np.uint8), []
    found = latency_timing.table(
        parent, smaller, images, [1], ("litert", "keras"), refused=reasons.append
    )
    assert {one.format for one in found} == {"keras"}
    assert reasons == ["LiteRT is not timed: LiteRT has no operation for it"]


def test_one_thread_is_not_measured_twice_on_one_core(monkeypatch):
    monkeypatch.setattr(latency_timing.devices, "cores", lambda: 1)
    assert latency_timing._threads() == (1,)
