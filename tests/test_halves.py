"""The halves of blocks, with multiply-accumulates per pixel worked out by hand."""

import dataclasses

import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import blocks, surgery
from deep_net_triage.network.descriptions import Shape
from deep_net_triage.network.halves import halves


def conv(name, filters=4, size=3, **settings):
    return keras.layers.Conv2D(filters, size, padding="same", name=name, **settings)


def chain(*layers, channels=3):
    x = images = keras.Input((16, 16, channels))
    for layer in layers:
        x = layer(x)
    return keras.Model(images, x)


def halves_of_only_block(model):
    (block,) = blocks.find_blocks(model)
    return halves(model, block)


def residual():
    """A stem, a stage of one unit and a stage of three, the first of them with a stride."""
    x = images = keras.Input((16, 16, 3))
    x = keras.layers.ReLU(name="stem_relu")(conv("stem")(x))
    for unit, filters in (("a1", 4), ("b1", 8), ("b2", 8), ("b3", 8)):
        shortcut, strides = x, 2 if unit == "b1" else 1
        if unit == "b1":
            shortcut = conv("b1_shortcut", 8, 1, strides=2)(x)
        x = conv(f"{unit}_conv1", filters, strides=strides)(x)
        x = keras.layers.ReLU(name=f"{unit}_relu1")(x)
        x = conv(f"{unit}_conv2", filters)(x)
        x = keras.layers.Add(name=f"{unit}_add")([x, shortcut])
        x = keras.layers.ReLU(name=f"{unit}_relu2")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(images, keras.layers.Dense(3, name="logits")(x), name="residual")


def test_a_residual_stage_is_divided_between_units_near_the_middle():
    model = residual()
    stem_and_a, b = blocks.find_blocks(model)
    first, last = halves(model, b)
    # 32 + 288 + 576 for b1 and 1152 each for b2 and b3: 896 or 2048 of 3200 come first.
    assert (first.name, last.name) == ("block2_first", "block2_last")
    assert (first.after, first.layers[-1], first.shape) == (
        "a1_relu2",
        "b2_relu2",
        Shape(8, (2, 2), "same"),
    )
    assert set(first.convolutions) == {
        "b1_shortcut",
        "b1_conv1",
        "b1_conv2",
        "b2_conv1",
        "b2_conv2",
    }
    assert last.after == "b2_relu2"
    assert last.layers == ("b3_conv1", "b3_relu1", "b3_conv2", "b3_add", "b3_relu2")
    assert (last.shape, last.activation) == (Shape(8, (1, 1), "same"), "b3_relu2")
    # The stem alone is one convolution.
    (only,) = halves(model, stem_and_a)
    assert (only.name, only.convolutions) == ("block1_last", ("a1_conv1", "a1_conv2"))


def test_a_chain_is_divided_near_the_middle():
    names = [f"c{n}" for n in range(1, 7)]
    layers = [conv(name, 16 if name == "c6" else 4) for name in names]
    model = chain(*layers, keras.layers.MaxPooling2D(name="pool"))
    first, last = halves_of_only_block(model)
    # 108, 144, 144, 144, 144 and 576: of 1260, 396 or 540 come first.
    assert (first.layers, first.pool) == (("c1", "c2", "c3", "c4"), None)
    assert (last.layers, last.pool) == (("c5", "c6"), "pool")


def test_of_three_convolutions_two_are_a_half_and_of_two_none():
    # 108, 144 and 144: 252 of 396 are closer to a half than 108.
    (only,) = halves_of_only_block(chain(conv("a"), conv("b"), conv("c")))
    assert (only.name, only.layers) == ("block1_first", ("a", "b"))
    assert halves_of_only_block(chain(conv("a"), conv("b"))) == ()


def test_an_inverted_bottleneck_is_not_divided_where_it_is_wide():
    layers = [conv("stem")]
    for unit in "abcd":
        layers += [
            conv(f"{unit}_widen", 8, 1),
            keras.layers.ReLU(6.0, name=f"{unit}_relu"),
            keras.layers.DepthwiseConv2D(3, padding="same", name=f"{unit}_depthwise"),
            conv(f"{unit}_project", 4, 1),
        ]
    first, last = halves_of_only_block(chain(*layers, channels=1))
    # Behind b_depthwise it would be 276 of 580, closer to a half than the 308 here.
    assert (first.layers[-1], last.layers[0]) == ("b_project", "c_widen")


def test_a_half_whose_replacement_saves_nothing_is_left_out():
    layers = []
    for n in (1, 2):
        layers += [
            keras.layers.DepthwiseConv2D(3, padding="same", name=f"depthwise{n}"),
            conv(f"pointwise{n}", 16, 1),
        ]
    # One 3x3 convolution of 16 channels costs 2304, each half 144 + 256.
    assert halves_of_only_block(chain(*layers, channels=16)) == ()


def test_a_padding_stays_in_front_of_its_convolution():
    valid = keras.layers.Conv2D(4, 3, name="c")
    pad = keras.layers.ZeroPadding2D(1, name="pad")
    first, last = halves_of_only_block(chain(conv("a"), conv("b"), pad, valid, conv("d")))
    assert (first.layers, last.layers) == (("a", "b"), ("pad", "c", "d"))
    assert last.shape == Shape(4, (1, 1), "same")


def test_a_block_inside_a_residual_unit_has_halves():
    x = images = keras.Input((16, 16, 4))
    for name in "abcd":
        x = conv(name)(x)
    x = keras.layers.Add(name="add")([x, images])
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    first, last = halves(model, blocks.named(model, "a", "d"))
    assert (first.name, first.layers) == ("a-d_first", ("a", "b"))
    assert (last.name, last.layers) == ("a-d_last", ("c", "d"))


def test_names_of_layers_are_not_used():
    model = chain(conv("a"), conv("b"), conv("block1_first"), conv("d"))
    first, last = halves_of_only_block(model)
    assert (first.name, last.name) == ("block1_first2", "block1_last")


def test_names_of_blocks_that_are_named_by_their_layers_are_not_used():
    model = chain(conv("a"), conv("b"), conv("c"), conv("d"), conv("d_first"))
    (first, _) = halves(model, blocks.named(model, "a", "d"))
    # The block from a to d_first would have the name without the number.
    assert first.name == "a-d_first2"


def test_halves_are_replaced_one_after_another_and_behind_another_block():
    model = residual()
    first_block, b = blocks.find_blocks(model)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    network = surgery.compress(model, first_block, initializer="mean", seed=0)
    b = dataclasses.replace(b, after=first_block.compressed_layers[-1])
    first, last = halves(network, b)
    assert first.after == "block1_compressed_activation"
    kept = surgery.compress(network, first, initializer="mean", seed=0)
    assert kept.get_layer("b3_conv1").kernel.shape == (3, 3, 8, 8)
    last = dataclasses.replace(last, after=first.compressed_layers[-1])
    both = surgery.compress(kept, last, initializer="mean", seed=0)
    assert [layer.name for layer in both.layers if isinstance(layer, keras.layers.Conv2D)] == [
        "block1_compressed_conv",
        "block2_first_compressed_conv",
        "block2_last_compressed_conv",
    ]
    assert both(images).shape == (2, 3)


def test_a_block_of_another_model_is_refused():
    (block,) = blocks.find_blocks(chain(conv("a"), conv("b"), conv("c")))
    with pytest.raises(InputError, match="block1 is not a block of"):
        halves(residual(), block)
