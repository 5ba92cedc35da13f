"""Trains the small residual network of the README's example on a fifth of CIFAR-10.

python figures/own_model/train_resnet.py --output=resnet.keras [--data_dir=...] [--epochs=40]
"""

import argparse
from pathlib import Path

import keras
import tensorflow as tf

from deep_net_triage.images import datasets, splits

FILTERS = (32, 64, 128)
UNITS = 3
BATCH = 64
# As many images as flags/study/compress_resnet.flags asks for, and then the same ones.
TRAIN, TEST = 10000, 2000


def build() -> keras.Model:
    """Returns a residual network of three stages of three units, for raw 32 x 32 RGB images."""
    x = images = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1, name="rescale")(x)
    x = convolution(FILTERS[0], 1, "stem")(x)
    for stage, filters in enumerate(FILTERS, start=1):
        for unit in range(1, UNITS + 1):
            strides = 2 if stage > 1 and unit == 1 else 1
            name = f"stage{stage}_unit{unit}"
            shortcut = x
            if strides > 1:
                shortcut = keras.layers.Conv2D(
                    filters, 1, strides=strides, name=f"{name}_shortcut"
                )(x)
            x = convolution(filters, strides, f"{name}_1")(x)
            x = keras.layers.Conv2D(
                filters, 3, padding="same", use_bias=False, name=f"{name}_2_conv"
            )(x)
            x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_2_bn")(x)
            x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
            x = keras.layers.ReLU(name=f"{name}_out")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, keras.layers.Dense(10, name="classes")(x), name="resnet")


def convolution(filters: int, strides: int, name: str) -> keras.Sequential:
    """Returns a convolution with batch normalisation and ReLU, as a model of its own."""
    return keras.Sequential(
        [
            keras.layers.Conv2D(
                filters,
                3,
                strides,
                padding="same",
                use_bias=False,
                name=f"{name}_conv",
            ),
            keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn"),
            keras.layers.ReLU(name=f"{name}_relu"),
        ],
        name=name,
    )


def batches(split: splits.Split, epochs: int) -> tf.data.Dataset:
    """Returns the batches of all epochs, each image mirrored and shifted at random.

    Args:
        split: images of 32 x 32 pixels and their labels.
        epochs: how many there are; each has its own order.
    """

    def shift_and_flip(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        padded = tf.image.resize_with_crop_or_pad(tf.cast(image, tf.float32), 40, 40)
        cropped = tf.image.random_crop(padded, (32, 32, 3), seed=1)
        return tf.image.random_flip_left_right(cropped, seed=2), label

    shuffled = tf.data.Dataset.from_tensor_slices((split.images, split.labels))
    return (
        shuffled.shuffle(len(split), seed=0)
        .repeat(epochs)
        .map(shift_and_flip)
        .batch(BATCH, drop_remainder=True)
        .prefetch(2)
    )


def main() -> None:
    """Trains the network with a rate that falls to nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    asked = parser.parse_args()
    keras.utils.set_random_seed(0)
    data = datasets.load(
        "cifar10",
        image_size=32,
        data_dir=asked.data_dir,
        train_examples=TRAIN,
        test_examples=TEST,
    )
    # --compress judges by the same tenth, of which the network must know nothing.
    data = splits.hold_out(data, 0.1)
    model = build()
    steps = len(data.train) // BATCH
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, (asked.epochs - 1) * steps, warmup_target=2e-3, warmup_steps=steps
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.05)
    optimizer.exclude_from_weight_decay([v for v in model.trainable_weights if v.ndim < 2])
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    test = data.test.images.numpy(), data.test.labels.numpy()
    model.fit(
        batches(data.train, asked.epochs),
        steps_per_epoch=steps,
        epochs=asked.epochs,
        validation_data=test,
        verbose=2,
    )
    model.save(asked.output)


if __name__ == "__main__":
    main()
