"""What the tests share: two logical processors, toy networks, toy images."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

# Before TensorFlow: it decides TensorFlow's environment.
import deep_net_triage  # noqa: F401

# isort: split
import hypothesis
import keras
import pytest
import tensorflow as tf

from deep_net_triage.commands import command_line
from deep_net_triage.network import vgg16
from deep_net_triage.network.blocks import find_blocks
from deep_net_triage.records.journal import Journal
from deep_net_triage.study.identity import Identity, Trial
from deep_net_triage.study.ledger import Ledger
from tests.ledgers import PARENT
from tests.studies import run
from tests.toys import Watcher, toy_images, toy_parent

REPOSITORY = Path(__file__).resolve().parent.parent

# Two processors show the logic of two GPUs; it has to be said before the first is used.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.get_logger().setLevel("ERROR")

# No test is timed: on a busy machine an example takes longer than Hypothesis allows by default.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


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


def new_journal(watch=lambda epoch: None):
    """The journal of a training that begins, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(dir=FOLDER.name)) / "training"
    return Journal(folder, {}, Watcher(watch), print)


@pytest.fixture
def parent():
    return toy_parent()


@pytest.fixture(scope="module")
def vgg():
    """VGG16 with 1 to 10 filters, on 32 x 32 colour images of three classes."""
    return vgg16.VGG16(
        input_shape=(32, 32, 3),
        classes=3,
        image_size=32,
        mean=[0.0] * 3,
        deviation=[1.0] * 3,
        width=0.02,
    ).build()


@pytest.fixture
def toy_dataset():
    """27 and 10 images of 8x8x2 in three classes: no batch size divides both."""
    return toy_images(27, 10)


@pytest.fixture
def flags_dir():
    return REPOSITORY / "flags"


@pytest.fixture
def small_settings(tmp_path):
    """Settings for a training of seconds; keyword arguments are flags."""

    def make(**flags):
        flags = {"recipe": "paper", "epochs": 2, "distill_epochs": 2, "batch_size": 8} | flags
        typed = [f"--{name}={value}" for name, value in flags.items()]
        return command_line.parse(typed, tmp_path / "no flag files here")

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


@pytest.fixture
def trials():
    blocks = find_blocks(toy_parent())
    return [Trial(method, block, 0) for block in blocks for method in ("cl_rw", "stn")]


@pytest.fixture
def new_ledger(small_settings, tmp_path):
    """A ledger of a folder in which trials write their results as `write` does."""

    def make(say=print, shard=None, **more):
        settings = small_settings(dataset="toy", output_dir=tmp_path, **more)
        settings = dataclasses.replace(settings, shard=shard)
        (settings.folder / "trials").mkdir(parents=True, exist_ok=True)
        return Ledger(Identity(settings, 27, 10, "digest", None), PARENT, say)

    return make
