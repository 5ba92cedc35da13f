import keras
import numpy as np
import pytest

from deep_net_triage import blocks, surgery
from deep_net_triage.errors import InputError


def before(model, block):
    """From images to what a block receives."""
    return surgery.cut(model, model.inputs[0], block.received_by(model))


def test_vgg16_has_five_blocks(vgg):
    found = blocks.find_blocks(vgg)
    assert [block.name for block in found] == [f"block{b}" for b in range(1, 6)]
    assert [len(block.convolutions) for block in found] == [2, 2, 3, 3, 3]
    assert found[0].received_by(vgg) is vgg.get_layer("normalize").output
    assert found[1].received_by(vgg) is vgg.get_layer("block1_pool").output
    third = found[2]
    assert third.layers == tuple(
        f"block3_{kind}{n}" for n in (1, 2, 3) for kind in ("conv", "bn", "relu")
    )
    assert third.batchnorms == ("block3_bn1", "block3_bn2", "block3_bn3")
    assert third.pool == "block3_pool"
    assert third.filters == round(256 * 0.02)
    assert third.received_by(vgg).shape == (None, 8, 8, round(128 * 0.02))
    assert third.returned_by(vgg).shape == (None, 4, 4, third.filters)


def test_select_by_number_and_name(vgg):
    found = blocks.find_blocks(vgg)
    assert blocks.select(found, None) == found
    chosen = blocks.select(found, ("block4", "2", "4"))
    assert [block.name for block in chosen] == ["block2", "block4"]
    for wrong in ("6", "0", "block9", "conv"):
        with pytest.raises(InputError, match=f"--block={wrong} is no block; allowed: 1 to 5"):
            blocks.select(found, (wrong,))


def test_the_largest_is_the_first_with_most_convolutions(vgg):
    assert blocks.largest(blocks.find_blocks(vgg)).name == "block3"


def chain(*layers):
    x = inputs = keras.Input((16, 16, 3))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def conv(**settings):
    return keras.layers.Conv2D(4, 3, padding="same", **settings)


def test_one_convolution_is_no_block():
    model = chain(conv(), keras.layers.MaxPooling2D(), conv(), conv(), keras.layers.Flatten())
    with pytest.raises(InputError, match="no block found"):
        blocks.find_blocks(model)


def test_a_run_that_something_else_reads_is_no_block():
    x = inputs = keras.Input((16, 16, 3))
    x = conv()(x)
    shortcut = x = keras.layers.ReLU()(x)
    x = keras.layers.Add()([conv()(x), shortcut])
    x = keras.layers.MaxPooling2D()(x)
    # Only this one can be cut out: nothing but the pooling reads what is inside it.
    x = keras.layers.MaxPooling2D(name="last")(conv(name="b")(conv(name="a")(x)))
    found = blocks.find_blocks(keras.Model(inputs, x))
    assert [block.layers for block in found] == [("a", "b")]
    assert found[0].pool == "last"


def test_kinds_without_batchnorm_and_average_pooling():
    model = chain(
        conv(name="a"),
        keras.layers.Activation("relu"),
        conv(name="b", activation="relu"),
        keras.layers.AveragePooling2D(2, name="mean"),
    )
    (block,) = blocks.find_blocks(model)
    assert block.convolutions == ("a", "b")
    assert block.batchnorms == ()
    assert block.pool == "mean"


@pytest.mark.parametrize(
    "settings",
    [
        {"strides": 2},
        {"padding": "valid"},
        {"dilation_rate": 2},
        {"groups": 2},
        {"kernel_size": 5},
    ],
)
def test_what_one_convolution_could_not_replace_is_no_block(settings):
    def other():
        return keras.layers.Conv2D(
            **{"filters": 4, "kernel_size": 3, "padding": "same"} | settings
        )

    model = chain(conv(), other(), other(), keras.layers.MaxPooling2D())
    with pytest.raises(InputError, match="no block found"):
        blocks.find_blocks(model)


def test_a_model_inside_the_model_is_not_looked_into():
    inner = chain(conv(), conv(), keras.layers.MaxPooling2D())
    x = inputs = keras.Input((16, 16, 3))
    x = conv(name="b")(conv(name="a")(inner(x)))
    parent = keras.Model(inputs, keras.layers.MaxPooling2D()(x))
    (block,) = blocks.find_blocks(parent)
    assert block.convolutions == ("a", "b")
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
    images = np.ones((2, 16, 16, 3), np.float32)
    received = [before(model, block)(images, training=False) for model in (parent, student)]
    np.testing.assert_array_equal(*received)
