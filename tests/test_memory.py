import gc
import weakref

import pytest
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from deep_net_triage import memory, training
from deep_net_triage.blocks import find_blocks
from tests.conftest import toy_parent


def graphs():
    """How many traced functions are alive."""
    gc.collect()
    return sum(isinstance(each, FuncGraph) for each in gc.get_objects())


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_trial_leaves_nothing_behind(replicas, request, toy_dataset, small_settings):
    strategy = tf.distribute.get_strategy()
    if replicas == 2:
        strategy = request.getfixturevalue("two_replicas")
    with strategy.scope():
        parent = toy_parent()
        left = []
        for _ in range(3):
            with memory.released():
                trained = training.train_student(
                    parent,
                    find_blocks(parent)[0],
                    "stn_cm",
                    0,
                    toy_dataset,
                    small_settings(epochs=1, distill_epochs=1),
                    lambda record: None,
                )
                model = weakref.ref(trained.model)
                del trained
            assert model() is None
            left.append(graphs())
    assert left[0] == left[1] == left[2]


def test_gradients_registered_before_stay():
    @tf.custom_gradient
    def tripled(x):
        return x, lambda upstream: 3 * upstream

    traced = tf.function(tripled).get_concrete_function(tf.TensorSpec(()))
    with memory.released():
        tf.function(tripled).get_concrete_function(tf.TensorSpec(()))
    x = tf.constant(1.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = traced(x)
    # Only now is the gradient of what was traced before looked up.
    assert float(tape.gradient(y, x)) == 3
