"""(c): a layer-only epoch compared with stock Keras `fit` and `trainable` flags.

python -m benchmarks.layer_only [--size=32] [--batch=64] [--blocks=1,2,3,4,5] [--rounds=5]

Both train ten epochs. Our time includes a third of the walk's last step, which computes the
block's input from the previous block's input: three layer-only methods read the result.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import networks, side_by_side
from benchmarks.side_by_side import contestant

EPOCHS = 10
READERS = 3  # cl_rw, cl_mw and stn
STEPS_AN_EPOCH = 2
# Ratio of operations, stock to ours, with the dense layers and without the walk.
ARITHMETIC = {32: (1.0, 1.1, 1.30, 2.44, 6.0), 64: (1.0, 1.1, 1.33, 2.78, 10.0)}
GOALS = {32: ("-", "-", "1.15", "1.8", "4.2"), 64: ("-", "-", "1.15", "2.2", "5.5")}


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", default="1,2,3,4,5")
    options = parser.parse_args()
    print(side_by_side.machine())
    for number in map(int, options.blocks.split(",")):
        here = {"size": options.size, "batch": options.batch, "number": number}
        found = side_by_side.compare(
            [
                contestant("ours", "benchmarks.layer_only:ours", **here),
                contestant("stock, oneDNN", "benchmarks.layer_only:stock", onednn="1", **here),
            ],
            options.rounds,
        )
        ratio = found["stock, oneDNN"] / found["ours"]
        arithmetic = ARITHMETIC[options.size][number - 1]
        name = f"block {number} at {options.size} px, arithmetic allows {arithmetic}"
        side_by_side.report(name, ratio, GOALS[options.size][number - 1])


def ours(size: int, batch: int, number: int) -> Callable[[], float]:
    """Returns a run of ten epochs of `cl_rw` on the walk's activations."""
    import deep_net_triage  # noqa: F401

    # isort: split
    from deep_net_triage.learning import batches
    from deep_net_triage.learning.array_stores import ArrayStore
    from deep_net_triage.learning.batches import Examples
    from deep_net_triage.learning.retraining import Retraining
    from deep_net_triage.learning.walk import Walk
    from deep_net_triage.network import blocks

    settings = networks.settings(batch_size=batch, epochs=EPOCHS, method="cl_rw")
    parent = networks.parent(size)
    dataset = networks.dataset(STEPS_AN_EPOCH * batch, batch, size)
    found = blocks.find_blocks(parent)
    walk = Walk(parent, dataset, ArrayStore(Path(tempfile.gettempdir())), settings, found)
    if number > 1:
        walk.source_for(found[number - 2])
    started = time.perf_counter()
    source = walk.source_for(found[number - 1])
    walked = time.perf_counter() - started
    retraining = Retraining(parent, found[number - 1], dataset, source, settings)
    phase = retraining._of_block
    made = batches.training_batches(
        Examples(phase.source.train, dataset.train.labels, len(dataset.train)),
        batch_size=batch,
        seed=0,
        epochs=range(10**6),
    )

    def run() -> float:
        started = time.perf_counter()
        phase.learner.fit(
            made, epochs=EPOCHS, steps_per_epoch=STEPS_AN_EPOCH, verbose=0, shuffle=False
        )
        return (time.perf_counter() - started + walked / READERS) / EPOCHS

    return run


def stock(size: int, batch: int, number: int) -> Callable[[], float]:
    """Returns a run of ten epochs of stock `fit` on images, with all other layers frozen."""
    import keras
    import tensorflow as tf

    from deep_net_triage.network import blocks, surgery

    parent = networks.parent(size)
    block = blocks.find_blocks(parent)[number - 1]
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
    surgery.set_trainable(student, block, "block")
    student.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    count = STEPS_AN_EPOCH * batch
    made = tf.data.Dataset.from_tensor_slices(networks.images(count, size)).cache()
    made = made.shuffle(count).repeat().batch(batch).prefetch(tf.data.AUTOTUNE)

    def run() -> float:
        started = time.perf_counter()
        student.fit(made, epochs=EPOCHS, steps_per_epoch=STEPS_AN_EPOCH, verbose=0)
        return (time.perf_counter() - started) / EPOCHS

    return run


if __name__ == "__main__":
    main()
