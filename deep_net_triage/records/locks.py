"""A lock that one process holds, others can read, and a dead one loses.

It is a file: any number of machines may share the folder, as long as their clocks agree to
within half a minute.

1. Whoever makes the file holds the lock. It says which process that is.
2. Its time of change is the holder's heartbeat, every ten seconds.
3. A holder on another machine that has had no heartbeat for a minute has lost the lock. One on
   this machine has lost it when it has ended, at once. Whoever finds it so puts a file of his
   own in its place.
4. Where two do so at the same time the later one counts, so that each waits a moment and looks
   whose it is.
5. A holder that was away for so long that another took over finds out when it asks, which it
   does before it writes anything.
"""

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from deep_net_triage.errors import LockLost
from deep_net_triage.records import files, processes
from deep_net_triage.records.processes import Process

HEARTBEAT = 10.0  # seconds
DEAD_AFTER = 60.0
SETTLING = 0.3
RETRY = 0.5


class Lock:
    """The right to work on one thing, for as long as a `with` lasts.

    Attributes:
        file: where the lock is; its folder has to exist.
        holder: another process that holds it; None where it is ours.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._mine = json.dumps({**asdict(processes.current()), "token": uuid.uuid4().hex})
        self._ended = threading.Event()
        self.holder: str | None = None

    def __enter__(self) -> "Lock":
        """Takes the lock where that is possible; `holder` says whether it was."""
        self.holder = self._make()
        if self.holder is None:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Lets others have the lock."""
        self._ended.set()
        if self.holder is None and _read(self.file) == self._mine:
            self.file.unlink(missing_ok=True)

    def check(self) -> None:
        """Makes sure that the lock is still held.

        Raises:
            LockLost: if another process has taken it over.
        """
        if _read(self.file) != self._mine:
            raise LockLost(f"{self.file} was taken over by another process")

    def _make(self) -> str | None:
        written = files.unfinished_name(self.file)
        written.write_text(self._mine, encoding="utf-8")
        try:
            while True:
                with contextlib.suppress(FileExistsError):
                    _publish(written, self.file)
                    return None
                holder = _read(self.file)
                if holder is None:
                    continue  # given back since
                if not _is_dead(holder, self.file):
                    return _name(holder)
                os.replace(written, self.file)
                time.sleep(SETTLING)
                holder = _read(self.file)
                return None if holder == self._mine else _name(holder)
        finally:
            written.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            # A lock that another has taken over must not be kept alive for him.
            with contextlib.suppress(OSError):
                if _read(self.file) == self._mine:
                    os.utime(self.file)


@contextlib.contextmanager
def waiting(
    file: Path, waits_for: Callable[[str], None] = lambda holder: None
) -> Iterator[Lock]:
    """Yields a lock that is ours, as soon as it is.

    Args:
        file: where the lock is.
        waits_for: is told who holds it, once.
    """
    told = False
    while True:
        with Lock(file) as lock:
            if lock.holder is None:
                yield lock
                return
        if not told:
            waits_for(lock.holder)
            told = True
        time.sleep(RETRY)


def holder(file: Path) -> str | None:
    """Returns who holds the lock in a file; None if nobody does."""
    text = _read(file)
    return None if text is None or _is_dead(text, file) else _name(text)


def _publish(written: Path, file: Path) -> None:
    """Gives a file its name if nothing has it yet; raises FileExistsError otherwise."""
    try:
        os.link(written, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: a moment of emptiness has to do
        with file.open("x", encoding="utf-8") as lock:
            lock.write(written.read_text(encoding="utf-8"))


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _process(text: str) -> Process | None:
    """Returns the holder; None where the file is damaged."""
    try:
        told = json.loads(text)
        del told["token"]
        return Process(**told)
    except (ValueError, TypeError, KeyError):
        return None


def _name(text: str | None) -> str:
    return str(_process(text or "") or "an unknown process")


def _is_dead(text: str, file: Path) -> bool:
    process = _process(text)
    if process and process.is_here():
        return process.is_gone()
    try:
        silent = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return True
    return silent > DEAD_AFTER
