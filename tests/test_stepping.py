import numpy as np
import pytest

from deep_net_triage import steps
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.learning import training, whole_network
from tests.conftest import new_journal
from tests.toys import compiled, toy_parent


@pytest.fixture
def each_step(monkeypatch):
    monkeypatch.setattr(steps, "SECONDS_BETWEEN_REPORTS", 0)


def train(dataset, settings):
    """A parent after its training, and the journal."""
    parent, journal = toy_parent(), new_journal()
    whole_network.train_parent(parent, dataset, settings, journal)
    return parent, journal


@pytest.mark.usefixtures("each_step")
def test_steps_of_epochs_and_of_their_evaluations_are_reported(toy_dataset, small_settings):
    _, journal = train(toy_dataset, small_settings(parent_epochs=2))
    reports = journal.watch.steps
    # 27 and 10 images in batches of 8; the first report of each kind comes before any step.
    expected = []
    for epoch in (1, 2):
        expected += [(f"train {epoch}/2", done, 4, done / 4) for done in (0, 0, 1, 2, 3)]
        expected += [(f"test {epoch}/2", done, 2, 1) for done in (0, 0, 1)]
    assert [(step.work, step.done, step.of, step.share) for step in reports] == expected
    assert [step.epoch for step in reports] == 8 * [1] + 8 * [2]
    assert {step.phase for step in reports} == {"train"}


@pytest.mark.usefixtures("each_step")
def test_the_loss_of_a_report_is_the_mean_so_far(small_settings):
    """If all images are equal, the first of two steps is an epoch of one step."""

    def dataset(count):
        images = np.repeat(np.arange(128, dtype=np.uint8).reshape(1, 8, 8, 2), count, 0)
        split = Split(images, np.ones(count, np.int32))
        return Dataset("equal", split, split, ("a", "b", "c"))

    settings = small_settings(parent_epochs=1)
    (alone,) = train(dataset(8), settings)[1].epochs
    reports = train(dataset(16), settings)[1].watch.steps
    assert [step.loss for step in reports if step.loss is not None] == [
        pytest.approx(alone.loss, rel=1e-6)
    ]


def test_reports_change_no_number(toy_dataset, small_settings, monkeypatch):
    settings = small_settings(parent_epochs=2, dropout=0.5)
    rarely = train(toy_dataset, settings)
    monkeypatch.setattr(steps, "SECONDS_BETWEEN_REPORTS", 0)
    often = train(toy_dataset, settings)
    assert len(often[1].watch.steps) > len(rarely[1].watch.steps)
    for one, other in zip(rarely[0].weights, often[0].weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    numbers = [
        [(epoch.loss, epoch.accuracy, epoch.val_loss) for epoch in journal.epochs]
        for _, journal in (rarely, often)
    ]
    assert numbers[0] == numbers[1]


@pytest.mark.usefixtures("each_step")
def test_an_evaluation_alone_is_reported(toy_dataset, small_settings):
    reports = []
    learner = compiled(toy_parent(), small_settings())
    test = toy_dataset.test
    training.evaluate(learner, test.images, test.labels, 4, reports.append)
    assert [(step.work, step.done, step.of) for step in reports] == [
        ("testing", done, 3) for done in (0, 0, 1, 2)
    ]
    assert {step.phase for step in reports} == {""}
