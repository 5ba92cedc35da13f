"""How `--precision=auto` chooses on a CPU with instructions for bfloat16."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands import command_line
from deep_net_triage.learning import guards, precision
from deep_net_triage.progress import Progress
from deep_net_triage.records import locks, results
from deep_net_triage.study import command, parents, plan
from tests.studies import TINY, read


@pytest.fixture(autouse=True)
def policy_restored():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def begun(tmp_path, monkeypatch, capsys):
    """Begins a study, up to its parent; returns its plan, and how often it measured."""
    plans, measured = [], []
    monkeypatch.setattr(devices, "trains_in_bfloat16", lambda: True)
    monkeypatch.setattr(parents, "make", lambda plan, earlier, progress: plans.append(plan))

    def begin(gain, *flags):
        def measure(build, dataset, chosen):
            assert locks.holder(tmp_path / "digits" / "study.lock")
            assert not (tmp_path / "digits" / "study.json").exists()
            measured.append(gain)
            return gain

        monkeypatch.setattr(precision, "gain", measure)
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
    monkeypatch.setattr(command.precisions, "as_recorded", lambda chosen: chosen)
    made, count = begun(0.5)
    assert (made.settings.precision, count) == ("mixed_bfloat16", 1)


def test_the_record_outlives_a_damaged_study_file(begun, tmp_path, monkeypatch):
    begun(1.5)
    (tmp_path / "digits" / "study.json").write_text("{")
    recorded = types.SimpleNamespace(settings={"precision": "mixed_bfloat16"})
    monkeypatch.setattr(results, "read_parent", lambda folder: recorded)
    chosen = command_line.parse([f"--output_dir={tmp_path}"])
    assert command.precisions.as_recorded(chosen).precision == "mixed_bfloat16"


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
    split = command.datasets.Split(images, np.arange(12) % 3)
    dataset = command.datasets.Dataset("toy", split, split, ("a", "b", "c"))
    policies = []

    def build():
        policies.append(keras.config.dtype_policy().name)
        return plan.untrained(chosen, dataset)

    monkeypatch.setattr(precision, "SECONDS", 0.0)
    before = plan.untrained(chosen, dataset)
    digest = guards.weights_digest(before)
    assert precision.gain(build, dataset, chosen) > 0
    assert policies == ["float32", "mixed_bfloat16"]
    assert keras.config.dtype_policy().name == "float32"
    assert guards.weights_digest(before) == digest
    after = plan.untrained(chosen, dataset)
    assert guards.weights_digest(after) == digest
    assert [v.path for v in after.variables] == [v.path for v in before.variables]


@pytest.mark.parametrize(("macs", "expected"), [(1e9, 4), (1e10, 2), (1e12, 1)])
def test_a_large_network_is_given_few_images_and_few_steps(macs, expected, monkeypatch):
    taken, now = [], [0]

    class Step:
        network = None

        def train_on_batch(self, images, labels, weights):
            taken.append(len(images))
            now[0] += 5

    monkeypatch.setattr(precision.costs, "macs", lambda network: macs)
    monkeypatch.setattr(precision.training, "learner_of", lambda *given: Step())
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now[0])
    split = command.datasets.Split(np.zeros((9, 2, 2, 1)), np.zeros(9))
    dataset = command.datasets.Dataset("toy", split, split, ("a",))
    assert precision.gain(lambda: None, dataset, command_line.parse(["--batch_size=4"])) == 1
    # One pair of steps that trace, and one that is timed.
    assert taken == 4 * [expected]


def test_the_quickest_steps_are_compared_and_the_first_does_not_count(monkeypatch):
    """Steps in float32 take 9, 3, 5 and 4 seconds, those in bfloat16 1, 2.5, 2 and 1.5."""
    seconds = iter([9, 1, 3, 2.5, 5, 2, 4, 1.5])
    now = [0]
    monkeypatch.setattr(precision.costs, "macs", lambda network: 1)
    monkeypatch.setattr(precision, "_LONGEST", 13.0)

    class Step:
        network = None

        def train_on_batch(self, *batch):
            now[0] += next(seconds)

    monkeypatch.setattr(precision.training, "learner_of", lambda *given: Step())
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now[0])
    split = command.datasets.Split(np.zeros((4, 2, 2, 1)), np.zeros(4))
    dataset = command.datasets.Dataset("toy", split, split, ("a",))
    found = precision.gain(lambda: None, dataset, command_line.parse([]))
    assert found == 2


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
