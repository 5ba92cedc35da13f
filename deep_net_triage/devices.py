"""What the study runs on: decided once, at the start, and asked by nobody afterwards."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from absl import logging

from deep_net_triage.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

T = TypeVar("T")


def prepare_environment() -> None:
    """Sets what TensorFlow and Keras read when they are imported; what is set already stays."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # Off by default on CPUs without AVX512-VNNI, where it trains 2.4 times faster all the same.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@dataclass(frozen=True)
class Share:
    """A process's part of a machine that several divide among them.

    Attributes:
        index: which, from 0.
        count: of how many.
    """

    index: int
    count: int

    def of(self, things: Sequence[T]) -> list[T]:
        """Returns the process's own of some things; where they are too few, one it shares."""
        own = things[self.index :: self.count]
        return list(own or things[self.index % len(things) :][:1])


def take(share: Share, deterministic: bool) -> None:
    """Binds this process to its share of the cores, before TensorFlow is imported.

    Args:
        share: which.
        deterministic: whether numbers must be those of a process that has all cores. How a sum
            is divided into threads decides how it is rounded, so that there are then as many
            threads in each process as there are cores in all.
    """
    if not hasattr(os, "sched_setaffinity"):  # only Linux has it
        return
    cores = sorted(os.sched_getaffinity(0))
    if deterministic:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(len(cores)))
    os.sched_setaffinity(0, share.of(cores))


def import_tensorflow(asked_replicas: int | None = None, share: Share | None = None) -> None:
    """Imports TensorFlow and finds its devices without the log lines that no setting silences.

    With TF_CPP_MIN_LOG_LEVEL in the environment they are shown: the person asked for them.

    Args:
        asked_replicas: where there is no GPU, the processor is divided into so many devices.
        share: of the GPUs; None for all.
    """
    wanted = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with contextlib.nullcontext() if wanted else native_messages_silenced():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus and share:
            gpus = share.of(gpus)
            tf.config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        if asked_replicas and not gpus:
            (processor,) = tf.config.list_physical_devices("CPU")
            parts = [tf.config.LogicalDeviceConfiguration()] * asked_replicas
            # Where TensorFlow runs already it is as it is, and `strategy` says what is missing.
            with contextlib.suppress(RuntimeError):
                tf.config.set_logical_device_configuration(processor, parts)
        tf.config.list_logical_devices()
        if not wanted:  # TFDS 4.9.10 warns of deprecated calls of its own
            logging.set_verbosity(logging.ERROR)
            tf.get_logger().setLevel("ERROR")  # of devices that are no GPUs


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Gives the caller of the library back his dtype policy, determinism and global seed.

    TensorFlow 2.21 can turn determinism off, and tell its state and the seed, by private
    functions only; `tests/test_api.py` fails if they no longer do.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.eager import context
    from tensorflow.python.framework import config

    policy, seed = keras.config.dtype_policy(), context.global_seed()
    deterministic = config.is_op_determinism_enabled()
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        if config.is_op_determinism_enabled() and not deterministic:
            config.disable_op_determinism()
            tf.random.set_seed(seed)


def make_deterministic() -> None:
    """Makes every operation of TensorFlow give the same bits each time; it costs speed."""
    import tensorflow as tf

    # TensorFlow then refuses to draw at random without a seed.
    tf.random.set_seed(0)
    tf.config.experimental.enable_op_determinism()


@functools.cache
def strategy(asked_replicas: int | None = None) -> "tf.distribute.Strategy":
    """Returns MirroredStrategy over several devices, and TensorFlow's default for one.

    Always the same: a second strategy's collective operations collide with the first one's.

    Args:
        asked_replicas: how many devices share each batch; None for all GPUs.

    Raises:
        InputError: if there are not so many.
    """
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    wanted = asked_replicas or max(1, len(gpus))
    if wanted > len(devices):
        kind = "GPUs" if gpus else "parts of the processor"
        raise InputError(f"--replicas={wanted}; this process has {len(devices)} {kind}")
    if wanted == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices[:wanted]])


def replicas() -> int:
    """Returns how many devices share each batch under the strategy in force."""
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def compile_with_xla() -> bool:
    """Says whether training is compiled by XLA: on one GPU only.

    On a CPU it makes convolutions slower, and under several replicas it fails.
    """
    import tensorflow as tf

    return replicas() == 1 and bool(tf.config.list_logical_devices("GPU"))


def resolve_precision(asked: str) -> str:
    """Returns the dtype policy that `--precision` stands for on this machine.

    `auto` is `mixed_bfloat16` where every GPU computes in it (compute capability 8.0),
    `mixed_float16` where every GPU is made for that (7.0), and `float32` anywhere else.
    """
    import tensorflow as tf

    if asked != "auto":
        return asked
    details = map(
        tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU")
    )
    capability = min((gpu.get("compute_capability", (0, 0)) for gpu in details), default=(0, 0))
    if capability >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= (7, 0) else "float32"


def describe() -> dict[str, object]:
    """Returns the hardware as plain values: processors, GPUs by name, and replicas."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {"cpus": os.cpu_count(), "gpus": gpus, "replicas": replicas()}


@contextlib.contextmanager
def native_messages_silenced() -> Iterator[None]:
    """Silences file descriptor 2, where C++ code writes past Python's `sys.stderr`."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
