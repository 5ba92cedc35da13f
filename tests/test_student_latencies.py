"""What students take for a batch: measured once all of them are trained."""

import pytest

from deep_net_triage.network import latency_timing
from deep_net_triage.network.latency_timing import Timing
from deep_net_triage.records import results
from tests.studies import run

NAMES = ("latency", "batch_latency", "parent_latency", "parent_batch_latency")


@pytest.fixture
def compared(monkeypatch):
    """The (parent, student) pairs that were timed; their times are made up."""
    pairs = []

    def compare(parent, student, images):
        pairs.append((parent, student))
        return [[Timing(2.0, 6.0), Timing(0.0, 4.0)], [Timing(3.0, 7.0), Timing(1.0, 5.0)]]

    monkeypatch.setattr(latency_timing, "compare", compare)
    return pairs


def test_a_finished_study_is_timed_once_for_each_block(study, compared):
    flags = ("--method=cl_rw,stn", "--block=4", "--latency")
    before = {row.trial: row for row in results.read_table(study)}
    assert run(study.parent, *flags) == 0
    ((parent, student),) = compared
    assert student.count_params() < parent.count_params()
    rows = results.read_table(study)
    assert len(rows) == 2
    for row in rows:
        assert [getattr(row, name) for name in NAMES] == [0.0, 1.0, 2.0, 3.0]
        assert row.seconds == before[row.trial].seconds  # not trained again
        assert results.read_trial(results.trial_folder(study, *row.trial)).row == row
    assert run(study.parent, *flags) == 0
    assert len(compared) == 1


def test_without_the_flag_nothing_is_timed(study, compared):
    assert run(study.parent, "--method=cl_rw,stn", "--block=4") == 0
    assert compared == []
