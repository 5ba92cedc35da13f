"""Trains the small residual network of the README's example on CIFAR-10, and saves it.

python figures/own_model/train_resnet.py --output=resnet.keras [--data_dir=...] [--epochs=12]
"""

import argparse
from pathlib import Path

import keras

from deep_net_triage.images import datasets

FILTERS = (16, 32, 64)
UNITS = 2


def build() -> keras.Model:
    """Returns a residual network of three stages of two units, for raw 32 x 32 RGB images."""
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


def main() -> None:
    """Trains the network with a rate that falls to nothing, images mirrored at random."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    asked = parser.parse_args()
    keras.utils.set_random_seed(0)
    data = datasets.load("cifar10", image_size=32, data_dir=asked.data_dir)
    train, test = data.train, data.test
    model = build()
    steps = asked.epochs * (len(train) // 64 + 1)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    upright, labels = train.images.numpy(), train.labels.numpy()
    mirrored = upright[:, :, ::-1]
    for epoch in range(asked.epochs):  # every other epoch sees all images mirrored
        images = mirrored if epoch % 2 else upright
        model.fit(images, labels, batch_size=64, epochs=1, verbose=2)
    print(
        "test:",
        model.evaluate(test.images.numpy(), test.labels.numpy(), verbose=0, return_dict=True),
    )
    model.save(asked.output)


if __name__ == "__main__":
    main()
