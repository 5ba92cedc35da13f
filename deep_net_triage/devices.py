"""Sets up TensorFlow's devices, precision and determinism at the start of a command."""

import contextlib
import functools
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deep_net_triage import quiet
from deep_net_triage.errors import InputError
from deep_net_triage.wording import counted

if TYPE_CHECKING:
    import tensorflow as tf

T = TypeVar("T")
CPU_INFO = Path("/proc/cpuinfo")
# Keras's global attributes that `keras.utils.set_random_seed` sets.
_SEEDS_OF_KERAS = ("global_random_seed", "global_seed_generator")


def prepare_environment() -> None:
    """Sets environment variables that TensorFlow and Keras read on import, if unset."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # Off by default on CPUs without AVX512-VNNI, although training is 2.4 times faster with it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@dataclass(frozen=True)
class Share:
    """One process's share of a machine, of which `count` processes each have one.

    Attributes:
        index: the process's number, from 0.
        count: the number of processes.
    """

    index: int
    count: int

    def of(self, things: Sequence[T]) -> list[T]:
        """Returns this process's elements; one shared element if there are too few."""
        own = things[self.index :: self.count]
        return list(own or things[self.index % len(things) :][:1])


WHOLE = Share(0, 1)


def bind_to_share(share: Share, deterministic: bool) -> None:
    """Binds this process to its share of the cores, before TensorFlow is imported.

    Args:
        share: this process's share.
        deterministic: whether results must equal those of a process with all cores. Rounding
            depends on the number of threads, so each process then starts one thread per core
            of the machine.
    """
    if not hasattr(os, "sched_setaffinity"):  # exists on Linux only
        return
    available = sorted(os.sched_getaffinity(0))
    if deterministic:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(len(available)))
    os.sched_setaffinity(0, share.of(available))


@contextlib.contextmanager
def bound_to_share(share: Share) -> Iterator[None]:
    """Binds all threads of this process to a share of the cores, as long as it lasts."""
    if not hasattr(os, "sched_setaffinity"):  # exists on Linux only
        yield
        return
    available = sorted(os.sched_getaffinity(0))
    _bind_threads(share.of(available))
    try:
        yield
    finally:
        _bind_threads(available)


def _bind_threads(to: Sequence[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            os.sched_setaffinity(int(thread.name), to)


def cores() -> int:
    """Returns how many cores this process may use."""
    if not hasattr(os, "sched_getaffinity"):  # exists on Linux only
        return os.cpu_count() or 1
    return len(os.sched_getaffinity(0))


def import_tensorflow(
    replica_count: int | None = None, share: Share | None = None, verbose: bool = False
) -> None:
    """Imports TensorFlow and sets up its devices, without messages of libraries.

    Args:
        replica_count: the number of devices to divide the CPU into if there is no GPU.
        share: this process's share of the GPUs; None for all.
        verbose: whether to show the messages of libraries. They are also shown if the
            environment sets TF_CPP_MIN_LOG_LEVEL.
    """
    if verbose or "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        _set_up_tensorflow(replica_count, share)
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    try:
        with quiet.native_messages_held():
            _set_up_tensorflow(replica_count, share)
    finally:
        # TensorFlow has read it. A process that this one starts would take it for the user's.
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    quiet.silence_python_libraries()


def _set_up_tensorflow(replica_count: int | None, share: Share | None) -> None:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus and share:
        gpus = share.of(gpus)
        tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if replica_count and not gpus:
        (processor,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * replica_count
        # Too late if TensorFlow is initialized; `strategy` then reports missing devices.
        with contextlib.suppress(RuntimeError):
            tf.config.set_logical_device_configuration(processor, parts)
    tf.config.list_logical_devices()


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Restores the dtype policy, determinism and random states of the library's caller.

    TensorFlow 2.21 has only private functions to read the seed and to read or turn off
    determinism, and Keras 3.15 to read its own seed; `tests/test_api.py` guards them.
    """
    import keras
    import numpy as np
    import tensorflow as tf
    from keras.src.backend.common import global_state
    from tensorflow.python.eager import context
    from tensorflow.python.framework import config

    seeds = {name: global_state.get_global_attribute(name) for name in _SEEDS_OF_KERAS}
    generators = [one for one in seeds.values() if isinstance(one, keras.random.SeedGenerator)]
    states = [(one, keras.ops.convert_to_numpy(one.state)) for one in generators]
    policy, seed = keras.config.dtype_policy(), context.global_seed()
    deterministic = config.is_op_determinism_enabled()
    drawn, drawn_by_numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        if config.is_op_determinism_enabled() and not deterministic:
            config.disable_op_determinism()
        if context.global_seed() != seed:
            tf.random.set_seed(seed)
        random.setstate(drawn)
        np.random.set_state(drawn_by_numpy)
        for name, value in seeds.items():
            global_state.set_global_attribute(name, value)
        for generator, state in states:
            generator.state.assign(state)


def make_deterministic() -> None:
    """Makes TensorFlow's operations deterministic, which makes them slower."""
    import tensorflow as tf

    # Deterministic TensorFlow refuses to draw random numbers without a seed.
    tf.random.set_seed(0)
    tf.config.experimental.enable_op_determinism()


@functools.cache
def strategy(replica_count: int | None = None) -> "tf.distribute.Strategy":
    """Returns MirroredStrategy for several devices, and TensorFlow's default for one.

    It is cached, because the collective operations of two strategies collide.

    Args:
        replica_count: the number of devices that share each batch; None for all GPUs.

    Raises:
        InputError: if there are too few devices.
    """
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    wanted = replica_count or max(1, len(gpus))
    if wanted > len(devices):
        kind = "GPU" if gpus else "CPU device"
        raise InputError(
            f"--replicas={wanted}, but this process has {counted(len(devices), kind)}; "
            f"allowed: 1 to {len(devices)}"
        )
    if wanted == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices[:wanted]])


def replicas() -> int:
    """Returns how many devices share each batch under the current strategy."""
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def compile_with_xla() -> bool:
    """Returns whether to compile training with XLA: on a single GPU only.

    XLA makes convolutions slower on a CPU, and fails with several replicas.
    """
    import tensorflow as tf

    return replicas() == 1 and bool(tf.config.list_logical_devices("GPU"))


def resolve_precision(precision: str) -> str:
    """Returns the dtype policy for a value of `--precision` on this machine.

    `auto` is `mixed_bfloat16` if all GPUs have compute capability 8.0, `mixed_float16` if all
    have 7.0, and `float32` otherwise. On some CPUs a new study then measures whether bfloat16
    is faster (`study.command`).
    """
    import tensorflow as tf

    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    details = map(tf.config.experimental.get_device_details, gpus)
    capability = min((gpu.get("compute_capability", (0, 0)) for gpu in details), default=(0, 0))
    if capability >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= (7, 0) else "float32"


def trains_in_bfloat16() -> bool:
    """Returns whether this process trains on a CPU that has instructions for bfloat16.

    Linux alone lists them; elsewhere the answer is no.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return False
    try:
        listed = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(listed.split())


def describe() -> dict[str, object]:
    """Returns the number of CPUs, the names of GPUs, and the number of replicas, for JSON."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {"cpus": os.cpu_count(), "gpus": gpus, "replicas": replicas()}
