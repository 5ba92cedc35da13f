import collections
import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage import activations, surgery
from deep_net_triage.activations import Walk
from deep_net_triage.blocks import find_blocks
from deep_net_triage.retraining import Retraining
from deep_net_triage.rows import GIB, Room
from tests.conftest import toy_parent

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
        retraining.run(method, 0, lambda record: None)
    assert passed["counted"] == 27 + 10
    # And the count can tell: fed with images, it passes them all in every epoch.
    fed = activations.from_images(toy_dataset)
    retraining = Retraining(parent, second, toy_dataset, fed, small_settings(epochs=3))
    retraining.run("cl_rw", 0, lambda record: None)
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


def test_resizing_is_not_kept_but_done_again(vgg, tmp_path):
    block = find_blocks(vgg)[0]
    between = surgery.cut(vgg, vgg.inputs[0], block.received_by(vgg))
    assert [layer.name for layer in between.layers][1:] == ["normalize"]
    assert not between.weights


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
