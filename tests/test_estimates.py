"""What a study is expected to take, worked out by hand."""

import pytest

from deep_net_triage.learning.timings import BlockTimings, Timings
from deep_net_triage.network import blocks
from deep_net_triage.study.estimates import Estimator, Workload
from deep_net_triage.study.identity import Trial

# A gradient takes as long as a forward pass, so that a step is three passes: 30 = 3 * 10.
TIMINGS = Timings(
    step=30.0,
    forward=10.0,
    blocks={
        "block1": BlockTimings(4.0, 1.0, before=0.0),
        "block2": BlockTimings(5.0, 2.0, before=4.0),
    },
    tracing=0.0,
    slowdowns={1: 1.0},
)


@pytest.fixture
def make(parent, small_settings):
    first, second = blocks.find_blocks(parent)
    assert (first.name, second.name) == ("block1", "block2")

    def make(stores=True, timings=TIMINGS, slowdown=1.0, **flags):
        settings = small_settings(batch_size=8, **flags)
        # Three steps and two test batches an epoch.
        workload = Workload(settings, 20, 16, stores)
        return Estimator(workload, timings, slowdown), first, second

    return make


def phases(estimator, method, block):
    (training,) = estimator.trials([("name", Trial(method, block, 0))])
    return {phase.name: phase.seconds for phase in training.phases}


def test_the_parent_and_the_control_train_the_whole_network(make):
    estimator, *_ = make(parent_epochs=7)
    parent = estimator.parent()
    assert parent.alone
    assert [(p.epochs, p.seconds) for p in parent.phases] == [(7, 3 * 30 + 2 * 10)]
    assert phases(estimator, "control", None) == {"train": 3 * 30 + 2 * 10}


def test_a_student_saves_what_its_block_saves(make):
    estimator, first, _ = make()
    # 10 - 4 + 1 forward, and a step in proportion.
    assert phases(estimator, "cm_rw", first) == {"train": pytest.approx(3 * 21 + 2 * 7)}
    # The parent returns its logits as well.
    taught = phases(estimator, "stn_kd", first)
    assert taught["train"] == pytest.approx(3 * (21 + 10) + 2 * 7)


@pytest.mark.parametrize(("stores", "before"), [(True, 0), (False, 4)])
def test_a_block_alone_needs_what_lies_behind_it(stores, before, make):
    estimator, _, second = make(stores)
    # Behind the second block lies 10 - 4 - 5 = 1. Its weights' gradient, and the gradient
    # through what lies behind, take as long as the forward pass.
    step, evaluation = before + 2 * (2 + 1), before + 2 + 1
    assert phases(estimator, "cl_rw", second) == {"train": 3 * step + 2 * evaluation}


@pytest.mark.parametrize(("stores", "others"), [(True, 0), (False, 4 + 5)])
def test_distillation_ends_at_the_block(stores, others, make):
    estimator, _, second = make(stores)
    # Without stored activations the layers before the block, and the parent's block, run too.
    assert phases(estimator, "stn", second)["distill"] == 3 * (others + 2 * 2)


def test_only_the_first_trial_of_a_kind_traces(make):
    timings = Timings(30.0, 10.0, TIMINGS.blocks, tracing=10.0, slowdowns={1: 1.0})
    estimator, first, second = make(timings=timings)
    trials = [Trial(m, b, 0) for b in (first, second) for m in ("cl_rw", "cl_mw", "stn")]
    expected = estimator.trials([(str(trial), trial) for trial in trials])
    traced = [[phase.tracing > 0 for phase in training.phases] for training in expected]
    assert traced == 2 * [[True], [False], [True, False]]
    # Only a block's first trial builds its student.
    assert expected[0].around > expected[1].around == expected[2].around


def test_trials_on_a_share_of_the_cores_take_longer_and_the_parent_does_not(make):
    fast, first, _ = make()
    slow, *_ = make(slowdown=1.5)
    assert phases(slow, "cm_rw", first)["train"] == 1.5 * phases(fast, "cm_rw", first)["train"]
    assert slow.parent() == fast.parent()


def test_a_network_like_the_parent_is_trained_alone_or_taught(make):
    estimator, *_ = make()
    # Around it, its two test batches are evaluated twice.
    around = 2 * 2 * 10
    assert estimator.network(5, taught=False) == 5 * (3 * 30 + 2 * 10) + around
    assert estimator.network(5, taught=True) == 5 * (3 * 40 + 2 * 10) + around
