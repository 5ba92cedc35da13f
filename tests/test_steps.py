import pytest

from deep_net_triage import steps
from deep_net_triage.steps import Reporter, Step


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(steps.time, "monotonic", lambda: now[0])
    return now


def test_reports_are_half_a_second_apart_and_the_loss_is_read_for_them_alone(clock):
    reports, read = [], []

    def loss():
        read.append(clock[0])
        return 2.5

    reporter = Reporter(reports.append)
    reporter.begin(Step("train 1/2", of=40))
    for step in range(40):
        reporter.reached(step, 8 * step, loss=loss, share=step / 40)
        clock[0] += 0.125
    # A short epoch begins right after a report.
    clock[0] -= 0.125
    reporter.begin(Step("train 2/2", of=40))
    assert [report.done for report in reports] == list(range(0, 40, 4))
    assert {report.work for report in reports} == {"train 1/2"}
    assert len(read) == len(reports) - 1  # there is none before the first step
    assert (reports[0].loss, reports[1].loss) == (None, 2.5)
    assert [report.share for report in reports[:3]] == [0, 0.1, 0.2]


def test_the_first_step_does_not_count_for_the_rate_because_it_is_traced(clock):
    reports = []
    reporter = Reporter(reports.append)
    reporter.begin(Step("train 1/2", of=40))
    clock[0] += 30  # tracing
    reporter.reached(1, 8)
    clock[0] += 2
    reporter.reached(3, 24)
    assert [report.images_per_second for report in reports] == [None, None, 8]
    # Another piece of work has a rate of its own.
    reporter.begin(Step("test 1/2", of=4))
    clock[0] += 10
    reporter.reached(1, 8)
    assert reports[-1].images_per_second is None
