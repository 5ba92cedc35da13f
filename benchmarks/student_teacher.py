"""(d): the student-teacher phase compared with `keras.distillation.Distiller`.

python -m benchmarks.student_teacher [--size=32] [--batch=64] [--rounds=5]

Times are sums over the five blocks, per epoch, for a loss on the same tensor. Our time includes
the walk over each block, divided by the two methods that distil and the ten epochs of each.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import networks, side_by_side
from benchmarks.side_by_side import contestant

READERS = 2  # stn and stn_cm
EPOCHS = 10  # the default of --distill_epochs
TIMED_EPOCHS = 3
STEPS_AN_EPOCH = 2


def main() -> None:
    """Prints the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    here = {"size": options.size, "batch": options.batch}
    print(side_by_side.machine())
    function = "benchmarks.student_teacher:distiller"
    found = side_by_side.compare(
        [
            contestant("ours", "benchmarks.student_teacher:ours", **here),
            contestant("Distiller, oneDNN", function, onednn="1", **here),
        ],
        options.rounds,
    )
    side_by_side.report("five blocks", found["Distiller, oneDNN"] / found["ours"], "15")


def ours(size: int, batch: int) -> Callable[[], float]:
    """Returns a run of three epochs for each block, on the walk's activations."""
    import deep_net_triage  # noqa: F401

    # isort: split
    from deep_net_triage.learning import batches
    from deep_net_triage.learning.array_stores import ArrayStore
    from deep_net_triage.learning.batches import Examples
    from deep_net_triage.learning.retraining import Retraining
    from deep_net_triage.learning.walk import Walk
    from deep_net_triage.network import blocks

    settings = networks.settings(batch_size=batch)
    parent = networks.parent(size)
    dataset = networks.dataset(STEPS_AN_EPOCH * batch, batch, size)
    found = blocks.find_blocks(parent)
    walk = Walk(parent, dataset, ArrayStore(Path(tempfile.gettempdir())), settings, found)
    fits, walked = [], 0.0
    for block in found:
        started = time.perf_counter()
        source = walk.source_for(block)
        walked += time.perf_counter() - started
        retraining = Retraining(parent, block, dataset, source, settings)
        phase = retraining._of_pair
        made = batches.training_batches(
            Examples(phase.source.train, source.targets, len(phase.source.train)),
            batch_size=batch,
            seed=0,
            epochs=range(10**6),
        )
        fits.append((phase.learner, made, retraining))

    def run() -> float:
        started = time.perf_counter()
        for model, made, _ in fits:
            model.fit(
                made,
                epochs=TIMED_EPOCHS,
                steps_per_epoch=STEPS_AN_EPOCH,
                verbose=0,
                shuffle=False,
            )
        return (time.perf_counter() - started) / TIMED_EPOCHS + walked / READERS / EPOCHS

    return run


def distiller(size: int, batch: int) -> Callable[[], float]:
    """Returns the same run with Keras's `Distiller`, on images."""
    import keras
    import tensorflow as tf

    from deep_net_triage.network import blocks, surgery

    parent = networks.parent(size)
    count = STEPS_AN_EPOCH * batch
    made = tf.data.Dataset.from_tensor_slices(networks.images(count, size)).cache()
    made = made.shuffle(count).repeat().batch(batch).prefetch(tf.data.AUTOTUNE)

    def difference(target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.square(output - target), axis=(1, 2, 3))

    models = []
    for block in blocks.find_blocks(parent):
        student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
        surgery.set_trainable(student, block, "block")
        feature = keras.distillation.FeatureDistillation(
            loss=difference, teacher_layer_name=block.pool, student_layer_name=block.pool
        )
        model = keras.distillation.Distiller(
            teacher=parent,
            student=student,
            distillation_losses=[feature],
            student_loss_weight=0.0,
        )
        model.compile(
            optimizer=keras.optimizers.Adam(1e-3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        models.append(model)

    def run() -> float:
        started = time.perf_counter()
        for model in models:
            model.fit(made, epochs=TIMED_EPOCHS, steps_per_epoch=STEPS_AN_EPOCH, verbose=0)
        return (time.perf_counter() - started) / TIMED_EPOCHS

    return run


if __name__ == "__main__":
    main()
