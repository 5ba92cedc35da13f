"""What a compression and its alternatives will take at most, worked out by hand."""

import types

import pytest

from deep_net_triage.forecast import ExpectedTraining
from deep_net_triage.study.estimates import Afterwards, Estimator, Workload

SECONDS = {("cl_rw", "block1"): 5, ("stn", "block1"): 7, ("cl_rw", "block2"): 3}


class Rounded(Estimator):
    """An estimator to which an epoch takes a second, and two with a teacher."""

    def __init__(self, settings):
        self.workload = Workload(settings, 20, 10, True)

    def trials(self, trials, evidence):
        assert not evidence
        for name, trial in trials:
            seconds = SECONDS.get((trial.method, trial.block.name), 0)
            yield ExpectedTraining(name, (), around=seconds)

    def network(self, epochs, taught):
        return epochs * (2 if taught else 1)


@pytest.fixture
def foresee(small_settings):
    blocks = [types.SimpleNamespace(name=name) for name in ("block1", "block2")]

    def foresee(**flags):
        settings = small_settings(
            dataset="digits", epochs=4, distill_epochs=3, final_epochs=6, **flags
        )
        return Rounded(settings).afterwards(blocks)

    return foresee


def test_nothing_is_trained_after_the_trials_that_was_not_asked_for(foresee):
    assert foresee(method="cl_rw") == Afterwards()
    assert str(Afterwards()) == ""


def test_all_halves_are_tried_and_all_blocks_compressed(foresee):
    # Of each block two trials and a step; 6 epochs with a teacher for each seed.
    expected = 3 * (7 + 3) + 2 * 6 * 2
    assert foresee(method="cl_rw,stn", compress="true", final_seeds="0,1") == Afterwards(
        compress=expected,
        # Of each block two halves and a step; two final retrainings, and the saved one.
        models=2 * 3 + 2 + 1,
    )


@pytest.mark.parametrize(("method", "each"), [("cl_rw", 4), ("cl_rw,stn", 7)])
def test_alternatives_take_as_many_epochs(method, each, foresee):
    # The steps of two blocks, and the final retraining; four of the five have a teacher.
    epochs = 2 * each + 6
    expected = 3 * (epochs + 4 * 2 * epochs)
    asked = {"compress": "true", "alternatives": "true", "final_seeds": "0,1,2"}
    later = foresee(method=method, **asked)
    assert later.alternatives == expected
    assert later.models == 2 * 3 + 3 + 1 + 5 * 3


def test_it_is_said_in_one_line():
    assert str(Afterwards(90.0, 7200.0)) == (
        "after the trials, if every block is compressed: about 90 s for --compress and about "
        "2.0 h for --alternatives"
    )
