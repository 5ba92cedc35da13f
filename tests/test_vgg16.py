import keras
import numpy as np
import pytest

from deep_net_triage.network import vgg16
from tests.toys import dtype_policy


def build(input_shape=(8, 8, 1), classes=4, width=0.05, **settings):
    keras.utils.set_random_seed(3)
    return vgg16.VGG16(
        input_shape=input_shape,
        classes=classes,
        image_size=settings.pop("image_size", 32),
        mean=[5.0, 6.0, 7.0],
        deviation=[2.0, 3.0, 4.0],
        width=width,
        **settings,
    ).build()


def give_statistics(model):
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(list(generator.uniform(0.5, 1.5, (4, layer.gamma.shape[0]))))


def bilinear(images, size):
    """Half-pixel centres, clamped at the edges, one axis after the other."""
    for axis in (1, 2):
        length = images.shape[axis]
        centre = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        low = np.floor(centre).astype(int)
        high = np.minimum(low + 1, length - 1)
        weight = (centre - low).reshape([-1 if a == axis else 1 for a in range(4)])
        images = images.take(low, axis) * (1 - weight) + images.take(high, axis) * weight
    return images


def convolve(images, kernel, bias):
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return bias + sum(
        padded[:, y : y + height, x : x + width] @ kernel[y, x]
        for y in range(3)
        for x in range(3)
    )


def reference(model, images):
    """VGG16 with batch norm in NumPy, as the paper describes it."""
    weights = {
        layer.name: [w.astype(float) for w in layer.get_weights()] for layer in model.layers
    }
    x = np.repeat(images.astype(float), 3 // images.shape[-1], axis=-1)
    x = (bilinear(x, 32) - [5.0, 6.0, 7.0]) / [2.0, 3.0, 4.0]
    for b, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for n in range(1, convolutions + 1):
            x = convolve(x, *weights[f"block{b}_conv{n}"])
            gamma, beta, mean, variance = weights[f"block{b}_bn{n}"]
            x = np.maximum(gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta, 0)
        x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max(axis=(2, 4))
    x = x.reshape(len(x), -1)
    for name in ("fc1", "fc2"):
        kernel, bias = weights[name]
        x = np.maximum(x @ kernel + bias, 0)
    kernel, bias = weights["predictions"]
    return x @ kernel + bias


@pytest.mark.parametrize("input_shape", [(8, 8, 1), (32, 32, 3), (20, 44, 3), (None, None, 3)])
def test_equals_a_reference_forward_pass(input_shape):
    model = build(input_shape)
    give_statistics(model)
    side = [side or 50 for side in input_shape[:2]]
    images = np.random.default_rng(1).integers(0, 256, (3, *side, input_shape[2]), np.uint8)
    expected = reference(model, images)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=2e-3, atol=2e-3)


def test_names_filters_and_units():
    model = build(width=0.25, classes=7)
    names = [layer.name for layer in model.layers]
    for b, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for n in range(1, convolutions + 1):
            assert f"block{b}_conv{n}" in names
            assert f"block{b}_bn{n}" in names
        assert f"block{b}_conv{convolutions + 1}" not in names
        assert f"block{b}_pool" in names
    filters = [model.get_layer(f"block{b}_conv1").filters for b in range(1, 6)]
    assert filters == [16, 32, 64, 128, 128]
    assert [model.get_layer(name).units for name in ("fc1", "fc2", "predictions")] == [
        1024,
        1024,
        7,
    ]
    batchnorm = model.get_layer("block1_bn1")
    assert (batchnorm.momentum, batchnorm.epsilon) == (0.9, 1e-3)


def test_full_size_has_the_published_number_of_parameters():
    model = build((224, 224, 3), classes=1000, width=1.0, image_size=224)
    # VGG16's 138,357,544, and four numbers for each of the 4,224 normalised channels.
    assert model.count_params() == 138_357_544 + 4 * 4224


def test_dropout_stands_behind_both_dense_layers_only_if_asked():
    assert not [layer for layer in build().layers if isinstance(layer, keras.layers.Dropout)]
    dropouts = [layer for layer in build(dropout=0.3).layers if "dropout" in layer.name]
    assert [(layer.name, layer.rate) for layer in dropouts] == [
        ("fc1_dropout", 0.3),
        ("fc2_dropout", 0.3),
    ]


def test_calling_predicting_uint8_and_float_agree_and_change_nothing(tmp_path):
    model = build()
    give_statistics(model)
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(1).integers(0, 17, (5, 8, 8, 1), np.uint8)
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        before = each.get_weights()
        predicted = each.predict(images, verbose=0)
        np.testing.assert_allclose(each(images), predicted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            each(images.astype("float32")), predicted, rtol=1e-4, atol=1e-5
        )
        # Keras 3.15's Resizing puts what follows it into training mode unless told otherwise.
        for was, now in zip(before, each.get_weights(), strict=True):
            np.testing.assert_array_equal(was, now)


def test_half_precision_leaves_logits_and_normalisation_in_float32():
    with dtype_policy("mixed_bfloat16"):
        model = build()
    assert model.output.dtype == "float32"
    assert model.get_layer("normalize").output.dtype == "float32"
    assert model.get_layer("block1_conv1").output.dtype == "bfloat16"
