"""The parent network: VGG16 with batch normalisation, from raw pixels to logits."""

from collections.abc import Sequence

import keras

# Simonyan & Zisserman's configuration D: convolutions and filters of the five blocks.
CONVOLUTIONS = (2, 2, 3, 3, 3)
FILTERS = (64, 128, 256, 512, 512)
DENSE_UNITS = 4096
BATCHNORM_EPSILON = 1e-3


def build(
    *,
    input_shape: tuple[int | None, int | None, int],
    classes: int,
    image_size: int,
    mean: Sequence[float],
    deviation: Sequence[float],
    width: float = 1.0,
    dropout: float = 0.0,
    batchnorm_momentum: float = 0.9,
    synchronized: bool = False,
) -> keras.Model:
    """Returns an untrained VGG16 with batch normalisation.

    Its first layers turn raw images into what the paper feeds VGG16 (3): grey to RGB,
    bilinear resizing, and normalisation by the training set's statistics. The input is
    float32, which accepts uint8 arrays as well: with a uint8 input Keras 3.15 truncates what
    calling the model computes.

    Args:
        input_shape: of a raw image; height and width may be None, channels are 1 or 3.
        classes: number of logits.
        image_size: side in pixels after resizing.
        mean: of each RGB channel after resizing, in raw pixels.
        deviation: the standard deviation of each, likewise.
        width: factor of filters and dense units.
        dropout: rate after `fc1` and `fc2`.
        batchnorm_momentum: of the moving statistics.
        synchronized: whether batch normalisation takes the statistics of the global batch.

    Returns:
        A functional model from (batch, height, width, channels) to (batch, classes), layers
        named `block{b}_conv{n}`, `block{b}_bn{n}`, `block{b}_pool`, `fc1`, `fc2` and
        `predictions`.
    """
    images = keras.Input(input_shape, name="image", dtype="float32")
    x = _normalized(images, image_size, mean, deviation)
    for b, (convolutions, filters) in enumerate(zip(CONVOLUTIONS, FILTERS, strict=True), 1):
        for n in range(1, convolutions + 1):
            x = keras.layers.Conv2D(
                scaled(filters, width), 3, padding="same", name=f"block{b}_conv{n}"
            )(x)
            x = keras.layers.BatchNormalization(
                momentum=batchnorm_momentum,
                epsilon=BATCHNORM_EPSILON,
                synchronized=synchronized,
                name=f"block{b}_bn{n}",
            )(x)
            x = keras.layers.ReLU(name=f"block{b}_relu{n}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{b}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        units = scaled(DENSE_UNITS, width)
        x = keras.layers.Dense(units, activation="relu", name=name)(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    # Under a half-precision policy the loss still needs float32.
    logits = keras.layers.Dense(classes, dtype=_at_least_float32(), name="predictions")(x)
    return keras.Model(images, logits, name="vgg16")


def scaled(full: int, width: float) -> int:
    """Returns a number of filters or units at a width, at least one."""
    return max(1, round(full * width))


def _normalized(
    images: keras.KerasTensor,
    image_size: int,
    mean: Sequence[float],
    deviation: Sequence[float],
) -> keras.KerasTensor:
    x = images
    if images.shape[-1] == 1:
        x = keras.layers.Concatenate(name="grey_to_rgb")([x, x, x])
    if tuple(images.shape[1:3]) != (image_size, image_size):
        resize = keras.layers.Resizing(
            image_size, image_size, interpolation="bilinear", dtype="float32", name="resize"
        )
        # Called with neither True nor False, a Keras 3.15 image layer means True, and takes
        # every layer behind it along: `model(images)` would move batch norm's statistics.
        x = resize(x, training=False)
    return keras.layers.Normalization(
        mean=[float(value) for value in mean],
        variance=[float(value) ** 2 for value in deviation],
        dtype=_at_least_float32(),
        name="normalize",
    )(x)


def _at_least_float32() -> str:
    """Returns the policy's dtype of variables: float32, or float64 in tests."""
    return keras.config.dtype_policy().variable_dtype
