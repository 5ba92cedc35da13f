import io

import pytest

from deep_net_triage.errors import WorkerEnded
from deep_net_triage.launchers.messages import Board, Messenger
from deep_net_triage.progress import Progress
from deep_net_triage.records.results import Epoch
from deep_net_triage.steps import Step
from tests.screens import Screen


def test_what_processes_tell_is_shown_in_one_place():
    stream = io.StringIO()
    board = Board(Progress(stream))
    one, other = (Messenger(board.show) for _ in range(2))
    for messenger in (one, other):
        messenger.say("digits: reading images")
        messenger.expect([])
    epoch = Epoch(phase="train", epoch=1, loss=1.0, val_accuracy=0.5, seconds=1.0)
    one.epoch("block1 cl_rw", epoch, 2)
    other.epoch("block2 cl_rw", epoch, 2)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "digits: reading images"
    assert lines[1].startswith("block1 cl_rw  train 1/2  accuracy 0.5000")
    assert lines[2].startswith("block2 cl_rw  train 1/2  accuracy 0.5000")
    assert len(lines) == 3


def test_each_process_has_its_row_until_it_ends(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    stream.isatty = lambda: True

    def rows():
        board.show(("say", ("said",)), process=9)
        seen = Screen(80).feed(stream.getvalue()).seen
        return [line[2:].split("  ")[0] for line in seen if "━" in line]

    with Progress(stream) as progress:
        board = Board(progress)
        one = Messenger(lambda message: board.show(message, 1))
        other = Messenger(lambda message: board.show(message, 2))
        one.step("[1/2] block1 stn", Step("train 1/2", 1, 4))
        other.step("[2/2] block2 stn", Step("train 1/2", 2, 4))
        assert rows() == ["study", "[1/2] block1 stn", "[2/2] block2 stn"]
        one.say("[1/2] block1 stn  accuracy 0.5000")
        board.ended(2, others=True)
        one.step("[3/3] block3 stn", Step("train 1/2", 1, 4))
        board.show(("say", ("again",)), process=9)
        assert rows() == ["study", "[3/3] block3 stn"]


def test_a_process_that_ends_early_says_why_if_others_go_on():
    said = io.StringIO()
    board = Board(Progress(said))
    for process, ending in ((1, ("out of memory", 1)), (2, ("--block=9 is not a block", 2))):
        Messenger(lambda message, process=process: board.show(message, process)).failed(ending)
        board.ended(process, others=True)
    board.ended(3, others=True)
    assert said.getvalue() == "process 1 ended (out of memory); the others go on\n"
    board.ended(1, others=False)
    assert said.getvalue().count("\n") == 1


def test_if_all_processes_fail_the_first_error_is_reported():
    board = Board(Progress(io.StringIO()))
    board.check(True, "unused")
    with pytest.raises(WorkerEnded, match="killed") as ended:
        board.check(False, "killed")
    assert ended.value.code == 1
    Messenger(board.show).failed(("out of memory", 1))
    Messenger(board.show).failed(("--block=9 is not a block", 2))
    board.check(True, "unused")
    with pytest.raises(WorkerEnded, match="out of memory") as ended:
        board.check(False, "killed")
    assert ended.value.code == 1
    # The next part of the study has processes of its own.
    board.begin()
    Messenger(board.show).failed(("the export failed", 1))
    with pytest.raises(WorkerEnded, match="the export failed"):
        board.check(False, "killed")
