import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import graphs, surgery
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
    flat = graphs.flat(model, (8, 6, 3))
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
    flat = graphs.flat(nested(), (8, 6, 3))
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
    flat = graphs.flat(model)
    np.testing.assert_allclose(flat(images), model(images), rtol=1e-4, atol=1e-5)
    (block,) = find_blocks(flat)
    student = surgery.compress(flat, block, initializer="mean", seed=0)
    received = surgery.cut(student, student.inputs[0], block.received_by(student))(images)
    np.testing.assert_allclose(np.std(received, axis=(0, 1, 2)), 1, rtol=1e-4)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.layer = conv()

    def call(self, inputs):
        return self.layer(inputs)


def shared():
    layer = conv(3, name="twice")
    x = images = keras.Input((8, 8, 3))
    return keras.Model(images, layer(layer(x)))


def two_inputs():
    a, b = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([a, b], keras.layers.Add()([a, b]))


def two_outputs():
    x = images = keras.Input((8, 8, 3))
    return keras.Model(images, [conv()(x), conv()(x)])


def around(layer, shape=(8, 8, 3)):
    images = keras.Input(shape)
    return keras.Model(images, layer(images))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Subclassed, "own is a subclassed model .Subclassed., whose layers can't be told"),
        (lambda: around(Subclassed()), "own is a subclassed model"),
        (shared, "twice is called twice"),
        (two_inputs, "it has 2 inputs; a parent has one"),
        (two_outputs, "it has 2 outputs; a parent has one"),
        (lambda: around(keras.layers.Dense(3), (5,)), "it takes tensors of 1 sides"),
        (lambda: keras.Sequential([conv()], name="new"), "new was never told the shape"),
        (
            lambda: around(conv(data_format="channels_first", name="first")),
            "first has channels first",
        ),
    ],
)
def test_what_can_not_be_made_flat_is_refused_by_name(build, reason):
    with pytest.raises(InputError, match=reason):
        graphs.flat(build())


def test_the_walk_through_a_model_is_still_there():
    """`_run_through_graph` is Keras 3.15's own; without it `flat` needs another way."""
    assert callable(keras.Function._run_through_graph)
