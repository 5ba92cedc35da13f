import collections
import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.commands.settings import GIB
from deep_net_triage.images import datasets
from deep_net_triage.learning import walk as activations
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.rows import Room
from deep_net_triage.learning.walk import Route, Walk
from deep_net_triage.network import blocks, vgg16
from deep_net_triage.network.blocks import find_blocks
from tests.conftest import new_journal
from tests.toys import toy_parent

passed = collections.Counter()


@keras.saving.register_keras_serializable("tests")
class Counted(keras.layers.Layer):
    """Returns what it receives, and counts how many images have passed."""

    def call(self, inputs):
        def count(images):
            passed[self.name] += len(images)
            return images

        counted = tf.numpy_function(count, [inputs], inputs.dtype)
        return inputs + 0 * tf.ensure_shape(counted, inputs.shape)

    def compute_output_shape(self, input_shape):
        return input_shape


def counted_parent():
    """A toy parent whose first layer counts images."""
    parent = toy_parent()
    images = keras.Input((8, 8, 2), name="image")
    tensor = Counted(name="counted")(images)
    for layer in parent.layers[1:]:
        tensor = type(layer).from_config(layer.get_config())(tensor)
    counted = keras.Model(images, tensor)
    counted.set_weights(parent.get_weights())
    return counted


def room(tmp_path, memory=GIB, disk=0):
    return Room(tmp_path, memory=memory, disk=disk)


def computed(parent, end, images):
    return keras.Model(parent.inputs[0], end).predict(images.numpy(), verbose=0)


# A batch size that does not divide the 27 and 10 images; memory, or a file.
@pytest.mark.parametrize("memory", [GIB, 0])
def test_kept_is_what_the_parent_computes(memory, parent, toy_dataset, tmp_path):
    walk = Walk(parent, toy_dataset, room(tmp_path, memory, GIB), batch_size=4)
    for block in find_blocks(parent):
        source = walk.to(block, with_targets=True)
        received, returned = block.received_by(parent), block.returned_by(parent)
        assert source.place(parent) is received
        for rows, split in ((source.train, toy_dataset.train), (source.test, toy_dataset.test)):
            expected = computed(parent, received, split.images)
            np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-4)
        expected = computed(parent, returned, toy_dataset.train.images)
        np.testing.assert_allclose(source.targets, expected, rtol=1e-5, atol=1e-4)


def test_each_image_passes_a_frozen_layer_once(toy_dataset, small_settings, tmp_path):
    parent = counted_parent()
    first, second = find_blocks(parent)
    walk = Walk(parent, toy_dataset, room(tmp_path), batch_size=8)
    passed.clear()
    walk.to(first, with_targets=True)
    source = walk.to(second, with_targets=True)
    assert passed["counted"] == 27 + 10
    retraining = Retraining(
        parent, second, toy_dataset, source, small_settings(epochs=3, distill_epochs=2)
    )
    for method in ("cl_rw", "stn", "cl_mw"):
        retraining.run(method, 0, new_journal())
    assert passed["counted"] == 27 + 10
    # And the count can tell: fed with images, it passes them all in every epoch.
    fed = activations.from_images(toy_dataset)
    retraining = Retraining(parent, second, toy_dataset, fed, small_settings(epochs=3))
    retraining.run("cl_rw", 0, new_journal())
    assert passed["counted"] >= 4 * (27 + 10)


def test_bytes_kept_are_those_of_the_block_at_hand(parent, toy_dataset, tmp_path):
    first, second = find_blocks(parent)
    rooms = room(tmp_path)
    walk = Walk(parent, toy_dataset, rooms, batch_size=8)
    source = walk.to(first, with_targets=True)
    # What block 1 receives are the images; it returns 4 x 4 x 3 float32.
    assert GIB - rooms.memory == 37 * 4 * 4 * 3 * 4
    source = walk.to(second, with_targets=True)
    assert GIB - rooms.memory == 37 * (4 * 4 * 3 + 2 * 2 * 4) * 4
    del source, walk
    gc.collect()
    assert rooms.memory == GIB


def test_without_targets_only_what_is_received_is_kept(parent, toy_dataset, tmp_path):
    rooms = room(tmp_path)
    walk = Walk(parent, toy_dataset, rooms, batch_size=8)
    source = walk.to(find_blocks(parent)[1], with_targets=False)
    assert source.targets is None
    assert GIB - rooms.memory == 37 * 4 * 4 * 3 * 4


def test_where_there_is_no_room_the_last_place_is_kept(parent, toy_dataset, tmp_path):
    first, second = find_blocks(parent)
    returned_by_first = 37 * 4 * 4 * 3 * 4
    walk = Walk(parent, toy_dataset, room(tmp_path, returned_by_first), batch_size=8)
    assert walk.to(first, with_targets=True).targets is not None
    source = walk.to(second, with_targets=True)
    assert source.targets is None
    assert source.place(parent) is second.received_by(parent)
    nothing = Walk(parent, toy_dataset, room(tmp_path, 0), batch_size=8)
    source = nothing.to(second, with_targets=True)
    assert source.place(parent) is parent.inputs[0]
    assert source.train is toy_dataset.train.images


def with_a_way_around():
    """Three blocks in a row; a branch goes around the second."""

    def block(name, tensor):
        for layer in "ab":
            tensor = keras.layers.Conv2D(3, 3, padding="same", name=f"{name}_{layer}")(tensor)
        return keras.layers.MaxPooling2D(2)(tensor)

    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 2))
    first = block("first", images)
    around = keras.layers.AveragePooling2D(2)(first)
    joined = keras.layers.Concatenate(name="joined")([block("second", first), around])
    third = keras.layers.Flatten()(block("third", joined))
    return keras.Model(images, keras.layers.Dense(3)(third))


def test_a_start_is_where_nothing_goes_around(toy_dataset, small_settings, tmp_path):
    parent = with_a_way_around()
    first, second, third = (
        blocks.named(parent, f"{name}_a", f"{name}_b") for name in ("first", "second", "third")
    )
    starts = (parent.inputs[0], first.returned_by(parent), parent.get_layer("joined").output)
    walk = Walk(parent, toy_dataset, room(tmp_path), batch_size=8)
    for block, start in zip((first, second, third), starts, strict=True):
        source = walk.to(block, with_targets=True)
        assert source.place(parent) is start
        for rows, tensor in (
            (source.train, start),
            (source.targets, block.returned_by(parent)),
        ):
            expected = computed(parent, tensor, toy_dataset.train.images)
            np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-4)
        retraining = Retraining(parent, block, toy_dataset, source, small_settings(epochs=1))
        retraining.run("stn", 0, new_journal())


def test_nothing_is_kept_behind_a_layer_that_draws_at_random(toy_dataset, tmp_path):
    parent = toy_parent()
    images = keras.Input((8, 8, 2))
    tensor = keras.layers.Dropout(0.5)(images)
    for layer in parent.layers[1:]:
        tensor = type(layer).from_config(layer.get_config())(tensor)
    noisy = keras.Model(images, tensor)
    walk = Walk(noisy, toy_dataset, room(tmp_path), batch_size=8)
    source = walk.to(find_blocks(noisy)[1], with_targets=True)
    assert source.place(noisy) is noisy.inputs[0]


def test_a_parent_of_no_fixed_size_is_kept_at_that_of_the_images(toy_dataset, tmp_path):
    x = images = keras.Input((None, None, 2))
    for _ in range(2):
        for _ in range(2):
            x = keras.layers.Conv2D(3, 3, padding="same")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    parent = keras.Model(images, keras.layers.Dense(3)(x))
    walk = Walk(parent, toy_dataset, room(tmp_path), batch_size=8)
    source = walk.to(find_blocks(parent)[1], with_targets=True)
    assert source.train.shape == (27, 4, 4, 3)
    assert source.targets.shape == (27, 2, 2, 3)


def test_resizing_is_not_kept_but_done_again(tmp_path):
    parent = vgg16.VGG16(
        input_shape=(8, 8, 3),
        classes=3,
        image_size=32,
        mean=[0.0] * 3,
        deviation=[1.0] * 3,
        width=0.02,
    ).build()
    split = datasets.Split(np.zeros((2, 8, 8, 3)), [0, 1])
    colours = datasets.Dataset("small", split, split, ("a", "b", "c"))
    rooms = room(tmp_path)
    source = Walk(parent, colours, rooms, 2).to(find_blocks(parent)[0], with_targets=False)
    assert source.train is split.images
    assert rooms.memory == GIB


def test_half_precision_on_request_and_not_where_it_overflows(parent, toy_dataset, tmp_path):
    block = find_blocks(parent)[1]
    received = block.received_by(parent)
    walk = Walk(parent, toy_dataset, room(tmp_path), 8, dtype="float16")
    source = walk.to(block, with_targets=False)
    assert source.train.dtype == np.float16
    expected = computed(parent, received, toy_dataset.train.images)
    np.testing.assert_allclose(source.train, expected, rtol=1e-3, atol=1e-3)
    assert (
        Walk(parent, toy_dataset, room(tmp_path), 8).to(block, False).train.dtype == "float32"
    )
    bn = parent.get_layer(find_blocks(parent)[0].batchnorms[-1])
    bn.beta.assign(bn.beta + 70_000)  # float16 ends at 65,504
    walk = Walk(parent, toy_dataset, room(tmp_path), 8, dtype="float16")
    assert walk.to(block, with_targets=False).place(parent) is parent.inputs[0]


def test_a_route_takes_the_same_steps_whichever_blocks_are_asked_for(toy_dataset, tmp_path):
    parent = toy_parent()
    found = find_blocks(parent)

    def reached(*asked):
        walk = Walk(parent, toy_dataset, Room(tmp_path, GIB, 0), batch_size=8)
        steps = []
        pushed = walk._pushed
        walk._pushed = lambda source, place, name: (
            steps.append(place(parent).name) or pushed(source, place, name)
        )
        route = Route(walk, found, with_targets=True)
        sources = [route.to(found[number]) for number in asked]
        return steps, sources[-1]

    every, last = reached(0, 1)
    some, same = reached(1)
    assert some == every
    assert len(some) >= 2
    np.testing.assert_array_equal(same.train, last.train)
    np.testing.assert_array_equal(same.targets, last.targets)
