import gc
import os
import subprocess
import sys

import numpy as np
import pytest

from deep_net_triage.learning.rows import Room

KIB = 2**10


def test_memory_first_then_disk_then_nothing(tmp_path):
    room = Room(tmp_path, memory=10 * KIB, disk=20 * KIB)
    in_memory = room.take((2, KIB), "float32")  # 8 KiB
    assert (room.memory, room.disk) == (2 * KIB, 20 * KIB)
    on_disk = room.take((4, KIB), "float32")
    assert (room.memory, room.disk) == (2 * KIB, 4 * KIB)
    assert room.take((2, KIB), "float32") is None
    assert room.take((1, KIB), "float16") is not None  # the last 2 KiB of memory
    for rows in (in_memory, on_disk):
        rows[:] = np.arange(len(rows))[:, None]
        assert rows.sum() == KIB * sum(range(len(rows)))


def test_what_nobody_uses_any_more_is_given_back(tmp_path):
    room = Room(tmp_path, memory=4 * KIB, disk=4 * KIB)
    first, second = (room.take((1, KIB), "float32") for _ in range(2))
    part = first[:1, :5]
    del first
    gc.collect()
    assert (room.memory, room.disk) == (0, 0)  # a part of it is still in use
    del part, second
    gc.collect()
    assert (room.memory, room.disk) == (4 * KIB, 4 * KIB)


def test_a_file_has_no_name_and_is_gone_with_its_process(tmp_path):
    room = Room(tmp_path, memory=0, disk=KIB)
    rows = room.take((KIB,), "uint8")
    rows[:] = 7
    assert not list(tmp_path.iterdir())
    script = f"""
import os, signal
from pathlib import Path
from deep_net_triage.learning.rows import Room
rows = Room(Path({str(tmp_path)!r}), memory=0, disk=1024).take((1024,), "uint8")
rows[:] = 1
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_fuller_than_it_said_is_no_room(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    room = Room(tmp_path, memory=0, disk=KIB)
    assert room.take((KIB,), "uint8") is None
    assert room.disk == KIB
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_no_room(tmp_path):
    folder = tmp_path / "gone"
    assert Room(folder, memory=0, disk=KIB).take((KIB,), "uint8") is None


def test_a_quarter_of_what_is_free_by_default(tmp_path):
    import psutil

    room = Room(tmp_path)
    assert room.memory == pytest.approx(psutil.virtual_memory().available / 4, rel=0.2)
    disk = os.statvfs(tmp_path)
    assert room.disk == pytest.approx(disk.f_bavail * disk.f_frsize / 4, rel=0.2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_numbers_come_back_as_the_type_holds_them(dtype, tmp_path):
    rows = Room(tmp_path, memory=KIB, disk=0).take((3,), dtype)
    rows[:] = [0.5, -2.0, 96.0]
    assert rows.astype(float).tolist() == [0.5, -2.0, 96.0]
