"""Networks whose channels are tied in different ways, and what tests do with narrowed ones."""

import keras
import numpy as np

layers = keras.layers
IMAGES = np.random.default_rng(0).integers(0, 256, (27, 8, 8, 2)).astype(np.float32) / 255


def drawn(images, x, name):
    """A model of three classes, with weights of 0.1 to 1 and their negatives."""
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(3, name="logits")(x), name=name)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        # A variance is positive.
        signs = [1] if isinstance(layer, layers.BatchNormalization) else [-1, 1]
        shapes = [weights.shape for weights in layer.get_weights()]
        layer.set_weights(
            [generator.uniform(0.1, 1, s) * generator.choice(signs, s) for s in shapes]
        )
    return model


def normalized(x, filters, name, size=3, strides=1):
    x = layers.Conv2D(filters, size, strides, padding="same", name=name)(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def residual():
    """A stem and a unit of 6 filters, then two units of 8, the first with a stride."""
    images = keras.Input((8, 8, 2))
    x = stem = layers.ReLU()(normalized(images, 6, "stem"))
    x = layers.ReLU()(normalized(x, 6, "a1"))
    x = layers.Add(name="add_a")([normalized(x, 6, "a2"), stem])
    x = unit = layers.ReLU()(x)
    x = layers.ReLU()(normalized(x, 8, "b1", strides=2))
    x = layers.Add(name="add_b")(
        [normalized(x, 8, "b2"), normalized(unit, 8, "short", 1, strides=2)]
    )
    x = unit = layers.ReLU()(x)
    x = layers.ReLU()(normalized(x, 8, "c1"))
    # As one writes it without a layer.
    return drawn(images, layers.ReLU(name="end")(normalized(x, 8, "c2") + unit), "residual")


def gated():
    """Every other way in which channels meet: depthwise, gates, branches, groups."""
    images = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(images)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="deep")(x)
    x = shared = layers.PReLU(shared_axes=(1, 2), name="slopes")(x)
    x = layers.Conv2D(8, 3, padding="same", name="second")(x)
    gate = layers.GlobalAveragePooling2D()(x)
    gate = layers.Reshape((1, 1, 8), name="reshaped")(gate)
    gate = layers.Conv2D(2, 1, activation="relu", name="squeeze")(gate)
    gate = layers.Conv2D(8, 1, name="excite")(gate)
    gate = layers.ReLU(6)(gate + 3.0) * (1 / 6)
    x = layers.Multiply(name="scaled")([x, gate])
    side = layers.Conv2D(4, 1, name="side")(shared)
    x = layers.Concatenate(name="both")([x, side])
    x = layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2, name="separable")(x)
    x = layers.BatchNormalization(name="separable_bn")(x)
    x = layers.Conv2D(4, 3, padding="same", groups=2, name="grouped")(x)
    x = layers.Conv2D(4, 3, padding="same", groups=4, name="alone")(x)
    x = layers.Conv2D(5, 3, padding="same", name="last")(x)
    model = drawn(images, x, "gated")
    grouped = model.get_layer("grouped")
    kernel, bias = grouped.get_weights()
    kernel[..., [0, 2]] *= 0.1  # the first filter of each group is the weakest
    grouped.set_weights([kernel, bias])
    return model


def widths(model):
    """The filters and units of a model's convolutions and dense layers, by name."""
    return {
        layer.name: layer.output.shape[-1]
        for layer in model.layers
        if isinstance(layer, layers.Conv2D | layers.Dense | layers.SeparableConv2D)
    }


def check_trains_and_loads(model, folder):
    """One epoch changes each kernel, and plain Keras loads what it saves."""
    before = [weights.copy() for weights in model.get_weights()]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    history = model.fit(IMAGES, np.arange(27) % 3, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    changed = [
        not np.array_equal(was, now)
        for was, now in zip(before, model.get_weights(), strict=True)
    ]
    assert sum(changed) > len(changed) / 2
    model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    outputs = [m.predict(IMAGES, verbose=0) for m in (model, loaded)]
    np.testing.assert_array_equal(*outputs)
