import keras
import pytest
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


class Inner(keras.layers.Layer):
    """A user's layer with a convolution inside."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.convolution = keras.layers.Conv2D(3, 3, padding="same")

    def build(self, shape):
        self.convolution.build(shape)

    def call(self, inputs):
        return self.convolution(inputs)


class Scale(keras.layers.Layer):
    """A user's layer with a factor for each channel."""

    def build(self, shape):
        self.factors = self.add_weight(shape=(1, 1, 1, shape[-1]))

    def call(self, inputs):
        return inputs * self.factors


def around(layer, shape):
    x = inputs = keras.Input(shape)
    return keras.Model(inputs, layer(x))


def attention(query, value, *, name="attention", **settings):
    layer = keras.layers.MultiHeadAttention(2, 5, value_dim=3, name=name, **settings)
    return layer(query, value)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        # 8 x 6 positions of 3x3x3x5.
        (
            lambda x: keras.layers.SpectralNormalization(
                keras.layers.Conv2D(5, 3, padding="same")
            )(x),
            48 * 135,
        ),
        # Each of 8 rows of 6 positions: 2 of them by a kernel of 3x3 and stride 2.
        (lambda x: keras.layers.TimeDistributed(keras.layers.Conv1D(3, 3, 2))(x), 8 * 2 * 27),
        (
            lambda x: keras.layers.TimeDistributed(
                keras.layers.SpectralNormalization(keras.layers.Dense(7))
            )(x),
            8 * 6 * 3 * 7,
        ),
        (lambda x: keras.layers.Conv3D(2, (3, 2, 1))(x[..., None]), 6 * 5 * 3 * 3 * 2 * 2),
        (lambda x: keras.layers.Conv3DTranspose(2, 2)(x[..., None]), 8 * 6 * 3 * 8 * 2),
        (lambda x: keras.layers.Conv1D(4, 3)(x[:, 0]), 4 * 3 * 3 * 4),
        (lambda x: keras.layers.Conv1DTranspose(4, 3)(x[:, 0]), 6 * 3 * 3 * 4),
        (lambda x: keras.layers.DepthwiseConv1D(3)(x[:, 0]), 4 * 3 * 3),
        (lambda x: keras.layers.SeparableConv1D(5, 3)(x[:, 0]), 4 * (3 * 3 + 3 * 5)),
        (
            lambda x: keras.layers.EinsumDense("...c,cd->...d", output_shape=5)(x),
            48 * 3 * 5,
        ),
        # Every position of a column is mixed with the others, for each of 6 x 3.
        (
            lambda x: keras.layers.EinsumDense("bhwc,hk->bkwc", output_shape=(4, 6, 3))(x),
            8 * 4 * 6 * 3,
        ),
        # 48 queries and keys of 3 channels, 2 heads of 5 and 3: three projections, the products
        # with keys and with values, and the projection back to 3 channels.
        (
            lambda x: attention(x, x),
            48 * 3 * 2 * (5 + 5 + 3) + 48 * 48 * 2 * (5 + 3) + 48 * 2 * 3 * 3,
        ),
        # 8 queries, 6 keys.
        (
            lambda x: attention(x[:, :, 0], x[:, 0]),
            8 * 3 * 10 + 6 * 3 * 16 + 8 * 6 * 2 * 8 + 8 * 6 * 3,
        ),
    ],
)
def test_wrapped_and_rarer_layers_by_hand(build, expected):
    model = around(build, (8, 6, 3))
    assert costs.macs(model) == expected
    assert costs.uncounted(model) == ()


def test_attention_with_a_mask_that_the_network_computes_is_not_counted():
    """The mask is among the tensors that the layer receives; a key is one that counts."""
    tokens = keras.Input((4, 6))
    seen = keras.layers.Dense(4, name="mask")(tokens) > 0

    def macs(*given, **named):
        attention = keras.layers.MultiHeadAttention(2, 5, name="attention")
        model = keras.Model(tokens, attention(*given, **named))
        return costs.macs(model), costs.uncounted(model)

    counted = 4 * 6 * 10 * 4 + 4 * 4 * 2 * 10
    assert macs(tokens, tokens, tokens) == macs(tokens, tokens) == (counted, ())
    for arguments in ((tokens, tokens), (tokens, tokens, tokens)):
        assert macs(*arguments, attention_mask=seen)[1] == ("attention",)


def test_what_is_not_counted_is_named_in_the_order_of_the_model():
    x = inputs = keras.Input((8, 6, 3))
    x = keras.layers.Normalization(mean=0.0, variance=1.0)(x)
    x = Scale(name="scale")(Inner(name="own")(x))
    x = keras.layers.PReLU()(keras.layers.GroupNormalization(3)(x))
    x = keras.ops.einsum("bhwc,bhwd->bhwd", x, x)
    x = attention(x, x, name="by_rows", attention_axes=(2,))
    x = keras.layers.BatchNormalization()(keras.layers.LayerNormalization()(x))
    x = keras.layers.Dense(4)(keras.layers.LSTM(4, name="recurrent")(x[:, 0]))
    model = keras.Model(inputs, x)
    assert costs.uncounted(model) == ("own", "einsum", "by_rows", "recurrent")
    assert costs.macs(model) == 4 * 4  # the dense layer


def test_a_plain_network_leaves_nothing_uncounted(vgg):
    assert costs.uncounted(vgg) == ()


@pytest.mark.parametrize(
    "product",
    [
        lambda x: x @ keras.ops.ones((3, 2)),
        lambda x: keras.ops.dot(x, keras.ops.ones((3, 2))),
        lambda x: keras.ops.tensordot(x, x, axes=0),
        lambda x: keras.ops.conv(x, keras.ops.ones((1, 1, 3, 2))),
        lambda x: keras.ops.conv_transpose(x, keras.ops.ones((2, 2, 2, 3)), 2),
        lambda x: keras.ops.depthwise_conv(x, keras.ops.ones((1, 1, 3, 2))),
        lambda x: keras.ops.separable_conv(
            x, keras.ops.ones((1, 1, 3, 1)), keras.ops.ones((1, 1, 3, 2))
        ),
        lambda x: keras.ops.dot_product_attention(x, x, x),
        lambda x: keras.layers.Dot(axes=(3, 3))([x, x]),
        lambda x: keras.layers.Attention()([x[:, 0], x[:, 0]]),
    ],
)
def test_products_of_tensors_are_named_by_the_class_that_keras_gives_them(product):
    """The classes behind `keras.ops` are Keras 3.15's own; another name shows here."""
    model = around(product, (8, 6, 3))
    assert costs.uncounted(model) == (model.operations[-1].name,)
