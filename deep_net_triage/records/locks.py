"""A lock file that one process holds, and that others may take over once the holder is dead.

Any number of machines may share the folder, if their clocks agree to within half a minute.

1. The process that creates the file holds the lock. The file names that process.
2. The holder updates the file's modification time every ten seconds, as a heartbeat.
3. A holder on this machine loses the lock as soon as it ends. A holder on another machine loses
   it after a minute without a heartbeat. Any other process may then replace the file.
4. If two processes replace the file at the same time, the later one wins. Each waits a moment
   and reads the file to learn which one did.
5. A holder that was suspended so long that another process took over learns so from `check`,
   which it calls before it writes anything.
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

# In seconds.
HEARTBEAT = 10.0
DEAD_AFTER = 60.0
SETTLING = 0.3
RETRY = 0.5


class Lock:
    """A context manager that tries once to take a lock, and releases it at the end.

    Attributes:
        file: the lock file; its folder must exist.
        holder: the other process that holds the lock; None if this one does.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._mine = json.dumps({**asdict(processes.current()), "token": uuid.uuid4().hex})
        self._ended = threading.Event()
        self.holder: str | None = None

    def __enter__(self) -> "Lock":
        """Takes the lock if it is free, and sets `holder`."""
        self.holder = self._take()
        if self.holder is None:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Releases the lock if this process holds it."""
        self._ended.set()
        if self.holder is None and _read(self.file) == self._mine:
            self.file.unlink(missing_ok=True)

    def check(self) -> None:
        """Raises LockLost if another process has taken the lock over."""
        if _read(self.file) != self._mine:
            raise LockLost(f"{self.file} was taken over by another process")

    def _take(self) -> str | None:
        """Takes the lock and returns None, or returns the name of its holder."""
        written = files.unfinished_name(self.file)
        written.write_text(self._mine, encoding="utf-8")
        try:
            while True:
                with contextlib.suppress(FileExistsError):
                    _publish(written, self.file)
                    return None
                holder = _read(self.file)
                if holder is None:
                    continue  # released in the meantime
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
            # No heartbeat for a lock that another process has taken over.
            with contextlib.suppress(OSError):
                if _read(self.file) == self._mine:
                    os.utime(self.file)


@contextlib.contextmanager
def waiting(
    file: Path, waits_for: Callable[[str], None] = lambda holder: None
) -> Iterator[Lock]:
    """Waits for a lock, and yields it once this process holds it.

    Args:
        file: the lock file.
        waits_for: is called once with the holder's name if this process has to wait.
    """
    announced = False
    while True:
        with Lock(file) as lock:
            if lock.holder is None:
                yield lock
                return
        if not announced:
            waits_for(lock.holder)
            announced = True
        time.sleep(RETRY)


def holder(file: Path) -> str | None:
    """Returns the name of the process that holds a lock file; None if no process does."""
    text = _read(file)
    return None if text is None or _is_dead(text, file) else _name(text)


def _publish(written: Path, file: Path) -> None:
    """Creates `file` with the content of `written`; raises FileExistsError if it exists."""
    try:
        os.link(written, file)
    except FileExistsError:
        raise
    except OSError:  # no hard links on this file system: the lock is empty for a moment
        with file.open("x", encoding="utf-8") as lock:
            lock.write(written.read_text(encoding="utf-8"))


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _process(text: str) -> Process | None:
    """Returns the holder that a lock file names; None if the file is damaged."""
    try:
        content = json.loads(text)
        del content["token"]
        return Process(**content)
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
