import keras
import tensorflow as tf
from tensorflow.python.profiler import model_analyzer, option_builder

from deep_net_triage.network import costs


def test_by_hand():
    inputs = keras.Input((8, 6, 3))
    x = keras.layers.Conv2D(5, 3, padding="same")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(7, (1, 3), strides=2, padding="same")(x)
    x = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    model = keras.Model(inputs, x)
    # 8x6 places of 3x3x3x5; 4x3 places of 1x3x5x7; 84 x 2.
    assert costs.macs(model) == 48 * 135 + 12 * 105 + 168
    assert costs.parameters(model) == 135 + 5 + 4 * 5 + 105 + 7 + 168 + 2


def test_against_tensorflows_profiler(vgg):
    graph = tf.function(lambda x: vgg(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 32, 32, 3))
    )
    options = option_builder.ProfileOptionBuilder(
        option_builder.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    profile = model_analyzer.profile(graph.graph, options=options.build())
    # It counts two operations a multiply-accumulate, and normalisation, biases and poolings.
    ratio = profile.total_float_ops / 2 / costs.macs(vgg)
    assert 1 < ratio < 1.1


def test_depthwise_separable_grouped_and_transposed_by_hand():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(inputs)
    x = keras.layers.Conv2D(4, 3, padding="same", groups=2)(x)
    x = keras.layers.SeparableConv2D(6, 3, padding="same")(x)
    x = keras.layers.Conv2DTranspose(2, 2, strides=2)(x)
    x = keras.layers.Dense(5)(x)
    model = keras.Model(inputs, x)
    # 16 places: 9 x 8 channels; 9 x (8 / 2) x 4; 9 x 4 and 4 x 6. Each of 16 pixels goes to
    # 2 x 2 places of 2 channels from 6; then 8 x 8 places of 2 x 5.
    expected = 16 * 72 + 16 * 144 + 16 * (36 + 24) + 16 * 2 * 2 * 2 * 6 + 64 * 10
    assert costs.macs(model) == expected
    assert costs.macs_of(model.layers) == expected
    assert costs.parameters_of(model.layers) == costs.parameters(model)
