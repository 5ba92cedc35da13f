"""How `--precision=auto` chooses on a CPU with instructions for bfloat16."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands import command_line
from deep_net_triage.learning import (
    guards,
    memory,
    precision_timing,
    timed_training,
    whole_network,
)
from deep_net_triage.progress import Progress
from deep_net_triage.records import locks, results
from deep_net_triage.study import command, parents, plan
from tests.studies import TINY, interrupted, read


@pytest.fixture(autouse=True)
def policy_restored():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def begun(tmp_path, monkeypatch, capsys):
    """Begins a study, up to its parent; returns its plan, and how often it measured."""
    plans, measured = [], []
    monkeypatch.setattr(devices, "trains_in_bfloat16", lambda: True)

    def make(plan, earlier, progress):
        plans.append(plan)
        return types.SimpleNamespace(baseline_accuracy=0.5), "trained"

    monkeypatch.setattr(parents, "make", make)

    def begin(gain, *flags):
        def measure(build, dataset, chosen):
            assert locks.holder(tmp_path / "digits" / "study.lock")
            assert not (tmp_path / "digits" / "study.json").exists()
            measured.append(gain)
            return precision_timing.Measured(gain, {"float32": None, "mixed_bfloat16": None})

        monkeypatch.setattr(precision_timing, "measure", measure)
        typed = [f"--output_dir={tmp_path}", *TINY, "--precision=auto", *flags]
        command.make_parent(command_line.parse(typed), "", 1.0, Progress())
        return plans[-1], len(measured)

    return begin


@pytest.mark.parametrize(("gain", "expected"), [(1.5, "mixed_bfloat16"), (1.05, "float32")])
def test_a_new_study_takes_what_is_clearly_faster(gain, expected, begun, tmp_path, capsys):
    made, count = begun(gain)
    assert count == 1
    assert made.network.get_layer("block1_conv1").dtype_policy.name == expected
    assert made.identity.of_parent()["precision"] == expected
    assert read(tmp_path / "digits" / "study.json")["settings"]["precision"] == expected
    assert f"precision: {expected}; steps in bfloat16 are {gain:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [(), ("--shard=1/2",), ("--overwrite",)])
def test_a_study_that_exists_keeps_its_precision(flags, begun):
    begun(1.5)
    made, count = begun(0.5, *flags)
    assert count == 1
    assert made.settings.precision == "mixed_bfloat16"
    assert made.network.get_layer("block1_conv1").dtype_policy.name == "mixed_bfloat16"


def test_a_study_that_another_process_has_begun_meanwhile_gives_the_precision(
    begun, monkeypatch
):
    """The first process holds the lock; the second planned before there was a record."""
    begun(1.5)
    for look in ("as_recorded", "recorded_meanwhile"):
        monkeypatch.setattr(command.precision_choice, look, lambda chosen: chosen)
    made, count = begun(0.5)
    assert (made.settings.precision, count) == ("mixed_bfloat16", 1)


def test_a_study_keeps_its_precision_on_another_kind_of_machine(begun, monkeypatch):
    begun(1.5)
    monkeypatch.setattr(devices, "trains_in_bfloat16", lambda: False)
    made, count = begun(0.5)
    assert (made.settings.precision, count) == ("mixed_bfloat16", 1)


def test_a_study_that_another_process_began_while_images_were_read_is_continued(
    begun, monkeypatch
):
    """Its parent is interrupted, in a precision that no measurement here may contradict."""
    made, _ = begun(1.5)
    interrupted(made.settings.folder / "parent", made.identity.of_parent())
    monkeypatch.setattr(command.precision_choice, "as_recorded", lambda chosen: chosen)
    again, count = begun(0.5)
    assert (again.settings.precision, count) == ("mixed_bfloat16", 1)


def test_the_record_outlives_a_damaged_study_file(begun, tmp_path, monkeypatch):
    begun(1.5)
    (tmp_path / "digits" / "study.json").write_text("{")
    recorded = types.SimpleNamespace(settings={"precision": "mixed_bfloat16"})
    monkeypatch.setattr(results, "read_parent", lambda folder: recorded)
    chosen = command_line.parse([f"--output_dir={tmp_path}"])
    assert command.precision_choice.as_recorded(chosen).precision == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("flag", "expected"),
    [("--deterministic", "float32"), ("--precision=mixed_float16", "mixed_float16")],
)
def test_nothing_is_measured_where_the_precision_is_known(flag, expected, begun, monkeypatch):
    monkeypatch.setattr(devices, "make_deterministic", lambda: None)
    made, count = begun(1.5, flag)
    assert (made.settings.precision, count) == (expected, 0)


def test_other_cpus_train_in_float32(begun, monkeypatch):
    monkeypatch.setattr(devices, "trains_in_bfloat16", lambda: False)
    made, count = begun(1.5)
    assert (made.settings.precision, count) == ("float32", 0)


def test_a_measurement_leaves_nothing_behind(small_settings, monkeypatch):
    chosen = small_settings(image_size=32, width=0.02, recipe="paper")
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    split = command.splits.Split(images, np.arange(12) % 3)
    dataset = command.splits.Dataset("toy", split, split, ("a", "b", "c"))
    policies = []

    def build():
        policies.append(keras.config.dtype_policy().name)
        return plan.untrained(chosen, dataset)

    monkeypatch.setattr(precision_timing, "_TURN", 0.0)
    before = plan.untrained(chosen, dataset)
    digest = guards.weights_digest(before)
    with memory.released():
        measured = precision_timing.measure(build, dataset, chosen)
    assert measured.gain > 0
    assert policies == ["float32", "mixed_bfloat16"]
    assert keras.config.dtype_policy().name == "float32"
    assert guards.weights_digest(before) == digest
    after = plan.untrained(chosen, dataset)
    assert guards.weights_digest(after) == digest
    assert [v.path for v in after.variables] == [v.path for v in before.variables]


def timed_training_of(parent, dataset, settings):
    learner = whole_network.learner_of_parent(parent, dataset, settings)
    return timed_training.TimedTraining(learner, dataset, settings)


@pytest.mark.parametrize(("macs", "expected"), [(1e9, 4), (1e10, 2), (1e12, 1)])
def test_a_step_of_a_large_network_is_timed_with_few_images(
    macs, expected, parent, toy_dataset, monkeypatch
):
    taken = []
    monkeypatch.setattr(timed_training.costs, "macs", lambda network: macs)
    monkeypatch.setattr(
        timed_training.TimedTraining, "_seconds", lambda timed, images: taken.append(images)
    )
    timed = timed_training_of(parent, toy_dataset, command_line.parse(["--batch_size=4"]))
    assert timed.fewest == expected
    assert taken == [expected]


def test_steps_are_timed_that_train_and_are_traced_once(parent, toy_dataset, monkeypatch):
    # The first step takes 9 s, those with three images 0.1, 5 and 0.2 s, one with five 4 s.
    now = iter([0, 9, 10, 10.1, 11, 16, 17, 17.2, 20, 24])
    monkeypatch.setattr(timed_training.time, "perf_counter", lambda: next(now))
    before = guards.weights_digest(parent)
    timed = timed_training_of(parent, toy_dataset, command_line.parse([]))
    assert timed.first == 9
    assert guards.weights_digest(parent) != before
    sizes, traced = [], timed._step
    monkeypatch.setattr(
        timed, "_step", lambda *batch: sizes.append({len(b) for b in batch}) or traced(*batch)
    )
    assert timed.step(3, 5.2) == pytest.approx(0.2)
    assert timed.step(5, 0.0) == 4
    assert int(timed._learner.optimizer.iterations) == 5
    assert sizes == [{3}, {3}, {3}, {5}]
    assert traced.experimental_get_tracing_count() == 1


def test_steps_are_timed_without_xla_where_a_layer_does_not_allow_it(toy_dataset, monkeypatch):
    monkeypatch.setattr(devices, "compile_with_xla", lambda: True)
    images = keras.Input((8, 8, 2))
    x = keras.layers.Flatten()(keras.layers.RandomRotation(0.1)(images))
    network = keras.Model(images, keras.layers.Dense(3)(x))
    with pytest.warns(UserWarning, match="jit_compile"):
        timed = timed_training_of(network, toy_dataset, command_line.parse([]))
    assert timed.first > 0


def test_the_quickest_turns_are_compared(monkeypatch):
    """A step in float32 takes 0.9, 0.3 and 0.5 s, one in bfloat16 0.2, 0.15 and 0.25 s."""
    seconds = {"float32": iter([0.9, 0.3, 0.5]), "mixed_bfloat16": iter([0.2, 0.15, 0.25])}

    class Timed:
        fewest = 4

        def __init__(self, network, *others):
            self.seconds = seconds[keras.config.dtype_policy().name]

        def step(self, images, about):
            assert images == 4
            return next(self.seconds)

    monkeypatch.setattr(precision_timing, "TimedTraining", Timed)
    monkeypatch.setattr(precision_timing.whole_network, "learner_of_parent", lambda *_: None)
    measured = precision_timing.measure(lambda: None, None, command_line.parse([]))
    assert measured.gain == 2
    assert list(measured.trainings) == ["float32", "mixed_bfloat16"]


@pytest.mark.parametrize(
    ("listed", "gpus", "expected"),
    [
        ("flags : fpu avx512_bf16 sse", [], True),
        ("flags : fpu amx_bf16 amx_tile", [], True),
        ("flags : fpu avx512f", [], False),
        ("flags : fpu avx512_bf16", ["gpu"], False),
        (None, [], False),  # no Linux
    ],
)
def test_a_cpu_is_known_by_its_flags(listed, gpus, expected, tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    if listed:
        file.write_text(listed)
    monkeypatch.setattr(devices, "CPU_INFO", file)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    assert devices.trains_in_bfloat16() is expected
