import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from deep_net_triage.errors import LockLost
from deep_net_triage.records import locks, processes
from deep_net_triage.records.locks import Lock
from tests.conftest import REPOSITORY


def held_by_another(file, then="time.sleep(60)"):
    """A process that holds a lock."""
    script = f"""
import time
from pathlib import Path
from deep_net_triage.records.locks import Lock
with Lock(Path({str(file)!r})):
    print("held", flush=True)
    {then}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout.readline() == "held\n"
    return process


def write(file, silent_for=0.0, **changes):
    """A lock of this process, or of one that differs from it."""
    process = dataclasses.asdict(dataclasses.replace(processes.current(), **changes))
    file.write_text(json.dumps({**process, "token": "another"}))
    os.utime(file, (time.time() - silent_for,) * 2)


def test_one_process_holds_it_and_others_read_who(tmp_path):
    file = tmp_path / "trial.lock"
    process = held_by_another(file)
    name = f"process {process.pid} on "
    with Lock(file) as lock:
        assert lock.holder.startswith(name)
    assert locks.holder(file).startswith(name)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Known to have ended, on this machine: nobody waits a minute.
    assert locks.holder(file) is None
    with Lock(file) as lock:
        assert lock.holder is None
        lock.check()
        assert str(os.getpid()) in locks.holder(file)
    assert list(tmp_path.iterdir()) == []


def test_within_a_process_it_is_exclusive_too(tmp_path):
    with Lock(tmp_path / "a.lock") as first, Lock(tmp_path / "a.lock") as second:
        assert first.holder is None
        assert second.holder == str(processes.current())
    assert not (tmp_path / "a.lock").exists()


@pytest.mark.parametrize(
    ("silent_for", "changes", "lost"),
    [
        (0, {}, False),
        (61, {}, False),  # busy or suspended, but there
        (50, {"machine": "elsewhere"}, False),
        (61, {"machine": "elsewhere"}, True),
        (0, {"machine": "elsewhere", "number": 2**22 + 1}, False),  # nobody can look there
        (0, {"number": 2**22 + 1}, True),  # beyond the largest number of a Linux process
        (0, {"started": 1.0}, True),  # its number was given to another since
    ],
)
def test_who_has_lost_it(silent_for, changes, lost, tmp_path):
    file = tmp_path / "trial.lock"
    write(file, silent_for, **changes)
    assert (locks.holder(file) is None) == lost
    with Lock(file) as lock:
        assert (lock.holder is None) == lost
    assert file.exists() != lost


def test_a_damaged_lock_is_held_until_it_is_silent(tmp_path):
    file = tmp_path / "trial.lock"
    file.write_bytes(b"\xff{")
    with Lock(file) as lock:
        assert lock.holder == "an unknown process"
    os.utime(file, (time.time() - 61,) * 2)
    with Lock(file) as lock:
        assert lock.holder is None


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT", 0.05)
    with Lock(tmp_path / "a.lock"):
        os.utime(tmp_path / "a.lock", (0, 0))
        deadline = time.time() + 10
        while (tmp_path / "a.lock").stat().st_mtime < 1 and time.time() < deadline:
            time.sleep(0.01)
        assert time.time() - (tmp_path / "a.lock").stat().st_mtime < 10


def test_who_was_away_finds_out_and_leaves_the_lock_to_its_new_holder(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT", 0.05)
    file = tmp_path / "a.lock"
    with Lock(file) as lock:
        lock.check()
        write(file, silent_for=30, machine="elsewhere")
        changed = file.stat().st_mtime
        time.sleep(0.2)
        assert file.stat().st_mtime == changed  # no heartbeat for another
        with pytest.raises(LockLost, match=r"a\.lock was taken over"):
            lock.check()
    assert file.exists()


def test_of_two_that_find_it_dead_one_gets_it(tmp_path, monkeypatch):
    file = tmp_path / "a.lock"
    write(file, silent_for=61, machine="elsewhere")
    sleep = time.sleep

    def another_is_a_moment_later(seconds):
        write(file, host="elsewhere", machine="elsewhere")
        sleep(0)

    monkeypatch.setattr(locks.time, "sleep", another_is_a_moment_later)
    with Lock(file) as lock:
        assert lock.holder == f"process {os.getpid()} on elsewhere"
    assert file.exists()


def test_waiting_ends_when_the_lock_is_given_back(tmp_path):
    file = tmp_path / "a.lock"
    process = held_by_another(file, "input()")
    told = []

    def give_back(holder):
        told.append(holder)
        process.communicate("\n")

    with locks.waiting(file, give_back) as lock:
        assert process.returncode == 0
        assert lock.holder is None
    assert told == [f"process {process.pid} on {processes.current().host}"]


def test_many_processes_never_hold_it_at_once(tmp_path):
    script = f"""
import os, sys
from pathlib import Path
from deep_net_triage.records import locks
folder = Path({str(tmp_path)!r})
for _ in range(30):
    with locks.waiting(folder / "a.lock"):
        os.mkdir(folder / "alone")
        count = int((folder / "count").read_text()) + 1
        (folder / "count").write_text(str(count))
        os.rmdir(folder / "alone")
"""
    (tmp_path / "count").write_text("0")
    script = script.replace(
        "locks.waiting", "(setattr(locks, 'RETRY', 0.001) or locks.waiting)"
    )
    crowd = [subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY) for _ in range(4)]
    assert [process.wait() for process in crowd] == [0] * 4
    assert (tmp_path / "count").read_text() == "120"


def test_a_clock_that_is_set_kills_nobody(monkeypatch):
    me = processes.current()
    for boot in (psutil.boot_time() + 3600, psutil.boot_time() - 1):
        monkeypatch.setattr(psutil._pslinux, "boot_time", lambda boot=boot: boot)
        assert not me.is_gone()


def test_without_hard_links_it_is_a_lock_all_the_same(tmp_path, monkeypatch):
    def no_links(*names):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(locks.os, "link", no_links)
    with Lock(tmp_path / "a.lock") as first, Lock(tmp_path / "a.lock") as second:
        assert first.holder is None
        assert second.holder == str(processes.current())
    assert list(tmp_path.iterdir()) == []
