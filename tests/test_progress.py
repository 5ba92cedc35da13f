import io

import pytest

from deep_net_triage import progress as progress_module
from deep_net_triage.progress import Progress
from deep_net_triage.records.results import Epoch
from deep_net_triage.wording import duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def ended(epoch, accuracy=0.5, phase="train"):
    return Epoch(
        phase=phase,
        epoch=epoch,
        loss=1.0,
        val_accuracy=accuracy,
        relative_error=0.25,
        seconds=1.0,
    )


def test_a_file_gets_a_line_an_epoch(clock):
    stream = io.StringIO()
    progress = Progress(stream)
    progress.expect(epochs=4)
    clock[0] = 10
    progress.epoch("[1/2] block1 stn seed 0", ended(1, None, "distill"), of=1)
    clock[0] = 30
    progress.epoch("[1/2] block1 stn seed 0", ended(1), of=3)
    progress.say("done")
    assert stream.getvalue().splitlines() == [
        # One epoch took 10 s, three are left; then two took 30 s, two are left.
        "[1/2] block1 stn seed 0  distill 1/1  relative error 0.250  30 s left",
        "[1/2] block1 stn seed 0  train 1/3  accuracy 0.5000  30 s left",
        "done",
    ]


def test_a_terminal_keeps_one_line(clock):
    stream = Terminal()
    progress = Progress(stream)
    progress.expect(epochs=3)
    for epoch in (1, 2):
        clock[0] += 1
        progress.epoch("parent", ended(epoch), of=3)
    assert "\n" not in stream.getvalue()
    progress.say("parent: done")
    # Each line begins by wiping the one before; only what is said stays.
    assert stream.getvalue().split("\r\x1b[K")[-1] == "parent: done\n"
    assert stream.getvalue().count("\n") == 1


def test_a_line_is_cut_to_the_terminal_so_that_it_can_be_erased(clock, monkeypatch):
    """The first row of a wrapped line would stay at each epoch."""
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    progress = Progress(stream)
    progress.expect(epochs=3)
    clock[0] += 1
    progress.epoch("[3/30] block1 stn seed 0", ended(1), of=3)
    drawn = stream.getvalue().split("\r\x1b[K")[-1]
    assert drawn == "[3/30] block1 stn seed 0  tra…"[:28] + "…"
    assert len(drawn) == 29


def test_a_failed_trial_takes_its_epochs_out_of_the_time_left(clock):
    stream = io.StringIO()
    progress = Progress(stream)
    progress.expect(epochs=11)
    clock[0] = 2
    progress.epoch("a", ended(1), of=6)
    progress.expect(epochs=5)
    clock[0] = 4
    progress.epoch("b", ended(1), of=5)
    assert stream.getvalue().splitlines()[-1].endswith("8 s left")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99, "99 s"), (100, "2 min"), (3600, "60 min"), (9000, "2.5 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
