"""Any number of replicas trains as one does: the same losses, weights and accuracies."""

import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.learning.learner import nan_unless_all_finite
from deep_net_triage.methods import GROUPS
from tests.conftest import REPOSITORY
from tests.studies import newcomer

# Everything that the settled recipe changes, and what else a training may have.
SETTLED = (
    "--recipe=settled",
    "--augment_copies=2",
    "--clip_norm=0.5",
    "--distill=both",
)


def trained(folder, replicas, policy, epochs, batch_size, methods, flags=()):
    """What `tests.mirrored` writes down, by name."""
    output = folder / f"{replicas}-{policy}.npz"
    asked = map(str, (replicas, policy, epochs, batch_size, ",".join(methods), output))
    done = subprocess.run(
        [sys.executable, "-m", "tests.mirrored", *asked, *flags],
        cwd=REPOSITORY,
        env=newcomer(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(output)


@pytest.mark.parametrize(
    ("flags", "methods"),
    [((), GROUPS["all"]), (SETTLED, ["cl_rw", "stn", "stn_kd"])],
    ids=["paper", "settled"],
)
def test_in_float64_three_epochs_are_equal_on_one_two_and_three(flags, methods, tmp_path):
    """The last batches hold fewer images than there are replicas."""
    alone, *others = (
        trained(tmp_path, replicas, "float64", 3, 8, methods, flags) for replicas in (1, 2, 3)
    )
    names = set(alone.files)
    last = methods[-1]
    assert {f"{last}-kept|distill3|loss", f"{last}-images|train3|val_accuracy"} < names
    for other in others:
        assert set(other.files) == names
        for name in names:
            np.testing.assert_allclose(
                other[name], alone[name], rtol=1e-8, atol=1e-8, err_msg=name
            )


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_in_less_than_float64_they_are_alike(policy, tmp_path):
    """After the first step; with scaled losses after some, of which the first overflow."""
    epochs, batch_size = (3, 8) if policy == "mixed_float16" else (1, 25)
    tolerance = {"float32": 1e-5, "mixed_bfloat16": 0.01, "mixed_float16": 0.1}[policy]
    alone, *others = (
        trained(tmp_path, replicas, policy, epochs, batch_size, ["cm_mw", "stn"])
        for replicas in (1, 2, 3)
    )
    # A bias before a batch norm has a gradient of zero, of whose noise Adam makes a step; and
    # what follows from that step is judged by `val_`. Of several epochs weights are the best
    # one's, which a single image of nine can decide.
    noise = re.compile(r"conv\d?\|bias$|val_|accuracy$" if epochs == 1 else r"(?<!\|loss)$")
    for other in others:
        for name in filter(lambda name: not noise.search(name), alone.files):
            np.testing.assert_allclose(
                other[name], alone[name], rtol=tolerance, atol=tolerance, err_msg=name
            )


def test_a_step_that_overflows_on_one_replica_is_taken_on_none(two_replicas):
    def step():
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        overflowing = tf.where(number == 1, np.inf, 1.0)
        return nan_unless_all_finite([tf.stack([overflowing, 2.0]), tf.constant([3.0])])

    for gradient in two_replicas.run(tf.function(step)):
        for of_replica in two_replicas.experimental_local_results(gradient):
            assert np.all(np.isnan(of_replica))


def test_a_step_that_overflows_nowhere_is_what_it_was(two_replicas):
    (gradient,) = two_replicas.run(
        tf.function(lambda: nan_unless_all_finite([tf.constant([3.0, -1.0])]))
    )
    for of_replica in two_replicas.experimental_local_results(gradient):
        np.testing.assert_array_equal(of_replica, [3.0, -1.0])
