"""What the tests share: two logical processors, toy networks, toy images."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

# Before TensorFlow: it decides TensorFlow's environment.
import deep_net_triage  # noqa: F401

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.commands import settings
from deep_net_triage.images import datasets
from deep_net_triage.network import vgg16
from deep_net_triage.records.journal import Journal
from tests.studies import run

REPOSITORY = Path(__file__).resolve().parent.parent

# Two processors show the logic of two GPUs; it has to be said before the first is used.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.get_logger().setLevel("ERROR")


@pytest.fixture(scope="session")
def two_replicas():
    """One for all tests: a second one's collective operations collide with the first one's."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture
def float64():
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")  # metrics go by this one
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


FOLDER = tempfile.TemporaryDirectory()


def new_journal(watch=lambda record: None):
    """The journal of a training that begins, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(dir=FOLDER.name)) / "training"
    return Journal(folder, {}, watch, print)


def toy_parent(seed=0):
    """A network of two blocks, of 2 and 3 convolutions, with moved statistics."""
    keras.utils.set_random_seed(seed)
    x = images = keras.Input((8, 8, 2), name="image")
    for b, (convolutions, filters) in enumerate(((2, 3), (3, 4)), start=1):
        for n in range(1, convolutions + 1):
            x = keras.layers.Conv2D(filters, 3, padding="same", name=f"b{b}_conv{n}")(x)
            x = keras.layers.BatchNormalization(momentum=0.9, name=f"b{b}_bn{n}")(x)
            x = keras.layers.ReLU(name=f"b{b}_relu{n}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"b{b}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(6, activation="relu", name="dense")(x)
    parent = keras.Model(images, keras.layers.Dense(3, name="logits")(x), name="toy")
    generator = np.random.default_rng(seed)
    for layer in parent.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            drawn = generator.uniform(0.5, 1.5, (4, layer.gamma.shape[0]))
            layer.set_weights(list(drawn))
    return parent


@pytest.fixture
def parent():
    return toy_parent()


@pytest.fixture(scope="module")
def vgg():
    """VGG16 with 1 to 10 filters, on 32 x 32 colour images of three classes."""
    return vgg16.build(
        input_shape=(32, 32, 3),
        classes=3,
        image_size=32,
        mean=[0.0] * 3,
        deviation=[1.0] * 3,
        width=0.02,
    )


@pytest.fixture
def toy_dataset():
    """27 and 10 images of 8x8x2 in three classes: no batch size divides both."""
    generator = np.random.default_rng(1)

    def split(count):
        labels = np.arange(count) % 3
        images = generator.integers(0, 256, (count, 8, 8, 2))
        images[:, :, :, 0] = images[:, :, :, 0] // 4 + 60 * labels[:, None, None]
        return datasets.Split(images.astype(np.uint8), labels)

    return datasets.Dataset("toy", split(27), split(10), ("a", "b", "c"))


@pytest.fixture
def even_dataset(toy_dataset):
    """24 and 8 of them: batches of 8 give two replicas equal shares, to the last one."""

    def first(split, count):
        return datasets.Split(split.images[:count], split.labels[:count])

    return dataclasses.replace(
        toy_dataset, train=first(toy_dataset.train, 24), test=first(toy_dataset.test, 8)
    )


@pytest.fixture
def flags_dir():
    return REPOSITORY / "flags"


@pytest.fixture
def small_settings(tmp_path):
    """Settings for a training of seconds; keyword arguments are flags."""

    def make(**flags):
        flags = {"epochs": 2, "distill_epochs": 2, "batch_size": 8} | flags
        typed = [f"--{name}={value}" for name, value in flags.items()]
        return settings.from_command_line(typed, tmp_path / "no flag files here")

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished study of two trials, which no test changes."""
    folder = tmp_path_factory.mktemp("runs")
    assert run(folder, "--method=cl_rw,stn", "--block=4") == 0
    return folder / "digits"


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study that a test may change."""
    shutil.copytree(finished, tmp_path / "digits")
    return tmp_path / "digits"
