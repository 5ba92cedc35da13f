import io

import pytest

from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.progress import Progress
from deep_net_triage.records.results import Epoch
from deep_net_triage.wording import duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def expected(name, epochs, phase="train"):
    return ExpectedTraining(name, (ExpectedPhase(phase, phase, epochs, 10.0),))


def ended(epoch, accuracy=0.5, phase="train"):
    return Epoch(
        phase=phase,
        epoch=epoch,
        loss=1.0,
        val_accuracy=accuracy,
        relative_error=0.25,
        seconds=1.0,
    )


def test_a_file_gets_a_line_an_epoch():
    stream = io.StringIO()
    progress = Progress(stream)
    name = "[1/2] block1 stn seed 0"
    progress.expect([expected(name, 3)])
    progress.epoch(name, ended(1, None, "distill"), of=1)
    progress.epoch(name, ended(1), of=3)
    progress.say("done")
    assert stream.getvalue().splitlines() == [
        # Three epochs of 10 s as estimated; then one took 1 s, and two are left.
        "[1/2] block1 stn seed 0  distill 1/1  relative error 0.250  30 s left",
        "[1/2] block1 stn seed 0  train 1/3  accuracy 0.5000  2 s left",
        "done",
    ]


def test_a_terminal_keeps_one_line():
    stream = Terminal()
    progress = Progress(stream)
    progress.expect([expected("parent", 3)])
    for epoch in (1, 2):
        progress.epoch("parent", ended(epoch), of=3)
    assert "\n" not in stream.getvalue()
    progress.say("parent: done")
    # Each line begins by wiping the one before; only what is said stays.
    assert stream.getvalue().split("\r\x1b[K")[-1] == "parent: done\n"
    assert stream.getvalue().count("\n") == 1


def test_a_line_is_cut_to_the_terminal_so_that_it_can_be_erased(monkeypatch):
    """The first row of a wrapped line would stay at each epoch."""
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    Progress(stream).epoch("[3/30] block1 stn seed 0", ended(1), of=3)
    drawn = stream.getvalue().split("\r\x1b[K")[-1]
    assert drawn == "[3/30] block1 stn seed 0  tra…"[:28] + "…"
    assert len(drawn) == 29


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (99, "99 s"),
        (100, "1.7 min"),
        (720, "12 min"),
        (3600, "60 min"),
        (9000, "2.5 h"),
        (4e5, "5 days"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
