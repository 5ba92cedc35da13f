import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import flattening, graphs, narrowing, surgery
from deep_net_triage.network.blocks import find_blocks


def conv(filters=4, **settings):
    return keras.layers.Conv2D(filters, 3, padding="same", **settings)


def moved(model):
    """Gives every weight a value of its own, so that a weight in the wrong place shows."""
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    return model


def nested():
    inner = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            conv(name="a"),
            keras.layers.BatchNormalization(name="bn"),
        ],
        name="inner",
    )
    x = images = keras.Input((None, None, 3), name="images")
    x = inner(x)
    shortcut = x = conv(name="a")(x)
    x = keras.ops.add(conv(name="b")(x), shortcut)
    x = keras.layers.GlobalAveragePooling2D()(x)
    middle = keras.Model(images, x, name="middle")
    outer = keras.Sequential([keras.Input((None, None, 3)), middle, keras.layers.Dense(2)])
    return moved(outer)


def test_a_flat_model_computes_the_same():
    model = nested()
    flat = flattening.flat(model, (8, 6, 3))
    assert flat.input_shape == (None, 8, 6, 3)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    names = [layer.name for layer in flat.layers if layer.weights]
    assert names[:4] == ["a", "bn", "middle_a", "b"]
    images = np.random.default_rng(1).uniform(0, 255, (3, 8, 6, 3)).astype(np.float32)
    expected = model(images, training=False)
    np.testing.assert_allclose(flat(images, training=False), expected, rtol=1e-5)
    flat.get_layer("b").kernel.assign_add(np.ones(flat.get_layer("b").kernel.shape))
    np.testing.assert_array_equal(model(images, training=False), expected)


def test_what_is_flat_is_cut_and_compressed():
    flat = flattening.flat(nested(), (8, 6, 3))
    (block,) = find_blocks(flat)
    assert block.convolutions == ("a", "middle_a", "b")
    student = surgery.compress(flat, block, initializer="mean", seed=0)
    assert student.output_shape == (None, 2)
    np.testing.assert_array_equal(
        student.layers[-1].get_weights()[0], flat.layers[-1].get_weights()[0]
    )


def test_a_normalization_that_was_adapted_goes_on_with_what_it_learnt():
    images = np.random.default_rng(1).uniform(0, 255, (9, 8, 8, 3)).astype(np.float32)
    normalize = keras.layers.Normalization()
    normalize.adapt(images)
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), normalize, conv(), conv(), keras.layers.Flatten()]
    )
    flat = flattening.flat(model)
    np.testing.assert_allclose(flat(images), model(images), rtol=1e-4, atol=1e-5)
    (block,) = find_blocks(flat)
    student = surgery.compress(flat, block, initializer="mean", seed=0)
    received = graphs.cut(student, student.inputs[0], block.received_by(student))(images)
    np.testing.assert_allclose(np.std(received, axis=(0, 1, 2)), 1, rtol=1e-4)


def test_a_normalization_within_another_layer_keeps_its_statistics():
    images = np.random.default_rng(1).uniform(0, 255, (9, 8, 8, 3)).astype(np.float32)
    normalize = keras.layers.Normalization()
    normalize.adapt(images)
    before = keras.layers.Pipeline([normalize, keras.layers.RandomFlip()])
    layers = [keras.Input((8, 8, 3)), before, conv(name="a"), conv(name="b")]
    model = keras.Sequential([*layers, keras.layers.Flatten()])
    flat = flattening.flat(model)
    expected = model(images, training=False)
    np.testing.assert_allclose(flat(images, training=False), expected, rtol=1e-4, atol=1e-5)
    redrawn = narrowing.redrawn(flat, seed=1)
    received = graphs.cut(redrawn, redrawn.inputs[0], redrawn.get_layer("a").input)(images)
    np.testing.assert_allclose(np.std(received, axis=(0, 1, 2)), 1, rtol=1e-4)


def test_integers_become_floating_numbers_at_a_model_that_takes_those():
    """A cast by hand: Keras casts what a model in a model receives to its input's type."""
    inner = keras.Sequential([keras.Input((8, 8, 3)), conv(name="a"), keras.layers.Flatten()])
    model = moved(keras.Sequential([keras.Input((8, 8, 3), dtype="uint8"), inner]))
    pixels = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    flat = flattening.flat(model)
    assert flat.inputs[0].dtype == "uint8"
    kernel, bias = (weight.numpy() for weight in flat.get_layer("a").weights)
    padded = np.pad(pixels.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.einsum("nxyc,xycf->nf", padded[:, 4:7, 5:8], kernel) + bias  # pixel 4, 5
    computed = np.reshape(flat(pixels), (3, 8, 8, 4))[:, 4, 5]
    np.testing.assert_allclose(computed, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.SpatialDropout2D(0.1, name="odd"),
        keras.layers.Discretization(bin_boundaries=[50.0, 100.0], name="odd"),
        keras.layers.Pipeline(
            [keras.layers.RandomFlip(), keras.layers.Rescaling(2.0)], name="odd"
        ),
        keras.layers.RandomFlip(name="odd"),
        keras.layers.RandomRotation(0.1, name="odd"),
        keras.layers.CenterCrop(6, 6, name="odd"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_before_the_blocks_are_copied_whatever_arguments_they_take(layer):
    x = images = keras.Input((8, 8, 3))
    x = conv(name="b")(conv(name="a")(keras.ops.cast(layer(x), "float32")))
    model = moved(keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(x))))
    flat = flattening.flat(model)
    pixels = np.random.default_rng(1).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    expected = model(pixels, training=False)
    np.testing.assert_allclose(flat(pixels, training=False), expected, rtol=1e-4)
    (block,) = find_blocks(flat)
    student = surgery.compress(flat, block, initializer="mean", seed=0)
    for training in (True, False):
        assert student(pixels, training=training).shape == (3, 2)
    assert student.get_layer("odd").get_config() == layer.get_config()


def test_a_dictionary_as_output_becomes_its_tensor():
    images = keras.Input((8, 8, 3))
    features = keras.layers.Flatten()(conv(name="b")(conv(name="a")(images)))
    model = moved(keras.Model(images, {"classes": keras.layers.Dense(2)(features)}))
    flat = flattening.flat(model)
    pixels = np.random.default_rng(1).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(flat(pixels), model(pixels)["classes"], rtol=1e-5)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (("a", "inner_a", None), ["a", "inner_a", "inner_a_2"]),
        ((None, "a", "inner_a"), ["a", "a_2", "inner_a"]),
    ],
)
def test_layers_whose_names_clash_all_get_their_weights(order, expected):
    inner = keras.Sequential([keras.Input((8, 8, 3)), conv(3, name="a")], name="inner")
    x = images = keras.Input((8, 8, 3))
    for name in order:
        x = conv(3, name=name)(x) if name else inner(x)
    model = moved(keras.Model(images, keras.layers.Flatten()(x)))
    flat = flattening.flat(model)
    names = [layer.name for layer in flat.layers if layer.weights]
    assert names == expected
    pixels = np.random.default_rng(1).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(flat(pixels), model(pixels), rtol=1e-5)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.layer = conv()

    def call(self, inputs):
        return self.layer(inputs)


class Halved(keras.Model):
    """Functional, but for what happens to the images first."""

    def call(self, inputs, training=None):
        return super().call(inputs / 2, training=training)


class Unconfigured(keras.layers.Layer):
    """Its configuration lacks the argument that building it needs."""

    def __init__(self, units, **settings):
        super().__init__(**settings)
        self.units = units

    def call(self, inputs):
        return inputs

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable()
def doubled(inputs):
    return 2 * inputs


def channels_first():
    return conv(data_format="channels_first", name="first")


def shared():
    layer = conv(3, name="twice")
    x = images = keras.Input((8, 8, 3))
    return keras.Model(images, layer(layer(x)))


def shared_with_a_model_in_it():
    layer = conv(3, name="twice")
    images = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), layer])
    return keras.Model(images, inner(layer(images)))


def two_inputs():
    a, b = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([a, b], keras.layers.Add()([a, b]))


def halved():
    images = keras.Input((8, 8, 3))
    return Halved(images, conv()(images), name="half")


def a_model_of_two_inputs_inside():
    images = keras.Input((8, 8, 3))
    model = two_inputs()
    model.name = "joined"
    return keras.Model(images, model([conv(3)(images), images]))


def two_outputs():
    x = images = keras.Input((8, 8, 3))
    return keras.Model(images, [conv()(x), conv()(x)])


def around(layer, shape=(8, 8, 3)):
    images = keras.Input(shape)
    return keras.Model(images, layer(images))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: "x", "a str is not a model; allowed: a Sequential or functional keras.Model"),
        (lambda: keras.layers.Dense(2), "a Dense is not a model"),
        (Subclassed, "own is a subclassed model .Subclassed., whose layers can't be listed"),
        (lambda: around(Subclassed()), "own is a subclassed model"),
        (shared, "twice is called twice"),
        (shared_with_a_model_in_it, "twice is called twice"),
        (halved, "half is a subclassed model .Halved. with a call of its own"),
        (lambda: around(halved()), "half is a subclassed model"),
        (two_inputs, "has 2 inputs; allowed: one"),
        (
            a_model_of_two_inputs_inside,
            "joined, a model inside another, takes 2 tensors",
        ),
        (two_outputs, "has 2 outputs; allowed: one"),
        (
            lambda: around(keras.layers.Dense(3), (5,)),
            r"takes tensors of shape \(5,\); allowed",
        ),
        (lambda: keras.Sequential([conv()], name="new"), "new is not built"),
        (
            lambda: around(channels_first()),
            "first has data_format channels_first; allowed: channels_last",
        ),
        (
            lambda: around(keras.Sequential([around(channels_first())])),
            "first has data_format channels_first",
        ),
        (
            lambda: around(keras.layers.RandomCrop(6, 4, name="crop")),
            "crop crops 8 x 8 pixels to 6 x 4 in training only; use CenterCrop",
        ),
        (
            lambda: around(keras.layers.Pipeline([keras.layers.RandomCrop(6, 4)], name="both")),
            "both crops 8 x 8 pixels to 6 x 4 in training only",
        ),
        (
            lambda: around(keras.layers.Lambda(doubled, name="own")),
            "own is or holds a Lambda layer, whose code is not trusted",
        ),
        (lambda: around(Unconfigured(3)), "^unconfigured can't be copied from its config"),
    ],
)
def test_what_can_not_be_made_flat_is_refused_by_name(build, reason):
    with pytest.raises(InputError, match=reason):
        flattening.flat(build())


def test_a_block_does_not_begin_or_end_at_an_operation_that_returns_several_tensors():
    x = images = keras.Input((8, 8, 4))
    left, right = keras.ops.split(x, 2, axis=-1)
    right = conv(2, name="b")(conv(2, name="a")(right))
    x = keras.layers.Concatenate()([left, right])
    model = keras.Model(images, keras.layers.Flatten()(x))
    graph = graphs.Graph(model)
    parts = next(name for name in graph.operations if name.startswith("split"))
    with pytest.raises(InputError, match=f"{parts} returns several tensors"):
        graph.between("a", "b")
    with pytest.raises(InputError, match=f"{parts} returns several tensors"):
        graph.between(parts, parts)


def test_the_walk_through_a_model_is_still_there():
    """`_run_through_graph` is Keras 3.15's own; without it `flat` needs another way."""
    assert callable(keras.Function._run_through_graph)


def test_the_layers_that_a_layer_holds_are_still_listed():
    """`_flatten_layers` is Keras 3.15's own; without it what layers hold is not seen."""
    held = keras.layers.ReLU()
    assert held in graphs.with_held(keras.layers.Pipeline([held]))
