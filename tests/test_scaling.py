from fractions import Fraction

import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import channels, costs, scaling
from tests.narrow import IMAGES, check_trains_and_loads, drawn, gated, residual, widths
from tests.toys import dtype_policy

layers = keras.layers


def scaled(model, factor, seed):
    """A network whose widths are multiplied by a factor."""
    return scaling._scaled(model, channels.of(model), Fraction(factor), seed)


def branches():
    """The sum of a convolution with two others side by side."""
    images = keras.Input((8, 8, 2))
    parts = [layers.Conv2D(n, 1, name=f"part{n}")(images) for n in (4, 12)]
    x = layers.Add()([layers.Concatenate()(parts), layers.Conv2D(16, 1, name="all")(images)])
    x = layers.Conv2D(2, 3, padding="same", name="image")(x)
    return drawn(images, layers.Conv2D(9, 1, name="free")(layers.Add()([x, images])), "sums")


@pytest.mark.parametrize(
    ("build", "factor", "expected"),
    [
        # 1.5 and 4.5 are rounded up.
        (residual, 0.25, {"stem": 2, "a1": 2, "b1": 2, "short": 2, "c1": 2}),
        (residual, 0.75, {"stem": 5, "a2": 5, "c1": 6}),
        (residual, 0.01, {"stem": 1, "b1": 1, "c2": 1}),
        # Half of the filters of each group, of whose input the same holds.
        (gated, 0.5, {"first": 2, "second": 4, "excite": 4, "squeeze": 1, "side": 2}),
        (gated, 0.5, {"separable": 4, "grouped": 2, "alone": 2, "last": 3}),
        # 1.6, 4.8, and not 6.4 but the sum of both.
        (branches, 0.4, {"part4": 2, "part12": 5, "all": 7, "image": 2, "free": 4}),
    ],
)
def test_widths_are_multiplied_and_rounded(build, factor, expected):
    small = scaled(build(), factor, seed=0)
    found = widths(small)
    assert expected.items() <= found.items()
    assert found["logits"] == 3
    assert np.isfinite(small.predict(IMAGES, verbose=0)).all()


def test_hidden_dense_layers_are_scaled_and_classes_are_not(parent):
    assert list(widths(scaled(parent, 0.5, seed=0)).values()) == [2, 2, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("target", "left", "expected"),
    [
        (20000, 15090, [3, 3, 4, 4, 4, 6, 3]),
        (12602, 8139, [2, 2, 3, 3, 3, 5, 3]),  # 3/4; at 5/6 it would be 12,603
        (8139, 8139, [2, 2, 3, 3, 3, 5, 3]),
        (8138, 8124, [2, 2, 3, 3, 3, 4, 3]),  # 5/8
        (3189, 2174, [1, 1, 1, 1, 1, 2, 3]),  # 1/4; at 3/8 it would be 3,190
    ],
)
def test_the_widest_network_within_some_arithmetic(parent, target, left, expected):
    small = scaling.scaled_to(parent, target, seed=0)
    assert costs.macs(small) == left
    assert list(widths(small).values()) == expected


def test_too_little_arithmetic_says_how_little_can_be(parent):
    least = 64 * 9 * (2 + 1) + 16 * 9 * 3 + 4 + 3
    with pytest.raises(InputError, match=f"scaling the widths of toy; allowed: {least:,} or m"):
        scaling.scaled_to(parent, least - 1, seed=0)
    assert least == 2167


def test_weights_depend_on_the_seed_and_the_layer_alone(parent):
    def weights(model, seed):
        return scaled(model, 1, seed=seed).get_weights()

    first = weights(parent, 3)
    trained = parent.get_weights()
    parent.set_weights([w + 1 for w in trained])
    keras.utils.set_random_seed(7)
    assert all(map(np.array_equal, first, weights(parent, 3)))
    kernels = [n for n, w in enumerate(first) if w.ndim > 1]
    other = weights(parent, 4)
    assert not any(np.array_equal(first[n], w[n]) for n in kernels for w in (other, trained))
    # Two layers of the same shape differ as well.
    convolutions = [w for w in first if w.shape == (3, 3, 4, 4)]
    assert not np.array_equal(*convolutions)


def test_initializers_are_the_layers_own():
    images = keras.Input((8, 8, 2))
    x = layers.Conv2D(100, 3, kernel_initializer="he_normal", name="he")(images)
    x = layers.Conv2D(100, 3, kernel_initializer="ones", name="ones")(x)
    small = scaled(drawn(images, x, "initial"), 0.5, seed=0)
    he, ones = (small.get_layer(name).get_weights()[0] for name in ("he", "ones"))
    assert he.shape[-1] == 50
    assert he.std() == pytest.approx(np.sqrt(2 / 18), rel=0.1)
    assert (ones == 1).all()


def test_statistics_of_the_images_are_kept():
    images = keras.Input((8, 8, 2))
    x = layers.Normalization(name="statistics")(layers.RandomFlip(name="flip")(images))
    x = layers.Add()([layers.Conv2D(2, 1, name="tied")(x), x])
    model = drawn(images, layers.Conv2D(8, 3, name="first")(x), "normalizing")
    model.get_layer("statistics").adapt(IMAGES)
    small = scaled(model, 0.5, seed=0)
    assert widths(small) == {"tied": 2, "first": 4, "logits": 3}
    outputs = [
        keras.Model(m.input, m.get_layer("statistics").output).predict(IMAGES, verbose=0)
        for m in (model, small)
    ]
    assert abs(outputs[0].mean()) < 1e-4
    np.testing.assert_array_equal(*outputs)


def shuffled(x):
    x = layers.Reshape((8, 8, 2, 2), name="into_groups")(x)
    return layers.Reshape((8, 8, 4), name="back")(layers.Permute((1, 2, 4, 3))(x))


def eight(x):
    """As many channels as rows, so that the two look alike once they are swapped."""
    return layers.Conv2D(8, 1)(x)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (shuffled, r"into_groups \(Reshape\)"),
        (lambda x: layers.Permute((3, 2, 1), name="swap")(eight(x)), r"swap \(Permute\)"),
        (lambda x: x * np.array([1.0, 2, 3, 4], np.float32), r"multiply\w* \(Multiply\)"),
        (lambda x: layers.EinsumDense("bhwc,cd->bhwd", (8, 8, 4), name="e")(x), r"e \(Einsum"),
    ],
)
def test_a_layer_that_needs_its_channels_is_named(layer, name):
    images = keras.Input((8, 8, 2))
    x = layer(layers.Conv2D(4, 3, padding="same")(images))
    model = drawn(images, layers.Conv2D(8, 3)(x), "needing")
    with pytest.raises(InputError, match=f"needing can't be made narrower: {name}"):
        scaled(model, 0.5, seed=0)
    assert costs.macs(scaled(model, 1, seed=0)) == costs.macs(model)


@keras.saving.register_keras_serializable("test_scaling")
class Swish(layers.Layer):
    def call(self, x):
        return x * keras.ops.sigmoid(x)


@pytest.mark.parametrize(
    ("layer", "width"),
    [
        (lambda x: layers.LayerNormalization()(x), 5),
        (lambda x: layers.GroupNormalization(4)(x), 4),  # one of two in each group
        (lambda x: layers.GroupNormalization(-1)(x), 5),
        (lambda x: Swish()(x), 5),
        (lambda x: keras.ops.relu(x), 5),
    ],
)
def test_layers_of_any_width_are_built_anew(layer, width):
    images = keras.Input((8, 8, 2))
    model = drawn(images, layer(layers.Conv2D(8, 3, name="first")(images)), "any")
    assert widths(scaled(model, 0.6, seed=0)) == {"first": width, "logits": 3}


def test_scaled_models_train_and_load_and_keep_their_precision(tmp_path):
    with dtype_policy("mixed_bfloat16"):
        model = gated()
    small = scaling.scaled_to(model, costs.macs(model) // 2, seed=0)
    assert {layer.dtype_policy.name for layer in small.layers[1:]} == {"mixed_bfloat16"}
    check_trains_and_loads(small, tmp_path)


def test_a_network_of_the_users_own_convolutions_alone_is_refused():
    """Of their classes it is not known that filters are channels."""

    class Standardized(layers.Conv2D):
        pass

    images = keras.Input((8, 8, 2))
    x = Standardized(3, 3)(images)
    model = keras.Model(images, layers.GlobalAveragePooling2D()(x), name="own")
    with pytest.raises(InputError, match="own has no convolution or dense layer of Keras"):
        scaling.scaled_to(model, 10, seed=0)
