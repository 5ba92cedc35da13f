"""(a) and (b): a whole-model step compared with stock Keras, PyTorch, and a lower bound.

python -m benchmarks.whole_model [--size=32] [--batch=64] [--rounds=5]
"""

import argparse
import math
import threading
import time
from collections.abc import Callable

import numpy as np

from benchmarks import networks, side_by_side
from benchmarks.side_by_side import contestant

STEPS = 3


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    here = {"size": options.size, "batch": options.batch}
    print(side_by_side.machine())
    found = side_by_side.compare(
        [
            contestant("ours", "benchmarks.whole_model:ours", **here),
            contestant("stock", "benchmarks.whole_model:stock", onednn="0", **here),
            contestant("stock, oneDNN", "benchmarks.whole_model:stock", onednn="1", **here),
            contestant("PyTorch", "benchmarks.whole_model:pytorch", **here),
            contestant("ceiling", "benchmarks.whole_model:ceiling", onednn="1", **here),
            contestant("from memory", "benchmarks.whole_model:fixed_batch", **here),
        ],
        options.rounds,
    )
    step = found["ours"]
    side_by_side.report("against stock Keras without oneDNN", found["stock"] / step, "2.2")
    side_by_side.report("against stock Keras with oneDNN", found["stock, oneDNN"] / step, "-")
    side_by_side.report("against PyTorch", found["PyTorch"] / step, "1.15")
    side_by_side.report("share of the ceiling", found["ceiling"] / step, "0.90")
    side_by_side.report("input pipeline", found["from memory"] / step, "0.95")


def ours(size: int, batch: int) -> Callable[[], float]:
    """Returns a run of steps as this package trains a parent, with its input pipeline."""
    import deep_net_triage  # noqa: F401

    # isort: split
    from deep_net_triage.learning import batches
    from deep_net_triage.learning.batches import Examples
    from deep_net_triage.network import convolutions

    model = networks.parent(size)
    convolutions.speed_up(model)
    learner = networks.classifier(model, 4 * batch, batch)
    split = networks.dataset(4 * batch, batch, size).train
    made = batches.training_batches(
        Examples(split.images, split.labels, len(split)),
        batch_size=batch,
        seed=0,
        epochs=range(10_000),
    )
    return _fit(learner, made)


def fixed_batch(size: int, batch: int) -> Callable[[], float]:
    """Returns the same run on one batch in memory."""
    import deep_net_triage  # noqa: F401

    # isort: split
    import tensorflow as tf

    from deep_net_triage.network import convolutions

    model = networks.parent(size)
    convolutions.speed_up(model)
    learner = networks.classifier(model, 4 * batch, batch)
    return _fit(learner, tf.data.Dataset.from_tensors(networks.images(batch, size)).repeat())


def stock(size: int, batch: int) -> Callable[[], float]:
    """Returns a run of stock Keras: compile, a cached tf.data pipeline, fit."""
    import keras
    import tensorflow as tf

    model = networks.parent(size)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    made = tf.data.Dataset.from_tensor_slices(networks.images(4 * batch, size)).cache()
    return _fit(model, made.shuffle(4 * batch).repeat().batch(batch).prefetch(tf.data.AUTOTUNE))


def _fit(model: object, made: object) -> Callable[[], float]:
    """Returns a run of `fit` that measures the time from the end of the first step."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            self.ends.append(time.perf_counter())

        def on_train_begin(self, logs: object = None) -> None:
            self.ends = []

    clock = Clock()

    def run() -> float:
        model.fit(made, steps_per_epoch=STEPS + 1, verbose=0, callbacks=[clock], shuffle=False)
        return (clock.ends[-1] - clock.ends[0]) / STEPS

    return run


def pytorch(size: int, batch: int) -> Callable[[], float]:
    """Returns a run of the same network in PyTorch, with channels last."""
    import torch

    from deep_net_triage.network import vgg16

    layers, channels = [], 3
    for convolutions, filters in zip(vgg16.CONVOLUTIONS, vgg16.FILTERS, strict=True):
        for _ in range(convolutions):
            layers += [
                torch.nn.Conv2d(channels, filters, 3, padding=1),
                torch.nn.BatchNorm2d(filters, eps=1e-3),
                torch.nn.ReLU(inplace=True),
            ]
            channels = filters
        layers.append(torch.nn.MaxPool2d(2))
    units = channels * (size // 32) ** 2
    dense = [torch.nn.Linear(units, 4096), torch.nn.ReLU(), torch.nn.Linear(4096, 4096),
             torch.nn.ReLU(), torch.nn.Linear(4096, networks.CLASSES)]  # fmt: skip
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), *dense)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    pixels, labels = networks.images(batch, size)
    inputs = torch.tensor(pixels.transpose(0, 3, 1, 2).astype(np.float32) / 74 - 1.7)
    inputs = inputs.to(memory_format=torch.channels_last)
    labels = torch.tensor(labels.astype(np.int64))

    def run() -> float:
        started = time.perf_counter()
        for _ in range(STEPS):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        return (time.perf_counter() - started) / STEPS

    return run


def ceiling(size: int, batch: int) -> Callable[[], float]:
    """Returns a run of the operations that no step can avoid, one after another.

    These are the forward pass and both backward passes of each convolution (without a gradient
    of the image), and three matrix products per dense layer. The optimizer adds 28 bytes per
    weight at the bandwidth of a copy by all cores.
    """
    import tensorflow as tf

    from deep_net_triage.network import vgg16

    passes, weights = [], 0
    side, channels = size, 3
    for convolutions, filters in zip(vgg16.CONVOLUTIONS, vgg16.FILTERS, strict=True):
        for _ in range(convolutions):
            passes += _convolution(tf, batch, side, channels, filters)
            weights += 9 * channels * filters + 3 * filters
            channels = filters
        side //= 2
    units = channels * side**2
    for outputs in (4096, 4096, networks.CLASSES):
        passes += _dense(tf, batch, units, outputs)
        weights += (units + 1) * outputs
        units = outputs
    passes = [tf.function(each) for each in passes]

    def run() -> float:
        total = 28 * weights / _bandwidth()
        for each in passes:
            started = time.perf_counter()
            each().numpy()
            total += time.perf_counter() - started
        return total

    return run


def _convolution(
    tf: object, batch: int, side: int, channels: int, filters: int
) -> list[Callable[[], object]]:
    raw, stride = tf.raw_ops, {"strides": [1, 1, 1, 1], "padding": "SAME"}
    received = tf.random.normal((batch, side, side, channels))
    kernel = tf.random.normal((3, 3, channels, filters))
    gradient = tf.random.normal((batch, side, side, filters))
    forward = [
        lambda: raw.Conv2D(input=received, filter=kernel, **stride)[0, 0, 0, 0],
        lambda: raw.Conv2DBackpropFilter(
            input=received, filter_sizes=kernel.shape, out_backprop=gradient, **stride
        )[0, 0, 0, 0],
    ]
    if channels == 3:
        return forward
    return [
        *forward,
        lambda: raw.Conv2DBackpropInput(
            input_sizes=received.shape, filter=kernel, out_backprop=gradient, **stride
        )[0, 0, 0, 0],
    ]


def _dense(tf: object, batch: int, inputs: int, outputs: int) -> list[Callable[[], object]]:
    received = tf.random.normal((batch, inputs))
    kernel = tf.random.normal((inputs, outputs))
    gradient = tf.random.normal((batch, outputs))
    return [
        lambda: tf.matmul(received, kernel)[0, 0],
        lambda: tf.matmul(gradient, kernel, transpose_b=True)[0, 0],
        lambda: tf.matmul(received, gradient, transpose_a=True)[0, 0],
    ]


def _bandwidth() -> float:
    """Returns the bytes per second that two threads read and write while copying."""
    source, target = np.ones((2, 16 << 20), np.float32), np.empty((2, 16 << 20), np.float32)
    target[:] = 0
    best = math.inf
    for _ in range(3):
        halves = [
            threading.Thread(target=np.copyto, args=(target[half], source[half]))
            for half in range(2)
        ]
        started = time.perf_counter()
        for half in halves:
            half.start()
        for half in halves:
            half.join()
        best = min(best, time.perf_counter() - started)
    return 2 * source.nbytes / best


if __name__ == "__main__":
    main()
