import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import blocks, inventory, surgery
from deep_net_triage.network.descriptions import Refused, Shape


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
    assert third.shape == Shape(round(256 * 0.02), (1, 1), "same")
    assert third.received_by(vgg).shape == (None, 8, 8, round(128 * 0.02))
    assert third.returned_by(vgg).shape == (None, 4, 4, third.shape.filters)


def test_select_by_number_and_name(vgg):
    found = blocks.survey(vgg)
    assert found.select(None) == found.blocks
    chosen = found.select(("block4", "2", "4"))
    assert [block.name for block in chosen] == ["block2", "block4"]
    for wrong in ("6", "0", "block9", "conv"):
        with pytest.raises(
            InputError, match=f"--block={wrong} is not a block; allowed: 1 to 5"
        ):
            found.select((wrong,))


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
    model = chain(conv(), keras.layers.MaxPooling2D(), conv(), keras.layers.Flatten())
    with pytest.raises(InputError, match="no block found"):
        blocks.find_blocks(model)


def test_a_residual_stage_is_one_block():
    x = inputs = keras.Input((16, 16, 3))
    x = conv(name="stem")(x)
    for stage, stride in (("a", 1), ("b", 2)):
        for unit in range(2):
            strides = stride if unit == 0 else 1
            shortcut = x
            if strides > 1:
                shortcut = keras.layers.Conv2D(4, 1, strides=2, name="b_shortcut")(x)
            x = conv(name=f"{stage}{unit}_conv1", strides=strides)(x)
            x = keras.layers.ReLU(name=f"{stage}{unit}_relu1")(x)
            x = conv(name=f"{stage}{unit}_conv2")(x)
            x = keras.layers.Add(name=f"{stage}{unit}_add")([x, shortcut])
            x = keras.layers.ReLU(name=f"{stage}{unit}_relu2")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    first, second = blocks.find_blocks(model)
    # The stage without a stride begins where the network does.
    assert (first.layers[0], first.layers[-1], first.shape.strides) == (
        "stem",
        "a1_relu2",
        (1, 1),
    )
    assert (second.after, second.layers[-1]) == ("a1_relu2", "b1_relu2")
    assert second.shape == Shape(4, (2, 2), "same")
    assert second.activation == "b1_relu2"
    assert second.pool is None
    assert set(second.convolutions) == {
        "b_shortcut",
        "b0_conv1",
        "b0_conv2",
        "b1_conv1",
        "b1_conv2",
    }
    # Two of its layers receive what enters it, and it can be replaced nonetheless.
    student = surgery.compress(model, second, initializer="mean", seed=0)
    assert student.output_shape == model.output_shape
    # Inside a unit the shortcut goes around the convolutions, which can still be cut out.
    inner = blocks.named(model, "a0_conv1", "a0_conv2")
    assert inner.layers == ("a0_conv1", "a0_relu1", "a0_conv2")
    assert (inner.after, inner.name, inner.activation) == ("stem", "a0_conv1-a0_conv2", None)
    with pytest.raises(InputError, match="a0_add also receives what stem returns"):
        blocks.named(model, "a0_relu1", "a0_relu2")
    assert blocks.named(model, "a0_conv1", "a0_relu2").after == "stem"
    with pytest.raises(InputError, match="b_shortcut also receives what a1_relu2"):
        blocks.named(model, "a1_conv1", "b0_conv1")
    with pytest.raises(InputError, match="has no layer nothing"):
        blocks.named(model, "nothing", "b0_conv1")
    with pytest.raises(InputError, match="no path leads from b0_conv1 to a0_conv1"):
        blocks.named(model, "b0_conv1", "a0_conv1")
    with pytest.raises(InputError, match="fewer than two convolutions"):
        blocks.named(model, "a0_conv1", "a0_relu1")
    chosen = blocks.survey(model).select(("2", "a0_conv1:a0_conv2"))
    assert [block.name for block in chosen] == ["a0_conv1-a0_conv2", "block2"]
    # A block may be named beside another one's first layer, and share its layers nevertheless.
    stages = inventory.of_blocks(model, (first, second))
    assert not inventory.share_layers(model, stages)
    for ends in (("b0_conv1", "b0_conv2"), ("a0_conv1", "a0_conv2")):
        part = inventory.of_blocks(model, [blocks.named(model, *ends)])
        assert inventory.share_layers(model, [*stages, *part])


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
    ("ends", "activation"),
    [
        (("relu", "relu"), "left_relu"),
        (("relu", "tanh"), None),
        (("relu", None), None),
        (("prelu", "prelu"), None),  # each has weights for its own channels
    ],
)
def test_concatenated_branches_end_with_the_activation_that_all_of_them_have(ends, activation):
    """As in Inception's and SqueezeNet's modules."""
    x = images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(x)
    branches = []
    for side, end in zip(("left", "right"), ends, strict=True):
        branch = keras.layers.Conv2D(4, 3, padding="same", name=f"{side}_conv")(x)
        if end:
            named = f"{side}_{end}"
            branch = (
                keras.layers.PReLU(name=named)
                if end == "prelu"
                else keras.layers.Activation(end, name=named)
            )(branch)
        branches.append(branch)
    x = keras.layers.Concatenate(name="joined")(branches)
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    (block,) = blocks.find_blocks(keras.Model(images, x))
    assert block.layers[-1] == "joined"
    assert block.activation == activation


@pytest.mark.parametrize(
    ("last", "activation"),
    [
        ([keras.layers.BatchNormalization(name="bn"), keras.layers.ReLU(name="relu")], "relu"),
        ([keras.layers.Activation("swish", name="s"), keras.layers.BatchNormalization()], "s"),
        ([keras.layers.BatchNormalization(name="bn"), keras.layers.Dropout(0.1)], None),
    ],
)
def test_the_activation_is_the_one_that_the_block_ends_with(last, activation):
    model = chain(conv(), keras.layers.ReLU(), conv(), *last, keras.layers.Flatten())
    (block,) = blocks.find_blocks(model)
    assert block.activation == activation
    student = surgery.compress(model, block, initializer="glorot_uniform", seed=0)
    own = student.get_layer(block.compressed_layers[-1])
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 4)).astype(np.float32)
    expected = model.get_layer(activation)(images) if activation else images
    np.testing.assert_array_equal(own(images), expected)


def test_a_change_of_resolution_begins_a_block():
    model = chain(conv(name="a"), conv(name="b"), conv(name="c", strides=2), conv(name="d"))
    first, second = blocks.find_blocks(model)
    assert (first.layers, second.layers) == (("a", "b"), ("c", "d"))
    assert second.shape.strides == (2, 2)


@pytest.mark.parametrize("size", [15, 16])
def test_trimmed_edges(size):
    x = inputs = keras.Input((size, size, 3))
    x = conv(name="a")(x)
    x = keras.layers.Conv2D(4, 3, name="b")(x)
    x = keras.layers.ZeroPadding2D(1, name="pad")(keras.layers.MaxPooling2D(name="pool")(x))
    x = keras.layers.Conv2D(4, 3, strides=2, name="c")(x)
    x = keras.layers.Conv2D(5, 1, name="d")(x)
    model = keras.Model(inputs, keras.layers.Flatten()(x))
    first, second = blocks.find_blocks(model)
    assert (first.pool, first.shape) == ("pool", Shape(4, (1, 1), "valid"))
    assert second.layers == ("pad", "c", "d")
    student = surgery.compress(model, second, initializer="mean", seed=0)
    assert student.output_shape == model.output_shape


def test_what_one_convolution_can_not_make_is_refused_with_the_reason():
    valid = [keras.layers.Conv2D(4, 3, name=name) for name in "abc"]
    model = chain(*valid, keras.layers.MaxPooling2D(), conv(name="d"), conv(name="e"))
    found = blocks.survey(model)
    # Of three that trim the edge by one pixel each, no two can be one.
    assert [block.layers for block in found.blocks] == [("d", "e")]
    (refused,) = found.refused
    assert (refused.first, refused.last) == ("a", "c")
    assert (
        refused.reason
        == "it turns 16 x 16 pixels into 10 x 10, which no 3x3 convolution with stride 1 can do"
    )
    alone = chain(conv(name="a"), keras.layers.MaxPooling2D())
    with pytest.raises(InputError, match="no block found in .*; a to a: it has fewer than two"):
        blocks.find_blocks(alone)


def test_the_longest_end_of_a_run_that_fits_is_a_block():
    first = keras.layers.Conv2D(4, 3, strides=2, name="a")
    model = chain(first, keras.layers.Conv2D(4, 3, name="b"), conv(name="c"))
    found = blocks.survey(model)
    assert [block.layers for block in found.blocks] == [("b", "c")]
    assert [(refused.first, refused.last) for refused in found.refused] == [("a", "a")]


def test_an_inverted_bottleneck_is_not_cut_where_it_is_widest():
    model = chain(
        conv(name="stem"),
        keras.layers.Conv2D(4, 1, name="narrow"),
        keras.layers.Conv2D(24, 1, name="widen"),
        keras.layers.ReLU(6.0, name="relu"),
        keras.layers.DepthwiseConv2D(3, strides=2, padding="same", name="depthwise"),
        keras.layers.Conv2D(6, 1, name="project"),
    )
    first, second = blocks.find_blocks(model)
    assert first.layers == ("stem", "narrow")
    assert second.layers == ("widen", "relu", "depthwise", "project")
    assert second.activation is None


def open_sides(*steps):
    x = images = keras.Input((None, None, 3))
    for step in steps:
        x = step(x)
    x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, x)


def down_and_up(x):
    smaller = conv(strides=2, name="down")(x)
    larger = keras.layers.UpSampling2D(name="up")(conv(name="small")(smaller))
    return keras.layers.Add(name="add")([x, larger])


def test_with_open_sides_a_branch_that_scales_down_and_up_is_refused():
    model = open_sides(conv(name="a"), down_and_up, conv(name="b"), conv(name="c"))
    found = blocks.survey(model)
    assert [block.layers for block in found.blocks] == [("b", "c")]
    (refused,) = [segment for segment in found.refused if segment.first == "down"]
    assert refused.last == "add"
    # Of an odd side the branch makes an even one, which can't be added.
    assert refused.reason == "it takes maps of any size, but fails at some sizes"


def test_with_open_sides_what_scales_up_is_refused_by_its_sizes():
    def scaled(x):
        unit = keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same")(conv()(x))
        return keras.layers.Concatenate(name="joined")([conv()(unit), unit])

    model = open_sides(conv(name="a"), scaled, conv(name="b"))
    with pytest.raises(InputError, match="turns 64 x 64 pixels into 128 x 128, which no"):
        blocks.named(model, "a", "joined")


def test_with_open_sides_the_blocks_are_those_of_fixed_ones():
    pad = keras.layers.ZeroPadding2D(1, name="pad")
    steps = (conv(name="a"), conv(name="b"), pad)
    steps += (keras.layers.Conv2D(4, 3, strides=2, name="c"), conv(name="d"))
    found = blocks.find_blocks(open_sides(*steps))
    assert [block.layers for block in found] == [("a", "b"), ("pad", "c", "d")]
    assert found[1].shape == Shape(4, (2, 2), "same")


def test_convolutions_behind_a_global_pooling_are_the_head_and_no_block():
    model = chain(
        conv(name="a"),
        conv(name="b"),
        keras.layers.GlobalAveragePooling2D(keepdims=True),
        keras.layers.Conv2D(8, 1, activation="relu", name="wide"),
        keras.layers.Conv2D(8, 1, activation="relu", name="wider"),
        keras.layers.Conv2D(5, 1, name="classes"),
        keras.layers.Flatten(),
        keras.layers.Softmax(),
    )
    found = blocks.survey(model)
    assert [block.layers for block in found.blocks] == [("a", "b")]
    assert found.refused == (Refused("wide", "classes", "it belongs to the classifier's head"),)
    with pytest.raises(InputError, match="it belongs to the classifier's head"):
        blocks.named(model, "wide", "wider")


@pytest.mark.parametrize("filters", [5, 6])
def test_a_convolution_whose_filters_are_the_classes_is_the_head(filters):
    head = [keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D()]
    if filters != 5:
        head.append(keras.layers.Dense(5))
    last = keras.layers.Conv2D(filters, 1, name="last")
    model = chain(conv(name="a"), conv(name="b"), last, *head)
    (block,) = blocks.find_blocks(model)
    # With another number of filters it is a convolution like the others.
    assert block.convolutions == (("a", "b") if filters == 5 else ("a", "b", "last"))


def test_names_that_the_model_already_has_are_numbered():
    model = chain(conv(name="a"), conv(name="block1_compressed_bn"), keras.layers.Flatten())
    (block,) = blocks.find_blocks(model)
    assert block.compressed_layers == tuple(
        f"block1_compressed2_{kind}" for kind in ("conv", "bn", "activation")
    )
