import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.network import convolutions
from tests.toys import dtype_policy


def network(height, width, **arguments):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((height, width, 3))
    layer = keras.layers.Conv2D(5, (3, 2), **{"padding": "same"} | arguments)
    return keras.Model(inputs, layer(inputs))


def gradients(model, images):
    images = tf.constant(images)

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(tf.sin(model(images, training=True)))
        return loss, *tape.gradient(loss, [images, *model.trainable_variables])

    return [tensor.numpy() for tensor in compute()]


def is_replaced(model):
    return "convolution_op" in vars(model.layers[-1])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (4, 4), (3, 5)])
def test_small_maps_have_the_gradients_tensorflow_computes(sides):
    plain, fast = network(*sides), network(*sides)
    convolutions.speed_up(fast)
    assert is_replaced(fast)
    images = np.random.default_rng(0).normal(size=(7, *sides, 3))
    for expected, found in zip(gradients(plain, images), gradients(fast, images), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("sides", "arguments"),
    [
        ((8, 8), {}),
        ((None, None), {}),
        ((4, 4), {"strides": 2}),
        ((4, 4), {"padding": "valid"}),
        ((4, 4), {"dilation_rate": 2}),
    ],
)
def test_others_stay_as_they_are(sides, arguments):
    model = network(*sides, **arguments)
    convolutions.speed_up(model)
    assert not is_replaced(model)


def test_gpus_have_their_own(monkeypatch):
    model = network(2, 2)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    convolutions.speed_up(model)
    assert not is_replaced(model)


def test_what_is_saved_is_a_plain_layer(tmp_path):
    model = network(2, 2)
    convolutions.speed_up(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is keras.layers.Conv2D
    assert not is_replaced(loaded)
    copy = keras.models.clone_model(model)
    assert not is_replaced(copy)


def test_half_precision_keeps_a_float32_kernel(tmp_path):
    with dtype_policy("mixed_bfloat16"):
        model = network(2, 2)
    convolutions.speed_up(model)
    images = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype(np.float32)
    _, _, kernel, _ = gradients(model, images)
    assert kernel.dtype == np.float32
    assert np.abs(kernel).max() > 0
