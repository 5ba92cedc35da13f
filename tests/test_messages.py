import io

import pytest

from deep_net_triage.errors import WorkerEnded
from deep_net_triage.launchers.messages import Board, Messenger
from deep_net_triage.progress import Progress
from deep_net_triage.records.results import Epoch


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


def test_a_part_that_none_ended_well_ends_with_what_the_first_said():
    board = Board(Progress(io.StringIO()))
    board.check(True, "unused")
    with pytest.raises(WorkerEnded, match="killed") as ended:
        board.check(False, "killed")
    assert ended.value.code == 1
    Messenger(board.show).failed(("out of memory", 1))
    Messenger(board.show).failed(("--block=9 is no block", 2))
    board.check(True, "unused")
    with pytest.raises(WorkerEnded, match="out of memory") as ended:
        board.check(False, "killed")
    assert ended.value.code == 1
