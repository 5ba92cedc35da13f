import threading

import numpy as np

from deep_net_triage.learning.shared_rows import SharedRoom

KIB = 1024


def filled_with(number, calls):
    def fill(rows):
        calls.append(number)
        rows[:] = number
        return True

    return fill


def test_the_first_fills_and_all_read_the_same(tmp_path):
    calls = []
    first, second = SharedRoom(tmp_path), SharedRoom(tmp_path)
    kept = first.kept("a", (3, 2), "float32", filled_with(1, calls))
    again = second.kept("a", (3, 2), "float32", filled_with(2, calls))
    assert calls == [1]
    for rows in (kept, again):
        np.testing.assert_array_equal(rows, np.ones((3, 2), np.float32))
        assert not rows.flags.writeable
    assert [file.name for file in tmp_path.iterdir()] == ["a.rows"]


def test_others_wait_until_it_is_filled(tmp_path):
    begun, may_end, found = threading.Event(), threading.Event(), []

    def slowly(rows):
        begun.set()
        assert may_end.wait(10)
        rows[:] = 5
        return True

    def work(fill):
        rows = SharedRoom(tmp_path).kept("a", (4,), "float32", fill)
        found.append(rows.tolist())

    calls = []
    first = threading.Thread(target=work, args=(slowly,))
    first.start()
    assert begun.wait(10)
    second = threading.Thread(target=work, args=(filled_with(7, calls),))
    second.start()
    second.join(1)
    assert found == []
    may_end.set()
    first.join(10)
    second.join(10)
    assert found == [[5.0] * 4] * 2
    assert calls == []


def test_what_one_has_no_room_for_the_others_do_not_keep_either(tmp_path):
    calls = []
    small = SharedRoom(tmp_path, disk=3 * KIB)
    assert small.kept("a", (2 * KIB,), "uint8", filled_with(1, calls)) is not None
    assert small.kept("b", (2 * KIB,), "uint8", filled_with(1, calls)) is None
    large = SharedRoom(tmp_path, disk=KIB * KIB)
    assert large.kept("b", (2 * KIB,), "uint8", filled_with(1, calls)) is None
    assert large.kept("c", (2 * KIB,), "uint8", filled_with(1, calls)) is not None
    assert calls == [1, 1]


def test_what_can_not_be_filled_leaves_nothing_half_done(tmp_path):
    room = SharedRoom(tmp_path)
    assert room.kept("a", (4,), "float16", lambda rows: False) is None
    assert [file.name for file in tmp_path.iterdir()] == ["a.none"]
