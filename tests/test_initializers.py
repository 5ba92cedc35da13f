import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import initializers
from deep_net_triage.network.blocks import find_blocks, named


def mean_of(model, block, kernel_shape, over):
    layers = block.convolutions_in(model), block.batchnorms_in(model)
    return initializers.mean(*layers, kernel_shape, over)


@pytest.fixture
def by_hand():
    """Two convolutions, 1 -> 2 -> 2 channels, whose slices are multiples of one filter."""
    x = inputs = keras.Input((4, 4, 1))
    for n in (1, 2):
        x = keras.layers.Conv2D(2, 3, padding="same", name=f"conv{n}")(x)
        x = keras.layers.BatchNormalization(name=f"bn{n}")(x)
    model = keras.Model(inputs, keras.layers.MaxPooling2D()(x))
    filter_ = np.arange(9.0).reshape(3, 3, 1, 1)
    # conv1: slices of 1 and 2 times the filter; conv2, [input, output]: 3, 4 and 5, 12 times.
    model.get_layer("conv1").set_weights([filter_ * [[1.0, 2.0]], np.array([10.0, 20.0])])
    model.get_layer("conv2").set_weights(
        [filter_ * [[3.0, 4.0], [5.0, 12.0]], np.array([30.0, 60.0])]
    )
    # gamma, beta, moving mean, moving variance of each channel.
    model.get_layer("bn1").set_weights([np.array(v) for v in ([1, 2], [3, 5], [7, 9], [1, 3])])
    model.get_layer("bn2").set_weights([np.array(v) for v in ([5, 8], [0, 4], [1, 3], [5, 7])])
    return model, filter_


def test_mean_over_block_by_hand(by_hand):
    model, filter_ = by_hand
    (block,) = find_blocks(model)
    found = mean_of(model, block, (3, 3, 1, 2), "block")
    # (1 + 2 + 3 + 4 + 5 + 12) / 6 slices = 4.5, not the mean of the layers' means 1.5 and 6.
    np.testing.assert_allclose(found.kernels[0], filter_ * [[4.5, 4.5]])
    np.testing.assert_allclose(found.bias, [30, 30])
    np.testing.assert_allclose(found.gamma, [4, 4])
    np.testing.assert_allclose(found.beta, [3, 3])
    np.testing.assert_allclose(found.moving_mean, [5, 5])
    np.testing.assert_allclose(found.moving_variance, [4, 4])


def test_mean_over_channel_by_hand(by_hand):
    model, filter_ = by_hand
    (block,) = find_blocks(model)
    found = mean_of(model, block, (3, 3, 1, 2), "channel")
    # Channel 1: mean of 1 and (3 + 5) / 2; channel 2: mean of 2 and (4 + 12) / 2.
    np.testing.assert_allclose(found.kernels[0], filter_ * [[2.5, 5.0]])
    np.testing.assert_allclose(found.bias, [20, 40])
    np.testing.assert_allclose(found.gamma, [3, 5])
    np.testing.assert_allclose(found.beta, [1.5, 4.5])
    np.testing.assert_allclose(found.moving_mean, [4, 6])
    np.testing.assert_allclose(found.moving_variance, [3, 5])


def test_glorot_uniform_fills_its_range_about_zero():
    found = initializers.glorot_uniform([(3, 3, 20, 30)], seed=0)
    limit = np.sqrt(6 / (9 * 20 + 9 * 30))
    assert np.abs(found.kernels[0]).max() <= limit
    assert np.abs(found.kernels[0]).max() > 0.99 * limit
    assert abs(found.kernels[0].mean()) < 0.02 * limit
    # The standard deviation of a uniform distribution over (-limit, limit).
    np.testing.assert_allclose(found.kernels[0].std(), limit / np.sqrt(3), rtol=0.02)
    for vector, value in (("bias", 0), ("gamma", 1), ("beta", 0), ("moving_mean", 0),
                          ("moving_variance", 1)):  # fmt: skip
        np.testing.assert_array_equal(getattr(found, vector), np.full(30, value))


def test_glorot_uniform_repeats_by_seed():
    first, again, other = (
        initializers.glorot_uniform([(3, 3, 2, 2)], s).kernels[0] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("over", ["block", "channel"])
def test_what_layers_do_not_have_counts_as_untrained(over):
    x = inputs = keras.Input((4, 4, 1))
    for n in (1, 2):
        x = keras.layers.Conv2D(2, 3, padding="same", use_bias=n == 2, name=f"conv{n}")(x)
        x = keras.layers.BatchNormalization(scale=n == 1, center=n == 2, name=f"bn{n}")(x)
    model = keras.Model(inputs, keras.layers.MaxPooling2D()(x))
    model.get_layer("conv2").set_weights([np.ones((3, 3, 2, 2)), np.array([4.0, 4.0])])
    model.get_layer("bn1").gamma.assign([3.0, 3.0])
    model.get_layer("bn2").beta.assign([6.0, 6.0])
    (block,) = find_blocks(model)
    found = mean_of(model, block, (3, 3, 1, 2), over)
    # Biases 0 and 4, gammas 3 and 1, betas 0 and 6.
    for vector, value in (("bias", 2), ("gamma", 2), ("beta", 3)):
        np.testing.assert_allclose(getattr(found, vector), [value, value])


def test_means_of_a_network_in_16_bits_are_not_summed_in_16_bits():
    """In bfloat16, 256 + 1 is 256: a sum of 2 x 300 ones would end there."""
    x = inputs = keras.Input((4, 4, 1))
    for _ in range(2):
        x = keras.layers.Conv2D(300, 3, padding="same", dtype="bfloat16")(x)
        x = keras.layers.BatchNormalization(dtype="bfloat16")(x)
    model = keras.Model(inputs, keras.layers.MaxPooling2D()(x))
    for layer in find_blocks(model)[0].convolutions_in(model):
        layer.kernel.assign(np.ones(layer.kernel.shape))
    found = mean_of(model, find_blocks(model)[0], (3, 3, 1, 300), "block")
    np.testing.assert_array_equal(found.gamma, 1)
    np.testing.assert_array_equal(found.moving_variance, 1)
    np.testing.assert_array_equal(found.kernels[0], 1)


@pytest.mark.parametrize("over", ["block", "channel"])
def test_without_batchnorm_the_new_one_starts_untrained(over):
    x = inputs = keras.Input((4, 4, 1))
    for _ in range(2):
        x = keras.layers.Conv2D(2, 3, padding="same")(x)
    model = keras.Model(inputs, keras.layers.MaxPooling2D()(x))
    (block,) = find_blocks(model)
    found = mean_of(model, block, (3, 3, 1, 2), over)
    vectors = (found.gamma, found.beta, found.moving_mean, found.moving_variance)
    assert [vector.tolist() for vector in vectors] == [[1, 1], [0, 0], [0, 0], [1, 1]]


def test_channels_of_layers_of_different_width_can_not_be_averaged():
    x = inputs = keras.Input((4, 4, 1))
    for filters in (2, 3):
        x = keras.layers.Conv2D(filters, 3, padding="same")(x)
    model = keras.Model(inputs, keras.layers.MaxPooling2D()(x))
    (block,) = find_blocks(model)
    with pytest.raises(
        InputError, match="in all layers of a block; conv2d.* to conv2d.* have 2, 3; use --mean"
    ):
        mean_of(model, block, (3, 3, 1, 3), "channel")


def test_channels_of_a_batch_norm_before_the_convolution_are_checked_as_well():
    x = inputs = keras.Input((4, 4, 2))
    for _ in range(2):
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.Conv2D(3, 3, padding="same")(x)
    model = keras.Model(inputs, keras.layers.MaxPooling2D()(x))
    block = named(model, model.layers[1].name, model.layers[-2].name)
    with pytest.raises(InputError, match="in all layers of a block; .* have 3, 2; use --mean"):
        mean_of(model, block, (3, 3, 2, 3), "channel")


def test_kernels_of_other_sizes_and_depthwise_ones():
    x = inputs = keras.Input((8, 8, 2))
    x = keras.layers.DepthwiseConv2D(5, padding="same", use_bias=False, name="depthwise")(x)
    x = keras.layers.Conv2D(3, 1, name="pointwise")(x)
    x = keras.layers.SeparableConv2D(3, (3, 1), padding="same", name="separable")(x)
    model = keras.Model(inputs, x)
    (block,) = find_blocks(model)
    wide = np.arange(50.0).reshape(5, 5, 2, 1)
    point = np.arange(6.0).reshape(1, 1, 2, 3)
    tall = np.arange(9.0).reshape(3, 1, 3, 1)
    mixing = np.ones((1, 1, 3, 3))
    model.get_layer("depthwise").set_weights([wide])
    model.get_layer("pointwise").set_weights([point, np.array([1.0, 2.0, 3.0])])
    model.get_layer("separable").set_weights([tall, mixing, np.array([4.0, 5.0, 6.0])])
    found = mean_of(model, block, (3, 3, 2, 3), "block")
    # Two slices of 5x5 cropped, six and nine of 1x1 at the centre, three of 3x1 in the middle.
    expected = wide[1:4, 1:4, :, 0].sum(axis=-1)
    expected[1, 1] += point.sum() + mixing.sum()
    expected[:, 1] += tall[:, 0, :, 0].sum(axis=-1)
    np.testing.assert_allclose(found.kernels[0][:, :, 0, 0], expected / (2 + 6 + 9 + 3))
    assert np.ptp(found.kernels[0], axis=(2, 3)).max() == 0
    # The depthwise layer has none, which counts as two zeros.
    np.testing.assert_allclose(found.bias, (0 + 0 + 6 + 15) / 8)
    with pytest.raises(InputError, match="depthwise to separable have 2, 3; use"):
        mean_of(model, block, (3, 3, 2, 3), "channel")
