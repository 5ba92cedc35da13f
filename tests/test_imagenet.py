import keras
import numpy as np
import pytest
from keras.applications.vgg16 import preprocess_input

from deep_net_triage.errors import InputError
from deep_net_triage.network import imagenet, vgg16


@pytest.fixture(scope="module")
def source():
    """Keras's own VGG16 with random weights and biases."""
    keras.utils.set_random_seed(0)
    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3))
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, generator.normal(0, 0.5, bias.shape)])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


def parent_for(mean, deviation, image_size=64, width=1.0):
    return vgg16.VGG16(
        input_shape=(image_size, image_size, 3),
        classes=3,
        image_size=image_size,
        mean=mean,
        deviation=deviation,
        width=width,
    ).build()


def activations(model, layer, images):
    return keras.Model(model.input, model.get_layer(layer).output).predict(images, verbose=0)


def test_interior_equals_keras_vgg16_behind_its_own_preprocessing(source, images):
    parent = parent_for(mean=[100.0, 110.0, 130.0], deviation=[50.0, 60.0, 70.0])
    imagenet.transplant(source, parent, images)
    preprocessed = preprocess_input(images.astype("float32"))
    # How far the border, where zero stands for another colour, has come at each layer.
    for layer, border in (("block1_conv1", 1), ("block1_conv2", 2), ("block2_conv2", 3),
                          ("block3_conv3", 5)):  # fmt: skip
        expected = activations(source, layer, preprocessed)
        found = activations(parent, layer.replace("conv", "relu"), images)
        inside = slice(border, -border)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            found[:, inside, inside], expected[:, inside, inside], atol=1e-4 * scale
        )
        assert np.abs(found - expected).max() > 1e-2 * scale  # the border does differ


def test_with_keras_own_means_everything_is_equal(source, images):
    parent = parent_for(mean=[123.68, 116.779, 103.939], deviation=[50.0, 60.0, 70.0])
    imagenet.transplant(source, parent, images)
    expected = activations(source, "block5_pool", preprocess_input(images.astype("float32")))
    found = activations(parent, "block5_pool", images)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_batchnorm_holds_the_statistics_of_what_it_receives(source, images):
    parent = parent_for(mean=[100.0, 110.0, 130.0], deviation=[50.0, 60.0, 70.0])
    imagenet.transplant(source, parent, images)
    for b, n in ((1, 1), (3, 2), (5, 3)):
        received = activations(parent, f"block{b}_conv{n}", images).astype(float)
        gamma, beta, mean, variance = parent.get_layer(f"block{b}_bn{n}").get_weights()
        np.testing.assert_allclose(mean, received.mean((0, 1, 2)), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(variance, received.var((0, 1, 2)), rtol=1e-3)
        np.testing.assert_allclose(gamma, np.sqrt(variance + 1e-3), rtol=1e-6)
        np.testing.assert_array_equal(beta, mean)


def narrow_source(with_dense):
    """A VGG16 of 1 to 5 filters with Keras's layer names."""
    x = inputs = keras.Input((32, 32, 3))
    for b, (n, filters) in enumerate(zip((2, 2, 3, 3, 3), (1, 1, 3, 5, 5), strict=True), 1):
        for i in range(1, n + 1):
            name = f"block{b}_conv{i}"
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)
        x = keras.layers.MaxPooling2D(name=f"block{b}_pool")(x)
    if with_dense:
        x = keras.layers.Flatten()(x)
        x = keras.layers.Dense(41, activation="relu", name="fc1")(x)
        x = keras.layers.Dense(41, activation="relu", name="fc2")(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("with_dense", [False, True])
def test_dense_layers_are_copied_where_both_fit(with_dense):
    small = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    parent = parent_for([100.0] * 3, [60.0] * 3, image_size=32, width=0.01)
    before = parent.get_layer("fc2").get_weights()[0]
    predictions = parent.get_layer("predictions").get_weights()[0]
    origin = narrow_source(with_dense)
    imagenet.transplant(origin, parent, small)
    for name in ("fc1", "fc2") if with_dense else ():
        expected = origin.get_layer(name).get_weights()[0]
        np.testing.assert_array_equal(parent.get_layer(name).get_weights()[0], expected)
    assert np.array_equal(parent.get_layer("fc2").get_weights()[0], before) != with_dense
    np.testing.assert_array_equal(parent.get_layer("predictions").get_weights()[0], predictions)


def test_weights_file(source, tmp_path):
    source.save_weights(tmp_path / "notop.weights.h5")
    loaded = imagenet.load_source(str(tmp_path / "notop.weights.h5"), image_size=64)
    for name in ("block1_conv1", "block5_conv3"):
        expected = source.get_layer(name).get_weights()
        for was, now in zip(expected, loaded.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(was, now)


def test_file_of_something_else_is_refused(tmp_path):
    file = tmp_path / "other.h5"
    file.write_bytes(b"not weights at all")
    with pytest.raises(InputError, match=r"other\.h5 does not hold weights of keras"):
        imagenet.load_source(str(file), image_size=32)


def test_without_network_the_message_says_what_to_do(monkeypatch):
    def fails(**_):
        raise OSError("URL fetch failure on https://example.org")

    monkeypatch.setattr(keras.applications, "VGG16", fails)
    with pytest.raises(InputError, match=r"can't be downloaded .*--parent_weights=FILE"):
        imagenet.load_source("imagenet", image_size=32)


@pytest.mark.slow
def test_at_full_size_the_dense_layers_come_along(tmp_path):
    whole = keras.applications.VGG16(include_top=True, weights=None)
    whole.save_weights(tmp_path / "vgg16.weights.h5")
    loaded = imagenet.load_source(str(tmp_path / "vgg16.weights.h5"), image_size=224)
    parent = parent_for([123.68, 116.779, 103.939], [60.0] * 3, image_size=224)
    large = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    imagenet.transplant(loaded, parent, large)
    expected = activations(whole, "fc2", preprocess_input(large.astype("float32")))
    found = activations(parent, "fc2", large)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
