import collections
import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage import steps as reported
from deep_net_triage.commands.settings import GIB
from deep_net_triage.images import splits
from deep_net_triage.learning.array_stores import ArrayStore, SharedArrayStore
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_model
from deep_net_triage.learning.walk import Walk
from deep_net_triage.network import blocks, flattening, vgg16
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


def new_store(tmp_path, memory=GIB, disk=0):
    return ArrayStore(tmp_path, memory=memory, disk=disk)


def walk_through(parent, dataset, store, settings):
    """A walk through all blocks of a parent."""
    return Walk(parent, dataset, store, settings, find_blocks(parent))


def computed(parent, end, images):
    return keras.Model(parent.inputs[0], end).predict(images.numpy(), verbose=0)


# A batch size that does not divide the 27 and 10 images; memory, or a file.
@pytest.mark.parametrize("memory", [GIB, 0])
def test_kept_is_what_the_parent_computes(
    memory, parent, toy_dataset, small_settings, tmp_path
):
    store, settings = new_store(tmp_path, memory, GIB), small_settings(batch_size=4)
    walk = walk_through(parent, toy_dataset, store, settings)
    for block in find_blocks(parent):
        source = walk.source_for(block)
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
    settings = small_settings(epochs=3, distill_epochs=2)
    walk = walk_through(parent, toy_dataset, new_store(tmp_path), settings)
    passed.clear()
    walk.source_for(first)
    source = walk.source_for(second)
    assert passed["counted"] == 27 + 10
    retraining = Retraining(parent, second, toy_dataset, source, settings)
    for method in ("cl_rw", "stn", "cl_mw"):
        retraining.run(method, 0, new_journal())
    assert passed["counted"] == 27 + 10
    # And the count can tell: fed with images, it passes them all in every epoch.
    images = for_model(toy_dataset, settings)
    retraining = Retraining(parent, second, toy_dataset, images, settings)
    retraining.run("cl_rw", 0, new_journal())
    assert passed["counted"] >= 4 * (27 + 10)


def test_bytes_kept_are_those_of_the_block_at_hand(
    parent, toy_dataset, small_settings, tmp_path
):
    first, second = find_blocks(parent)
    store = new_store(tmp_path)
    walk = walk_through(parent, toy_dataset, store, small_settings())
    source = walk.source_for(first)
    # What block 1 receives are the images; it returns 4 x 4 x 3 float32.
    assert GIB - store.memory == 37 * 4 * 4 * 3 * 4
    source = walk.source_for(second)
    assert GIB - store.memory == 37 * (4 * 4 * 3 + 2 * 2 * 4) * 4
    walk.discard(second)
    assert GIB - store.memory == 37 * (4 * 4 * 3 + 2 * 2 * 4) * 4  # the source is in use
    del source
    gc.collect()
    assert store.memory == GIB


def test_without_targets_only_what_is_received_is_kept(
    parent, toy_dataset, small_settings, tmp_path
):
    store, settings = new_store(tmp_path), small_settings(method="cl_rw,cm_rw")
    source = walk_through(parent, toy_dataset, store, settings).source_for(
        find_blocks(parent)[1]
    )
    assert source.targets is None
    assert GIB - store.memory == 37 * 4 * 4 * 3 * 4


def test_where_there_is_no_room_the_last_place_is_kept(
    parent, toy_dataset, small_settings, tmp_path
):
    first, second = find_blocks(parent)
    returned_by_first, settings = 37 * 4 * 4 * 3 * 4, small_settings()
    walk = walk_through(parent, toy_dataset, new_store(tmp_path, returned_by_first), settings)
    assert walk.source_for(first).targets is not None
    source = walk.source_for(second)
    assert source.targets is None
    assert source.place(parent) is second.received_by(parent)
    source = walk_through(parent, toy_dataset, new_store(tmp_path, 0), settings).source_for(
        second
    )
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
    found = [
        blocks.named(parent, f"{name}_a", f"{name}_b") for name in ("first", "second", "third")
    ]
    starts = parent.inputs[0], found[0].returned_by(parent), parent.get_layer("joined").output
    settings = small_settings(epochs=1)
    walk = Walk(parent, toy_dataset, new_store(tmp_path), settings, found)
    for block, start in zip(found, starts, strict=True):
        source = walk.source_for(block)
        assert source.place(parent) is start
        for rows, tensor in (
            (source.train, start),
            (source.targets, block.returned_by(parent)),
        ):
            expected = computed(parent, tensor, toy_dataset.train.images)
            np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-4)
        retraining = Retraining(parent, block, toy_dataset, source, settings)
        retraining.run("stn", 0, new_journal())


def test_nothing_is_kept_behind_a_layer_that_draws_at_random(
    toy_dataset, small_settings, tmp_path
):
    parent = toy_parent()
    images = keras.Input((8, 8, 2))
    tensor = keras.layers.Dropout(0.5)(images)
    for layer in parent.layers[1:]:
        tensor = type(layer).from_config(layer.get_config())(tensor)
    noisy = keras.Model(images, tensor)
    walk = walk_through(noisy, toy_dataset, new_store(tmp_path), small_settings())
    source = walk.source_for(find_blocks(noisy)[1])
    assert source.place(noisy) is noisy.inputs[0]


def test_a_parent_of_no_fixed_size_is_kept_at_that_of_the_images(
    toy_dataset, small_settings, tmp_path
):
    x = images = keras.Input((None, None, 2))
    for _ in range(2):
        for _ in range(2):
            x = keras.layers.Conv2D(3, 3, padding="same")(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    # A study fixes the sides before it walks.
    parent = flattening.flat(keras.Model(images, keras.layers.Dense(3)(x)), (8, 8, 2))
    walk = walk_through(parent, toy_dataset, new_store(tmp_path), small_settings())
    source = walk.source_for(find_blocks(parent)[1])
    assert source.train.shape == (27, 4, 4, 3)
    assert source.targets.shape == (27, 2, 2, 3)


def test_resizing_is_not_kept_but_done_again(small_settings, tmp_path):
    parent = vgg16.VGG16(
        input_shape=(8, 8, 3),
        classes=3,
        image_size=32,
        mean=[0.0] * 3,
        deviation=[1.0] * 3,
        width=0.02,
    ).build()
    split = splits.Split(np.zeros((2, 8, 8, 3)), [0, 1])
    colours = splits.Dataset("small", split, split, ("a", "b", "c"))
    store, settings = new_store(tmp_path), small_settings(method="cl_rw", batch_size=2)
    source = walk_through(parent, colours, store, settings).source_for(find_blocks(parent)[0])
    assert source.train is split.images
    assert store.memory == GIB


def test_half_precision_on_request_and_not_where_it_overflows(
    parent, toy_dataset, small_settings, tmp_path
):
    block = find_blocks(parent)[1]
    received = block.received_by(parent)

    def source(**flags):
        settings = small_settings(method="cl_rw", **flags)
        return walk_through(parent, toy_dataset, new_store(tmp_path), settings).source_for(
            block
        )

    rounded = source(activation_dtype="float16").train
    assert rounded.dtype == np.float16
    expected = computed(parent, received, toy_dataset.train.images)
    np.testing.assert_allclose(rounded, expected, rtol=1e-3, atol=1e-3)
    assert source().train.dtype == np.float32
    bn = parent.get_layer(find_blocks(parent)[0].batchnorms[-1])
    bn.beta.assign(bn.beta + 70_000)  # float16 ends at 65,504
    assert source(activation_dtype="float16").place(parent) is parent.inputs[0]


@pytest.fixture
def steps(monkeypatch):
    """The names of the tensors between which each array was computed, in order."""
    taken, fill = [], Walk._fill

    def recorded(walk, start, between, *rest):
        taken.append((between.inputs[0].name, between.outputs[0].name))
        return fill(walk, start, between, *rest)

    monkeypatch.setattr(Walk, "_fill", recorded)
    return taken


def test_a_walk_takes_the_same_steps_whichever_blocks_have_trials(
    parent, toy_dataset, small_settings, tmp_path, steps
):
    found, settings = find_blocks(parent), small_settings()

    def reached(*numbers):
        steps.clear()
        walk = walk_through(parent, toy_dataset, new_store(tmp_path), settings)
        sources = [walk.source_for(found[number]) for number in numbers]
        return list(steps), sources[-1]

    every, last = reached(0, 1)
    some, same = reached(1)
    assert some == every
    assert len(some) == 2
    np.testing.assert_array_equal(same.train, last.train)
    np.testing.assert_array_equal(same.targets, last.targets)


# What each of the four blocks returns for 37 images, in float64.
MAPS = 37 * 8 * 8 * 3 * 8


@pytest.fixture
def four_blocks(float64):
    """A parent of four blocks that all return maps of one size, and the blocks."""
    keras.utils.set_random_seed(0)
    tensor = images = keras.Input((8, 8, 2))
    tensor = keras.layers.Rescaling(1 / 255)(tensor)
    for name in "abcdefgh":
        tensor = keras.layers.Conv2D(3, 3, padding="same", name=name)(tensor)
    tensor = keras.layers.Dense(3)(keras.layers.Flatten()(tensor))
    model = keras.Model(images, tensor)
    return model, [blocks.named(model, *pair) for pair in ("ab", "cd", "ef", "gh")]


@pytest.fixture
def shared_walk(four_blocks, toy_dataset, small_settings, tmp_path):
    """Returns the walk of one of the processes that share a folder."""

    def make(disk, folder="shared"):
        store = SharedArrayStore(tmp_path / folder, disk)
        return Walk(four_blocks[0], toy_dataset, store, small_settings(), four_blocks[1])

    return make


def arrays(source):
    return [np.array(rows) for rows in (source.train, source.test, source.targets)]


@pytest.fixture
def expected(four_blocks, shared_walk):
    """What each block receives and returns, by a walk with room for everything."""
    model, found = four_blocks
    walk = shared_walk(GIB, "large")
    sources = [walk.source_for(block) for block in found]
    for block, source in zip(found, sources, strict=True):
        returned = computed(model, block.returned_by(model), walk._images.train)
        np.testing.assert_allclose(source.targets, returned, rtol=1e-9, atol=1e-12)
    return [arrays(source) for source in sources]


def assert_equal(source, wanted):
    for found, rows in zip(arrays(source), wanted, strict=True):
        np.testing.assert_array_equal(found, rows)


def test_a_process_of_its_own_lets_go_of_what_lies_behind_the_block(
    four_blocks, toy_dataset, small_settings, tmp_path, expected
):
    model, found = four_blocks
    store = ArrayStore(tmp_path, 2 * MAPS, 0)
    walk = Walk(model, toy_dataset, store, small_settings(), found)
    for block, wanted in zip(found, expected, strict=True):
        source = walk.source_for(block)
        assert_equal(source, wanted)
        del source  # as a study does at the end of a block
    gc.collect()
    assert store.memory == 0


def test_a_process_that_goes_on_takes_nothing_from_the_others(
    four_blocks, shared_walk, expected, steps
):
    _, found = four_blocks
    quick, slow = shared_walk(GIB), shared_walk(GIB)
    quick.source_for(found[3])
    before = list(steps)
    for block, wanted in zip(found, expected, strict=True):
        assert_equal(slow.source_for(block), wanted)
    assert steps == before


def test_later_blocks_are_kept_in_the_room_that_earlier_ones_left(
    four_blocks, shared_walk, expected
):
    """The limit holds what one block receives and what it returns."""
    model, found = four_blocks
    first, second = shared_walk(2 * MAPS), shared_walk(2 * MAPS)
    for block, wanted in zip(found, expected, strict=True):
        for walk in (first, second):
            source = walk.source_for(block)
            assert source.targets is not None
            if block is not found[0]:
                assert source.place(model) is block.received_by(model)
            assert_equal(source, wanted)
        first.discard(block)  # once for both
    assert list(first.store.folder.glob("*.rows")) == []
    # And the limit can tell.
    without = shared_walk(2 * MAPS, "nothing let go")
    assert [without.source_for(block).targets is not None for block in found] == [True] * 2 + [
        False
    ] * 2


def test_what_was_let_go_and_is_needed_again_is_computed_again(
    four_blocks, shared_walk, expected, steps
):
    _, found = four_blocks
    quick, slow = shared_walk(2 * MAPS), shared_walk(2 * MAPS)
    for block in found:
        quick.source_for(block)
        quick.discard(block)
    before = list(steps)
    for block, wanted in zip(found, expected, strict=True):
        assert_equal(slow.source_for(block), wanted)
    assert steps == before * 2
    # What is still there is read.
    assert_equal(shared_walk(2 * MAPS).source_for(found[3]), expected[3])
    assert steps == before * 2


def test_what_one_process_had_no_room_for_no_process_keeps(
    four_blocks, shared_walk, expected, steps
):
    model, found = four_blocks
    small, large = shared_walk(MAPS), shared_walk(GIB)
    assert small.source_for(found[1]).targets is None
    small.discard(found[0])
    small.discard(found[1])
    before = list(steps)
    source = large.source_for(found[1])
    assert source.targets is None
    assert source.place(model) is found[1].received_by(model)
    np.testing.assert_array_equal(source.train, expected[1][0])
    assert steps == before


def test_how_far_an_array_has_been_computed_is_reported(
    parent, toy_dataset, small_settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(reported, "SECONDS_BETWEEN_REPORTS", 0)
    reports, blocks = [], find_blocks(parent)
    settings = small_settings(batch_size=20)
    Walk(parent, toy_dataset, new_store(tmp_path), settings, blocks, reports.append).source_for(
        blocks[1]
    )
    # 27 and 10 images; what block 2 receives is what block 1 returns.
    work = dict.fromkeys((step.work, step.of, step.unit) for step in reports)
    assert list(work) == [(f"returned by block{n}", 37, "image") for n in (1, 2)]
    done = [step.done for step in reports if step.work == "returned by block1"]
    assert done == [0, 20, 27, 37]
