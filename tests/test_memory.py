import gc
import weakref

import pytest
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from deep_net_triage.commands.settings import GIB
from deep_net_triage.learning import memory
from deep_net_triage.learning.array_stores import ArrayStore
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.walk import Walk
from deep_net_triage.network.blocks import find_blocks
from tests.conftest import new_journal
from tests.toys import toy_parent


def graphs():
    """How many traced functions are alive."""
    gc.collect()
    return sum(isinstance(each, FuncGraph) for each in gc.get_objects())


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_block_leaves_nothing_behind_and_its_trials_hold_no_more_each(
    replicas, request, toy_dataset, small_settings, tmp_path
):
    strategy, method = tf.distribute.get_strategy(), "stn_cm"
    if replicas == 2:
        strategy, method = request.getfixturevalue("two_replicas"), "stn"  # traced in seconds
    with strategy.scope():
        parent = toy_parent()
        settings = small_settings(epochs=1, distill_epochs=1)
        store = ArrayStore(tmp_path, memory=GIB, disk=0)
        found = find_blocks(parent)
        block = found[1]
        left = []
        for _ in range(2):
            with memory.released():
                walk = Walk(parent, toy_dataset, store, settings, found)
                source = walk.source_for(block)
                retraining = Retraining(parent, block, toy_dataset, source, settings)
                held = []
                for _ in range(2):
                    retraining.run(method, 0, new_journal())
                    held.append(graphs())
                assert held[0] == held[1]
                student = weakref.ref(retraining.student)
                walk.discard(block)
                del retraining, source, walk
            assert student() is None
            assert store.memory == GIB
            left.append(graphs())
        assert left[0] == left[1]


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
