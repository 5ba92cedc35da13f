import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.learning.learner import RelativeError, StudentTeacher, squared_distances
from deep_net_triage.network import graphs, surgery
from deep_net_triage.network.blocks import find_blocks
from tests.toys import before, dtype_policy, toy_parent

IMAGES = np.random.default_rng(0).normal(size=(13, 8, 8, 2)).astype(np.float32)


def make_pair(block=1, seed=0, optimizer=None):
    """A toy parent, its student and the pair, compiled as training compiles it."""
    parent = toy_parent()
    block = find_blocks(parent)[block]
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=seed)
    surgery.set_trainable(student, block, "block")
    pair = StudentTeacher(
        before(parent, block), surgery.segment(parent, block), surgery.segment(student, block)
    )
    pair.compile(optimizer=optimizer or keras.optimizers.Adam(1e-3), jit_compile=False)
    return parent, student, block, pair


def train(pair, images=IMAGES, batch_size=6, epochs=1):
    batches = tf.data.Dataset.from_tensor_slices((images, np.zeros(len(images))))
    history = pair.fit(batches.batch(batch_size), epochs=epochs, shuffle=False, verbose=0)
    return history.history


def test_squared_distances_against_numpy():
    generator = np.random.default_rng(1)
    target, output = generator.normal(size=(2, 6, 4, 4, 3)).astype(np.float32)
    expected = ((output - target).reshape(6, -1) ** 2).sum(axis=1)
    np.testing.assert_allclose(squared_distances(target, output), expected, rtol=1e-5)
    # Neither a mean over the tensor (1/48) nor a root.
    by_hand = squared_distances(
        tf.zeros((1, 2, 2, 1)), tf.constant([[[[1.0], [2]], [[3], [4]]]])
    )
    assert by_hand.numpy().tolist() == [30.0]


def test_a_parent_in_float64_may_teach_a_layer_in_float32():
    target = tf.constant([[[[0.5], [1.0]]]], tf.float64)
    output = tf.constant([[[[1.5], [1.0]]]], tf.float32)
    assert squared_distances(target, output).numpy().tolist() == [1.0]
    error = RelativeError()
    error.update_state(target, output, tf.ones(1))
    assert float(error.result()) == pytest.approx(1 / 1.25)


def test_half_precision_is_summed_in_float32():
    target = tf.zeros((1, 64, 64, 8), tf.float16)
    found = squared_distances(target, target + 10)
    assert found.dtype == tf.float32
    assert found.numpy().tolist() == [100.0 * 64 * 64 * 8]  # float16 ends at 65,504


def test_loss_of_a_step_is_equation_3_against_numpy():
    # A learning rate of zero: each batch sees the untrained student, batch statistics included.
    parent, student, block, pair = make_pair(optimizer=keras.optimizers.SGD(0.0))
    received = before(parent, block)(IMAGES, training=False)
    target = surgery.segment(parent, block)(received, training=False).numpy()
    per_image = []
    for start in range(0, 13, 6):
        batch = received[start : start + 6]
        x = student.get_layer(block.compressed_layers[0])(batch).numpy()
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-3), 0)
        pooled = x.reshape(len(x), 2, 2, 2, 2, -1).max(axis=(2, 4))
        difference = (pooled - target[start : start + 6]).reshape(len(x), -1)
        per_image += np.square(difference).sum(axis=1).tolist()
    history = train(pair)
    # Averaged over images, not over the batches of 6, 6 and 1.
    np.testing.assert_allclose(history["loss"], [np.mean(per_image)], rtol=1e-4)
    relative = np.sum(per_image) / np.square(target).sum()
    np.testing.assert_allclose(history["relative_error"], [relative], rtol=1e-4)


def test_kept_inputs_and_targets_take_the_place_of_layers_and_teacher():
    parent, student, block, pair = make_pair()
    received = before(parent, block)(IMAGES)
    target = surgery.segment(parent, block)(received, training=False)
    nothing = graphs.cut(parent, block.received_by(parent), block.received_by(parent))
    assert nothing.weights == []
    other = make_pair()[1]
    kept = StudentTeacher(nothing, None, surgery.segment(other, block))
    kept.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    batches = tf.data.Dataset.from_tensor_slices((received, target)).batch(6)
    history = kept.fit(batches, shuffle=False, verbose=0).history
    expected = train(pair)
    for name in ("loss", "relative_error"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5)


@pytest.mark.parametrize("block", [0, 1])
def test_only_the_compressed_block_moves_and_the_loss_falls(block):
    parent, student, block, pair = make_pair(block)
    before_parent = parent.get_weights()
    before = {layer.name: layer.get_weights() for layer in student.layers}
    history = train(pair, epochs=30)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    for was, now in zip(before_parent, parent.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    for layer in student.layers:
        moved = [
            not np.array_equal(was, now)
            for was, now in zip(before[layer.name], layer.get_weights(), strict=True)
        ]
        # All of it: kernel, bias, gamma, beta and both moving statistics.
        assert all(moved) if layer.name in block.compressed_layers else not any(moved)


def test_nothing_behind_the_block_is_computed():
    _, student, block, pair = make_pair(block=0)
    held = {
        layer.name
        for model in (pair.before, pair.teacher, pair.network)
        for layer in model.layers
    }
    assert block.pool in held
    assert not held & {"b2_conv1", "dense", "logits"}


def test_relative_error_is_0_for_the_teacher_and_1_for_nothing():
    target = tf.constant(np.random.default_rng(0).normal(size=(4, 2, 2, 3)), tf.float32)
    metric = RelativeError()
    metric.update_state(target, target)
    assert float(metric.result()) == 0
    metric.reset_state()
    metric.update_state(target, tf.zeros_like(target))
    assert float(metric.result()) == 1
    # Sums first: half the images right is half of the squared norm, not a mean of ratios.
    metric.reset_state()
    metric.update_state(3 * target, 3 * target)
    metric.update_state(target, tf.zeros_like(target))
    np.testing.assert_allclose(float(metric.result()), 0.1, rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_learns_in_float32(policy):
    with dtype_policy(policy):
        _, student, block, pair = make_pair()
        history = train(pair, epochs=20)
    assert np.all(np.isfinite(history["loss"]))
    assert history["loss"][-1] < history["loss"][0]
    assert student.get_layer(block.compressed_layers[0]).kernel.dtype == "float32"
