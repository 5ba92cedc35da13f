"""The six methods as a competent user would write them with stock Keras.

Each trial compiles once, and reads a cached tf.data pipeline. Distillation runs both networks
only up to the block. Network, surgery and data are this project's, so that both do the same
work.
"""

import keras
import tensorflow as tf

from deep_net_triage.methods import METHODS
from deep_net_triage.network import blocks, surgery


def run(
    parent: keras.Model,
    train: tuple[tf.Tensor, tf.Tensor],
    test: tuple[tf.Tensor, tf.Tensor],
    methods: list[str],
    epochs: int,
    distill_epochs: int,
    batch: int,
) -> dict[tuple[str, str], float]:
    """Returns the best test accuracy of each (block, method)."""
    count = len(train[0])
    made = tf.data.Dataset.from_tensor_slices(train).cache().shuffle(count).batch(batch)
    made = made.prefetch(tf.data.AUTOTUNE)
    judged = tf.data.Dataset.from_tensor_slices(test).batch(batch).cache()
    judged = judged.prefetch(tf.data.AUTOTUNE)
    best = {}
    for block in blocks.find_blocks(parent):
        for method in methods:
            row = METHODS[method]
            student = surgery.compress(parent, block, initializer=row.initializer, seed=0)
            if row.student_teacher:
                surgery.set_trainable(student, block, "block")
                pair = Pair(
                    keras.Model(parent.inputs[0], block.returned_by(parent)),
                    keras.Model(student.inputs[0], block.returned_by(student)),
                )
                pair.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
                pair.fit(made, epochs=distill_epochs, verbose=0)
            surgery.set_trainable(student, block, row.updates)
            student.compile(
                optimizer=keras.optimizers.Adam(1e-3),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
                jit_compile=False,
            )
            student.evaluate(judged, verbose=0)
            history = student.fit(made, validation_data=judged, epochs=epochs, verbose=0)
            best[block.name, method] = max(history.history["val_accuracy"])
    return best


class Pair(keras.Model):
    """A student that learns its teacher's output."""

    def __init__(self, teacher: keras.Model, student: keras.Model) -> None:
        super().__init__()
        self.teacher = teacher
        self.student = student
        self.built = True

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Runs one training step on the loss of Eq. 3."""
        images, _ = data
        target = self.teacher(images, training=False)
        with tf.GradientTape() as tape:
            output = self.student(images, training=True)
            difference = tf.reduce_sum(tf.square(output - target), axis=(1, 2, 3))
            loss = tf.reduce_mean(difference)
        learning = self.student.trainable_variables
        self.optimizer.apply(tape.gradient(loss, learning), learning)
        return {"loss": loss}
