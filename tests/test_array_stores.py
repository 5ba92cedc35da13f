import dataclasses
import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from deep_net_triage.commands.settings import GIB
from deep_net_triage.learning import array_stores
from deep_net_triage.learning.array_stores import ArrayStore, SharedArrayStore

KIB = 2**10


def filled_with(number, calls=None):
    def fill(rows):
        if calls is not None:
            calls.append(number)
        rows[:] = number
        return True

    return fill


def kept(store, name, size, dtype="uint8", fill=None):
    return store.get_or_fill(name, (size,), dtype, fill or filled_with(1))


def test_a_store_has_the_room_that_the_settings_give_it(small_settings, tmp_path):
    settings = small_settings(activation_memory=0.5, activation_disk=0.25)
    settings = dataclasses.replace(settings, activation_dir=tmp_path)
    own = array_stores.of_command(settings, None)
    assert (own.folder, own.memory, own.disk) == (tmp_path, GIB // 2, GIB // 4)
    shared = array_stores.of_command(settings, tmp_path / "shared")
    assert isinstance(shared, SharedArrayStore)
    assert (shared.folder, shared.disk) == (tmp_path / "shared", GIB // 4)


def test_memory_first_then_disk_then_nothing(tmp_path):
    store = ArrayStore(tmp_path, memory=10 * KIB, disk=20 * KIB)

    def number_the_rows(rows):
        rows[:] = np.arange(len(rows))[:, None]
        return True

    in_memory = store.get_or_fill("a", (2, KIB), "float32", number_the_rows)  # 8 KiB
    assert (store.memory, store.disk) == (2 * KIB, 20 * KIB)
    on_disk = store.get_or_fill("b", (4, KIB), "float32", number_the_rows)
    assert (store.memory, store.disk) == (2 * KIB, 4 * KIB)
    assert kept(store, "c", 2 * KIB, "float32") is None
    assert kept(store, "d", KIB, "float16") is not None  # the last 2 KiB of memory
    for rows in (in_memory, on_disk):
        assert rows.sum() == KIB * sum(range(len(rows)))


def test_an_array_is_filled_once(tmp_path):
    store, calls = ArrayStore(tmp_path, memory=KIB, disk=0), []
    assert store.get("a", (4,), "uint8") is None
    assert not store.holds("a")
    first = kept(store, "a", 4, fill=filled_with(1, calls))
    assert store.holds("a")
    assert kept(store, "a", 4, fill=filled_with(2, calls)) is first
    assert store.get("a", (4,), "uint8") is first
    assert calls == [1]


def test_what_the_store_discarded_is_free_once_nobody_uses_it(tmp_path):
    store = ArrayStore(tmp_path, memory=4 * KIB, disk=4 * KIB)
    first, second = (kept(store, name, KIB, "float32") for name in "ab")
    part = first[:1]
    store.discard("a")
    del first
    gc.collect()
    assert (store.memory, store.disk) == (0, 0)  # a part of it is still in use
    del part, second
    gc.collect()
    assert (store.memory, store.disk) == (4 * KIB, 0)  # the store itself holds the second
    store.discard("b")
    gc.collect()
    assert (store.memory, store.disk) == (4 * KIB, 4 * KIB)


def test_what_was_refused_stays_refused(tmp_path):
    """Else a study would compute it in one step where an interrupted one took two."""
    store, calls = ArrayStore(tmp_path, memory=KIB, disk=0), []
    assert kept(store, "a", KIB) is not None
    assert kept(store, "b", KIB, fill=filled_with(1, calls)) is None
    store.discard("a")
    gc.collect()
    assert store.memory == KIB
    assert store.refused("b")
    assert kept(store, "b", KIB, fill=filled_with(1, calls)) is None
    assert kept(store, "c", KIB, fill=lambda rows: False) is None
    assert store.refused("c")
    assert not store.refused("a")
    assert calls == []


def test_a_file_has_no_name_and_is_gone_with_its_process(tmp_path):
    store = ArrayStore(tmp_path, memory=0, disk=KIB)
    rows = kept(store, "a", KIB)
    assert rows.sum() == KIB
    assert not list(tmp_path.iterdir())
    script = f"""
import os, signal
from pathlib import Path
from deep_net_triage.learning.array_stores import ArrayStore
store = ArrayStore(Path({str(tmp_path)!r}), memory=0, disk=1024)
store.get_or_fill("a", (1024,), "uint8", lambda rows: os.kill(os.getpid(), signal.SIGKILL))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [ArrayStore, SharedArrayStore])
def test_a_disk_that_is_fuller_than_it_said_is_no_room(kind, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    store = (
        ArrayStore(tmp_path, memory=0, disk=KIB)
        if kind is ArrayStore
        else SharedArrayStore(tmp_path, KIB)
    )
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert kept(store, "a", KIB) is None
    assert store.disk == KIB
    assert [file for file in tmp_path.iterdir() if file.suffix not in (".none", ".lock")] == []


def test_a_folder_that_is_gone_is_no_room(tmp_path):
    assert kept(ArrayStore(tmp_path / "gone", memory=0, disk=KIB), "a", KIB) is None


def test_a_quarter_of_what_is_free_by_default(tmp_path):
    import psutil

    store = ArrayStore(tmp_path)
    assert store.memory == pytest.approx(psutil.virtual_memory().available / 4, rel=0.2)
    disk = os.statvfs(tmp_path)
    for each in (store, SharedArrayStore(tmp_path)):
        assert each.disk == pytest.approx(disk.f_bavail * disk.f_frsize / 4, rel=0.2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_numbers_come_back_as_the_type_holds_them(dtype, tmp_path):
    def fill(rows):
        rows[:] = [0.5, -2.0, 96.0]
        return True

    for store in (ArrayStore(tmp_path, memory=KIB, disk=0), SharedArrayStore(tmp_path, KIB)):
        rows = kept(store, "a", 3, dtype, fill)
        assert rows.astype(float).tolist() == [0.5, -2.0, 96.0]


def test_the_first_process_fills_and_all_read_the_same(tmp_path):
    calls = []
    first, second = SharedArrayStore(tmp_path), SharedArrayStore(tmp_path)
    rows = first.get_or_fill("a", (3, 2), "float32", filled_with(1, calls))
    again = second.get_or_fill("a", (3, 2), "float32", filled_with(2, calls))
    found = second.get("a", (3, 2), "float32")
    assert calls == [1]
    for array in (rows, again, found):
        np.testing.assert_array_equal(array, np.ones((3, 2), np.float32))
        assert not array.flags.writeable
    assert [file.name for file in tmp_path.iterdir()] == ["a.rows"]


def test_others_wait_until_it_is_filled(tmp_path):
    begun, may_end, found = threading.Event(), threading.Event(), []

    def slowly(rows):
        begun.set()
        assert may_end.wait(10)
        rows[:] = 5
        return True

    def work(fill):
        found.append(kept(SharedArrayStore(tmp_path), "a", 4, "float32", fill).tolist())

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


def test_what_one_process_has_no_room_for_is_refused_to_all(tmp_path):
    calls = []
    small = SharedArrayStore(tmp_path, disk=3 * KIB)
    assert kept(small, "a", 2 * KIB, fill=filled_with(1, calls)) is not None
    assert kept(small, "b", 2 * KIB, fill=filled_with(1, calls)) is None
    large = SharedArrayStore(tmp_path, disk=KIB * KIB)
    assert large.refused("b")
    assert kept(large, "b", 2 * KIB, fill=filled_with(1, calls)) is None
    assert kept(large, "c", 2 * KIB, fill=filled_with(1, calls)) is not None
    small.discard("a")  # and it stays so when there is room
    assert kept(small, "b", 2 * KIB, fill=filled_with(1, calls)) is None
    assert calls == [1, 1]


def test_what_can_not_be_filled_leaves_nothing_half_done(tmp_path):
    assert kept(SharedArrayStore(tmp_path), "a", 4, "float16", lambda rows: False) is None
    assert [file.name for file in tmp_path.iterdir()] == ["a.none"]


def test_discarding_makes_room_for_other_arrays_in_all_processes(tmp_path):
    first, second = (SharedArrayStore(tmp_path, disk=2 * KIB) for _ in range(2))
    rows = kept(first, "a", 2 * KIB)
    second.discard("a")
    second.discard("a")  # which is gone already
    second.discard("never there")
    assert not first.holds("a")
    assert first.get("a", (2 * KIB,), "uint8") is None
    assert kept(first, "b", 2 * KIB, fill=filled_with(2)) is not None
    assert rows.sum() == 2 * KIB  # who has it can still read it
    # Needed once more, it is made once more, whatever the limit, and never refused.
    assert kept(second, "a", 2 * KIB, fill=filled_with(3)).sum() == 6 * KIB
    assert kept(first, "a", 2 * KIB).sum() == 6 * KIB
    assert kept(first, "c", 1) is None
