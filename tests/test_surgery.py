import dataclasses

import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import costs, flattening, surgery
from deep_net_triage.network.blocks import find_blocks, named
from deep_net_triage.network.descriptions import Shape
from deep_net_triage.network.graphs import by_name
from deep_net_triage.records import models
from tests.toys import before

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 2)).astype(np.float32)


@pytest.fixture(params=[0, 1], ids=["block1", "block2"])
def block(request, parent):
    return find_blocks(parent)[request.param]


@pytest.mark.parametrize("initializer", ["glorot_uniform", "mean"])
def test_parent_is_bit_identical_and_shares_nothing(parent, block, initializer):
    before = parent.get_weights()
    student = surgery.compress(parent, block, initializer=initializer, seed=0)
    student.set_weights([weights + 1 for weights in student.get_weights()])
    for was, now in zip(before, parent.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_outside_the_block_the_student_is_the_parent(parent, block):
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
    outside = [layer.name for layer in parent.layers if layer.name not in block.layers]
    kept = [layer.name for layer in student.layers if layer.name not in block.compressed_layers]
    assert kept == outside
    for name in outside:
        expected = parent.get_layer(name).get_weights()
        for was, now in zip(expected, student.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(was, now)
    # Before it they compute the same; behind it, from the same tensor, as well.
    received = [before(model, block).predict(IMAGES, verbose=0) for model in (parent, student)]
    np.testing.assert_array_equal(*received)
    pooled = surgery.segment(parent, block).predict(received[0], verbose=0)
    behind = [
        keras.Model(block.returned_by(model), model.output) for model in (parent, student)
    ]
    np.testing.assert_array_equal(*(model.predict(pooled, verbose=0) for model in behind))


def test_one_convolution_normalisation_and_relu_stand_before_the_pooling(parent, block):
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
    names = [layer.name for layer in student.layers]
    at = names.index(block.compressed_layers[0])
    assert names[at : at + 4] == [*block.compressed_layers, block.pool]
    convolution, batchnorm, relu = (student.get_layer(name) for name in block.compressed_layers)
    assert (convolution.kernel_size, convolution.filters) == ((3, 3), block.shape.filters)
    assert batchnorm.epsilon == 1e-3
    assert isinstance(relu, keras.layers.ReLU)
    assert block.returned_by(student).shape == block.returned_by(parent).shape


@pytest.mark.parametrize("within", ["convolution", "activation"])
def test_an_activation_with_weights_within_another_layer_is_copied(within):
    slopes, own = keras.layers.PReLU(), keras.layers.Activation
    x = images = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(3, 3, padding="same")(x)
    inside = slopes if within == "convolution" else None
    x = keras.layers.Conv2D(3, 3, padding="same", activation=inside)(x)
    x = x if within == "convolution" else own(slopes)(x)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D()(x))
    model = keras.Model(images, keras.layers.Dense(2)(x))
    model(IMAGES)  # Keras builds what a layer holds at its first call
    slopes.alpha.assign(np.full(slopes.alpha.shape, 0.25))
    flat = flattening.flat(model)
    (found,) = find_blocks(flat)
    student = surgery.compress(flat, found, initializer="mean", seed=0)
    copy = student.get_layer(found.compressed_layers[-1])
    np.testing.assert_array_equal(copy.alpha, slopes.alpha)
    copy.alpha.assign(np.ones(copy.alpha.shape))
    np.testing.assert_array_equal(flat(IMAGES), model(IMAGES))


def test_pooled_output_depends_on_the_new_layer(parent, block):
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
    pooled = keras.Model(student.input, block.returned_by(student))
    before = pooled.predict(IMAGES, verbose=0)
    convolution = student.get_layer(block.compressed_layers[0])
    kernel, bias = convolution.get_weights()
    convolution.set_weights([kernel * 0, bias])
    after = pooled.predict(IMAGES, verbose=0)
    # Without its kernel the block returns the same for every image and place.
    assert before.std(axis=(0, 1, 2)).max() > 0
    assert after.std(axis=(0, 1, 2)).max() == 0


def test_parameters_and_arithmetic_fall_at_every_block_of_vgg16(vgg):
    for block in find_blocks(vgg):
        student = surgery.compress(vgg, block, initializer="mean", seed=0)
        assert costs.parameters(student) < costs.parameters(vgg)
        assert costs.macs(student) < costs.macs(vgg)


def test_seed_and_settings_reach_the_new_layers(parent, block):
    def kernel(seed):
        student = surgery.compress(
            parent, block, initializer="glorot_uniform", seed=seed, batchnorm_momentum=0.7
        )
        assert student.get_layer(block.compressed_layers[1]).momentum == 0.7
        return student.get_layer(block.compressed_layers[0]).get_weights()[0]

    np.testing.assert_array_equal(kernel(3), kernel(3))
    assert not np.array_equal(kernel(3), kernel(4))


def test_every_batchnorm_is_synchronized_or_none(parent, block):
    student = surgery.compress(parent, block, initializer="mean", seed=0)
    for synchronized in (True, False):
        surgery.synchronize(student, synchronized)
        found = {
            layer.synchronized
            for layer in student.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        }
        assert found == {synchronized}


def test_a_batchnorm_inside_a_layer_is_synchronized_and_saved_as_it_is_alone(tmp_path):
    held = keras.layers.BatchNormalization()
    images = keras.Input((8, 8, 2))
    model = keras.Model(images, keras.layers.Pipeline([held])(images))
    surgery.synchronize(model, True)
    assert held.synchronized
    models.save(model, tmp_path / "model.keras")
    assert held.synchronized
    (saved,) = keras.models.load_model(tmp_path / "model.keras").layers[1].layers
    assert not saved.synchronized


def test_frozen_parent_gives_a_student_that_can_learn(parent, block):
    parent.trainable = False
    student = surgery.compress(parent, block, initializer="mean", seed=0)
    assert all(layer.trainable for layer in student.layers)
    surgery.set_trainable(student, block, "block")
    learning = {variable.path.split("/")[-2] for variable in student.trainable_variables}
    assert learning == set(block.compressed_layers[:2])
    surgery.set_trainable(student, block, "model")
    assert all(layer.trainable for layer in student.layers)


def test_segment_shares_weights_and_computes_the_block(parent, block):
    received = before(parent, block).predict(IMAGES, verbose=0)
    whole = keras.Model(parent.input, block.returned_by(parent)).predict(IMAGES, verbose=0)
    segment = surgery.segment(parent, block)
    np.testing.assert_allclose(
        segment.predict(received, verbose=0), whole, rtol=1e-5, atol=1e-6
    )
    convolution = parent.get_layer(block.convolutions[0])
    assert any(variable is convolution.kernel for variable in segment.variables)


def test_a_student_is_compressed_again_and_again(parent):
    first = surgery.compress(parent, find_blocks(parent)[0], initializer="mean", seed=0)
    (block,) = find_blocks(first)
    second = surgery.compress(first, block, initializer="mean", seed=0)
    stems = [f"block1_compressed{number}" for number in ("", "2")]
    names = [layer.name for layer in second.layers]
    for stem in stems:
        at = names.index(f"{stem}_conv")
        kinds = ("conv", "bn", "activation")
        assert names[at : at + 3] == [f"{stem}_{kind}" for kind in kinds]
    # The layers of the first round keep their weights.
    for kind in ("conv", "bn"):
        name = f"block1_compressed_{kind}"
        for was, now in zip(
            first.get_layer(name).get_weights(),
            second.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(was, now)
    assert second.output_shape == parent.output_shape


def test_another_initializer_is_refused(parent, block):
    with pytest.raises(InputError, match="initializer=zeros: allowed: glorot_uniform, mean"):
        surgery.compress(parent, block, initializer="zeros", seed=0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layers": ("c1", "c2")}, "which has no layer c1; allowed: blocks that find_blocks"),
        ({"after": "flatten"}, "which connects its layers differently"),
        ({"shape": Shape(7, (1, 1), "same")}, "which connects its layers differently"),
    ],
)
def test_a_block_of_another_model_is_refused(parent, block, change, reason):
    foreign = dataclasses.replace(block, **change)
    with pytest.raises(InputError, match=f"{block.name} is not a block of toy, {reason}"):
        surgery.compress(parent, foreign, initializer="mean", seed=0)


def test_nothing_but_set_trainable_freezes_a_layer(parent, block):
    student = surgery.compress(parent, block, initializer="mean", seed=0)
    surgery.set_trainable(student, block, "block")
    open_before = [layer.trainable for layer in student.layers]
    surgery.initialize(student, parent, block, initializer="glorot_uniform", seed=1)
    surgery.segment(student, block)
    surgery.reseed(student, 3)
    surgery.copy_around(parent, student, block)
    assert [layer.trainable for layer in student.layers] == open_before


def test_a_block_that_keeps_the_shape_is_left_out():
    x = images = keras.Input((8, 8, 2))
    for name in ("before", "one", "two"):
        x = keras.layers.Conv2D(3, 3, padding="same", name=name)(x)
    x = keras.layers.GlobalMaxPooling2D()(x * 2)  # the block ends in a function
    model = keras.Model(images, keras.layers.Dense(3, name="logits")(x), name="plain")
    block = named(model, "one", list(by_name(model))[4])
    rest = surgery.bypass(model, block)
    pixels = keras.Model(images, model.get_layer("before").output).predict(IMAGES, verbose=0)
    kernel, bias = model.get_layer("logits").get_weights()
    expected = pixels.max(axis=(1, 2)) @ kernel + bias
    np.testing.assert_allclose(rest.predict(IMAGES, verbose=0), expected, rtol=1e-5)
    assert all(layer.trainable for layer in rest.layers)


def test_a_block_that_changes_the_shape_can_not_be_left_out(parent, block):
    assert surgery.bypass(parent, block) is None
