"""The parent network of the paper: VGG16 with batch norm, from raw pixels to logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

# Simonyan & Zisserman's configuration D: convolutions and filters of the five blocks.
CONVOLUTIONS = (2, 2, 3, 3, 3)
FILTERS = (64, 128, 256, 512, 512)
DENSE_UNITS = 4096
BATCHNORM_EPSILON = 1e-3


@dataclass(frozen=True)
class VGG16:
    """The configuration of a VGG16 with batch norm.

    Its first layers turn raw images into what the paper feeds VGG16 (3): grey to RGB, bilinear
    resizing, and normalisation by the training set's statistics.

    Attributes:
        input_shape: of a raw image; height and width may be None, channels are 1 or 3.
        classes: the number of logits.
        image_size: the side in pixels after resizing.
        mean: of each RGB channel after resizing, in raw pixels.
        deviation: the standard deviation of each RGB channel, likewise.
        width: the factor of filters and dense units.
        dropout: the rate after `fc1` and `fc2`.
        batchnorm_momentum: of the moving statistics.
    """

    input_shape: tuple[int | None, int | None, int]
    classes: int
    image_size: int
    mean: Sequence[float]
    deviation: Sequence[float]
    width: float = 1.0
    dropout: float = 0.0
    batchnorm_momentum: float = 0.9

    def build(self) -> keras.Model:
        """Returns the untrained network.

        Its input is float32, which accepts uint8 arrays as well: with a uint8 input Keras 3.15
        truncates what calling the model computes.

        Returns:
            A functional model from (batch, height, width, channels) to (batch, classes), with
            layers named `block{b}_conv{n}`, `block{b}_bn{n}`, `block{b}_pool`, `fc1`, `fc2` and
            `predictions`.
        """
        images = keras.Input(self.input_shape, name="image", dtype="float32")
        x = self._preprocess(images)
        for b, (convolutions, filters) in enumerate(
            zip(CONVOLUTIONS, FILTERS, strict=True), start=1
        ):
            for n in range(1, convolutions + 1):
                x = self._convolve(x, filters, f"block{b}", n)
            x = keras.layers.MaxPooling2D(2, name=f"block{b}_pool")(x)
        x = keras.layers.Flatten(name="flatten")(x)
        for name in ("fc1", "fc2"):
            x = keras.layers.Dense(self._scaled(DENSE_UNITS), activation="relu", name=name)(x)
            if self.dropout:
                x = keras.layers.Dropout(self.dropout, name=f"{name}_dropout")(x)
        # Under a half-precision policy the loss still needs float32.
        dense = keras.layers.Dense(self.classes, dtype=_at_least_float32(), name="predictions")
        return keras.Model(images, dense(x), name="vgg16")

    def _preprocess(self, images: keras.KerasTensor) -> keras.KerasTensor:
        x, size = images, self.image_size
        if images.shape[-1] == 1:
            x = keras.layers.Concatenate(name="grey_to_rgb")([x, x, x])
        if tuple(images.shape[1:3]) != (size, size):
            resize = keras.layers.Resizing(
                size, size, interpolation="bilinear", dtype="float32", name="resize"
            )
            # A Keras 3.15 image layer that is called without `training` takes it as True, and
            # so do all layers after it: `model(images)` would move batch norm's statistics.
            x = resize(x, training=False)
        return keras.layers.Normalization(
            mean=[float(value) for value in self.mean],
            variance=[float(value) ** 2 for value in self.deviation],
            dtype=_at_least_float32(),
            name="normalize",
        )(x)

    def _convolve(
        self, x: keras.KerasTensor, filters: int, block: str, n: int
    ) -> keras.KerasTensor:
        x = keras.layers.Conv2D(
            self._scaled(filters), 3, padding="same", name=f"{block}_conv{n}"
        )(x)
        x = keras.layers.BatchNormalization(
            momentum=self.batchnorm_momentum,
            epsilon=BATCHNORM_EPSILON,
            name=f"{block}_bn{n}",
        )(x)
        return keras.layers.ReLU(name=f"{block}_relu{n}")(x)

    def _scaled(self, full: int) -> int:
        """Returns a number of filters or units at this width, at least one."""
        return max(1, round(full * self.width))


def _at_least_float32() -> str:
    """Returns the dtype of the policy's variables: float32, or float64 in tests."""
    return keras.config.dtype_policy().variable_dtype
