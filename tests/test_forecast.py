import pytest

from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining, Forecast

PARENT = ExpectedTraining(
    "parent", (ExpectedPhase("parent", "train", 4, 10.0, 5.0),), alone=True
)


def trial(name, kind, epochs=2, seconds=4.0, tracing=0.0, around=0.0):
    return ExpectedTraining(
        name, (ExpectedPhase(kind, "train", epochs, seconds, tracing),), around
    )


def test_before_anything_has_run_the_estimates_count():
    forecast = Forecast()
    forecast.expect([PARENT, trial("a", "block1", around=3.0), trial("b", "block1")])
    # 4 * 10 + 5, then 2 * 4 + 3 and 2 * 4.
    assert forecast.left() == 45 + 11 + 8
    assert forecast.left_of("a") == 11


def test_trials_side_by_side_share_the_time_but_the_parent_is_alone():
    forecast = Forecast()
    forecast.expect([PARENT, trial("a", "x"), trial("b", "x"), trial("c", "x")], side_by_side=2)
    assert forecast.left() == 45 + 3 * 8 / 2
    # One long trial can't be divided.
    forecast.expect([trial("a", "x", epochs=10), trial("b", "y", epochs=1)], side_by_side=2)
    assert forecast.left() == 40


def test_what_is_trained_afterwards_is_left_until_its_time_has_passed(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    forecast = Forecast()
    forecast.expect([trial("a", "x")], afterwards=50.0)
    assert forecast.left() == 8 + 50
    forecast.epoch_ended("a", "train", 1, 4.0)
    forecast.ended("a", 8.0)
    assert forecast.left() == 50
    now[0] = 110.0
    forecast.afterwards(trial("step 1", "x"))
    assert forecast.left() == 50
    now[0] = 140.0
    forecast.afterwards(trial("step 2", "x"))
    assert forecast.left() == 20
    assert forecast.share() == 40 / 60
    # It takes longer than was estimated: what runs now is left at least.
    now[0] = 170.0
    assert forecast.left() == 8
    # All of it has ended, perhaps early; another study begins anew.
    forecast.expect([])
    assert forecast.left() == 0
    forecast.expect([trial("a", "x")], afterwards=50.0)
    assert forecast.left() == 8 + 50


def test_before_any_epoch_what_is_trained_afterwards_is_left_as_estimated(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    forecast = Forecast()
    forecast.expect([], afterwards=50.0)
    forecast.afterwards(trial("step 1", "of unknown length", seconds=None))
    now[0] = 110.0
    assert forecast.left() == 40
    now[0] = 150.0
    assert forecast.left() is None
    forecast.epoch_ended("step 1", "train", 1, 30.0)
    assert forecast.left() == 30


def test_the_first_epoch_corrects_the_estimates_of_all_kinds():
    forecast = Forecast()
    forecast.expect([PARENT, trial("a", "block1")])
    forecast.epoch_ended("parent", "train", 1, 30.0)
    # With tracing 10 + 5 s were expected. It took twice as long, and so will the other epochs.
    assert forecast.left() == 3 * 20 + 2 * 8


def test_short_epochs_correct_no_more_of_a_long_one_than_they_should_have_taken():
    forecast = Forecast()
    distil = ExpectedPhase("distil", "distill", 2, 1.0)
    forecast.expect([ExpectedTraining("a", (distil, ExpectedPhase("x", "train", 1, 50.0)))])
    forecast.epoch_ended("a", "distill", 1, 10.0)
    forecast.epoch_ended("a", "distill", 2, 10.0)
    # Ten times as long as the second that was estimated; the other 49 are taken as they were.
    assert forecast.left() == pytest.approx(10 + 49)


def test_a_kind_takes_the_mean_of_its_epochs_without_those_that_traced():
    forecast = Forecast()
    forecast.expect(
        [trial("a", "block1", 3, tracing=1.0), trial("b", "block1", 2), trial("c", "y", 1)]
    )
    for epoch, seconds in ((1, 90.0), (2, 6.0), (3, 10.0)):
        forecast.epoch_ended("a", "train", epoch, seconds)
    forecast.ended("a", 106.0)
    # Two epochs of 8 s; the other kind, of 4 s by its estimate, is twice as slow as well.
    assert forecast.left_of("b") == 16
    assert forecast.left() == 16 + 8


def test_what_is_around_epochs_is_corrected_by_trials_that_ended():
    forecast = Forecast()
    forecast.expect([trial("a", "x", 1, around=2.0), trial("b", "x", 1, around=2.0)])
    forecast.epoch_ended("a", "train", 1, 4.0)
    forecast.ended("a", 4.0 + 6.0)
    assert forecast.left() == 4 + 6


def test_an_unfinished_epoch_counts_by_its_share():
    forecast = Forecast()
    forecast.expect([trial("a", "x", 2, seconds=8.0)])
    forecast.stepped("a", "train", 2, 0.75)
    assert forecast.left() == 2


def test_epochs_of_an_earlier_command_are_not_left():
    distil = ExpectedPhase("distil", "distill", 2, 3.0, tracing=1.0)
    train = ExpectedPhase("train", "train", 4, 10.0, tracing=5.0)
    whole = ExpectedTraining("a", (distil, train), around=2.0)
    assert whole.seconds == whole.after(0).seconds == 2 + (1 + 2 * 3) + (5 + 4 * 10)
    assert whole.after(1).seconds == 2 + (1 + 3) + (5 + 4 * 10)
    assert whole.after(3).seconds == 2 + (5 + 3 * 10)
    assert whole.after(6).seconds == 2
    forecast = Forecast()
    forecast.expect([whole.after(3)])
    assert forecast.left() == 2 + (5 + 3 * 10)
    forecast.stepped("a", "train", 2, 0.5)
    assert forecast.left() == 2 + 2.5 * 10
    forecast.epoch_ended("a", "train", 2, 15.0)
    assert forecast.left() == 2 + 2 * 10


def test_trainings_that_ended_elsewhere_are_dropped():
    forecast = Forecast()
    forecast.expect([trial(name, "x") for name in "abc"], side_by_side=3)
    forecast.keep(["b", "unheard of"])
    assert forecast.left() == 8
    forecast.ended("b", 8.0)
    assert forecast.left() == 0


@pytest.mark.parametrize("seen", [False, True])
def test_without_an_estimate_the_epochs_of_other_kinds_count(seen):
    forecast = Forecast()
    forecast.expect([trial("a", "x", 3, seconds=None)])
    assert forecast.left() is None
    if seen:
        forecast.epoch_ended("a", "train", 1, 7.0)
        assert forecast.left() == 14
